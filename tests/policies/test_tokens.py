"""Tables and transformers over tokens: against NumPy, and cached against computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.policies.table import table
from fedjax_rl.policies.tokens import without_memory
from fedjax_rl.policies.transformer import transformer
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

VOCABULARY, PROMPT, LENGTH = 7, 5, 6


def last_and_place(prompt, response, position):
    last = jnp.where(position == 0, 0, response[position - 1])
    return (last * LENGTH + position).astype(jnp.int32)


def a_table():
    return table(VOCABULARY, LENGTH, VOCABULARY * LENGTH, last_and_place)


def a_transformer(**settings):
    size = {"layers": 2, "width": 16, "heads": 2, "dtype": "float32"}
    return transformer(VOCABULARY, PROMPT, LENGTH, **{**size, **settings})


def rough(policy, seed=0):
    """Parameters far from the nearly uniform start."""
    rng = np.random.default_rng(seed)
    parameters = jax.jit(policy.init)(jax.random.key(seed))
    return jax.tree.map(
        lambda leaf: np.asarray(leaf + 0.3 * rng.normal(size=leaf.shape), np.float32), parameters
    )


def at_once(policy):
    """(parameters, prompt, response) -> logits [L, V]."""
    return jax.jit(
        lambda parameters, prompt, response: policy.logits(
            parameters, policy.read(parameters, prompt), response
        )
    )


def tokens_of(seed, *shape):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.integers(VOCABULARY, size=(*shape, length)), jnp.int32)
        for length in (PROMPT, LENGTH)
    )


def written(policy, parameters, prompt, response):
    """Logits [L, V] from one token to the next, with rubbish where the response is not yet."""
    prefix, cache, rows = policy.read(parameters, prompt), policy.start(), []
    step = jax.jit(policy.next)
    for position in range(policy.response_length):
        so_far = jnp.where(jnp.arange(LENGTH) < position, response, VOCABULARY - 1)
        logits, cache = step(parameters, prefix, cache, so_far, position)
        rows.append(logits)
    return jnp.stack(rows)


POLICIES = {
    "table": a_table(),
    "one layer": a_transformer(layers=1, heads=1),
    "three layers": a_transformer(layers=3, heads=4),
}
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


@each_policy
def test_what_is_remembered_agrees_with_what_is_computed_at_once(policy):
    parameters, (prompt, response) = rough(policy), tokens_of(0)
    expected = at_once(policy)(parameters, prompt, response)
    assert expected.shape == (LENGTH, VOCABULARY) and expected.dtype == jnp.float32
    assert np.std(expected) > 0.1
    for one in (policy, without_memory(policy)):
        np.testing.assert_allclose(written(one, parameters, prompt, response), expected, atol=1e-5)


@each_policy
def test_no_token_is_seen_before_its_time(policy):
    parameters, (prompt, response) = rough(policy), tokens_of(1)

    logits = at_once(policy)
    expected = np.asarray(logits(parameters, prompt, response))
    for index in range(LENGTH):
        other = response.at[index].set((response[index] + 1) % VOCABULARY)
        changed = np.asarray(logits(parameters, prompt, other))
        np.testing.assert_array_equal(changed[: index + 1], expected[: index + 1])
        if index + 1 < LENGTH:
            assert np.abs(changed[index + 1] - expected[index + 1]).max() > 1e-3


@each_policy
def test_many_at_once_are_as_one_by_one(policy):
    parameters, (prompts, responses) = rough(policy), tokens_of(2, 3)
    logits = at_once(policy)
    together = jax.jit(jax.vmap(logits, (None, 0, 0)))(parameters, prompts, responses)
    alone = [logits(parameters, *one) for one in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-5)


@each_policy
def test_the_first_policy_is_nearly_uniform_and_its_parameters_float32(policy):
    parameters, (prompt, response) = jax.jit(policy.init)(jax.random.key(3)), tokens_of(3)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    logits = at_once(policy)(parameters, prompt, response)
    probabilities = jax.nn.softmax(logits)
    np.testing.assert_allclose(probabilities, 1 / VOCABULARY, atol=0.01)


def normalised(features, norm):
    centred = features - features.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * norm["scale"] + norm["bias"]


def through(features, layer):
    return features @ layer["kernel"] + layer["bias"]


def by_numpy(parameters, prompt, response, heads):
    """Logits [L, V], one query, one head and one layer after another, in float64."""
    parameters = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters)
    tokens = np.concatenate([prompt, [VOCABULARY], response[:-1]]).astype(int)
    features = parameters["tokens"][tokens] + parameters["positions"]
    width = features.shape[1]
    size = width // heads
    for index in range(sum(name.startswith("blocks") for name in parameters)):
        block = parameters[f"blocks_{index}"]
        projected = through(normalised(features, block["norm_attention"]), block["project"])
        found = np.zeros_like(features)
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            query, key, value = (projected[:, part * width :][:, own] for part in range(3))
            for position in range(len(features)):
                scores = key[: position + 1] @ query[position] / np.sqrt(size)
                weights = np.exp(scores - scores.max())
                found[position, own] = weights @ value[: position + 1] / weights.sum()
        features = features + through(found, block["gather"])
        wide = through(normalised(features, block["norm_dense"]), block["widen"])
        bent = wide / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        features = features + through(bent, block["narrow"])
    return through(normalised(features, parameters["norm"]), parameters["head"])[len(prompt) :]


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 4)])
def test_the_transformer_is_that_of_numpy(layers, heads):
    policy = a_transformer(layers=layers, heads=heads)
    parameters, (prompt, response) = rough(policy), tokens_of(4)
    logits = at_once(policy)(parameters, prompt, response)
    expected = by_numpy(parameters, np.asarray(prompt), np.asarray(response), heads)
    np.testing.assert_allclose(logits, expected, atol=2e-5)


def test_a_table_looks_up_its_context():
    policy = a_table()
    parameters = jnp.arange(VOCABULARY * LENGTH * VOCABULARY, dtype=jnp.float32).reshape(-1, 7)
    logits = at_once(policy)(parameters, jnp.zeros(PROMPT, int), jnp.array([2, 0, 6, 1, 3, 5]))
    rows = np.array([0 * 6 + 0, 2 * 6 + 1, 0 * 6 + 2, 6 * 6 + 3, 1 * 6 + 4, 3 * 6 + 5])
    np.testing.assert_array_equal(logits, rows[:, None] * 7 + np.arange(7))


def test_the_gradient_of_a_table_adds_up_over_equal_contexts():
    policy = table(2, 3, 2, lambda prompt, response, position: jnp.int32(position == 2))
    weights = jnp.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])

    def loss(parameters):
        return (policy.logits(parameters, None, jnp.zeros(3, jnp.int32)) * weights).sum()

    gradient = jax.grad(loss)(policy.init(jax.random.key(0)))
    np.testing.assert_array_equal(gradient, [[11, 22], [100, 200]])


def test_half_precision_is_near_and_learns_in_float32():
    full, half = a_transformer(layers=1), a_transformer(layers=1, dtype="bfloat16")
    parameters, (prompt, response) = jax.jit(full.init)(jax.random.key(5)), tokens_of(5)
    parameters["head"]["kernel"] = parameters["head"]["kernel"] * 100
    exact, near = (at_once(policy)(parameters, prompt, response) for policy in (full, half))
    assert near.dtype == jnp.float32 and half.start()[0].keys.dtype == jnp.bfloat16
    np.testing.assert_allclose(near, exact, atol=0.1)
    assert np.abs(near - exact).max() > 1e-4
    np.testing.assert_allclose(written(half, parameters, prompt, response), near, atol=0.1)
    gradient_of = jax.jit(jax.grad(lambda *inputs: at_once(half)(*inputs).std()))
    gradient = gradient_of(parameters, prompt, response)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"layers": 0}, "--layers"),
        ({"layers": 5}, "--layers"),
        ({"heads": 0}, "--heads"),
        ({"width": 0}, "--width"),
        ({"width": 18, "heads": 4}, "--width"),
        ({"dtype": "float16"}, "--dtype"),
    ],
)
def test_impossible_sizes_are_told_in_one_line(settings, field):
    with pytest.raises(InvalidInput) as error:
        a_transformer(**settings)
    assert error.value.field == field and "\n" not in str(error.value)
