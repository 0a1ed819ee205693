"""Responses: which tokens may be drawn, how often they are, and where a response ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.rollout import allowed, generator, log_probabilities, sampling
from fedjax_rl.hetero.tasks import brackets, prefix_sum
from fedjax_rl.policies.table import table
from fedjax_rl.policies.tokens import without_memory
from fedjax_rl.policies.transformer import transformer
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)

BRACKETS = brackets(length=4, kinds=2)
END = BRACKETS.end_token


def table_for(task):
    return table(task.vocabulary, task.response_length, task.contexts, task.context)


def transformer_for(task):
    lengths = task.prompt_length, task.response_length
    return transformer(task.vocabulary, *lengths, layers=1, width=16, heads=2, dtype="float32")


def rough(policy, seed=0):
    rng = np.random.default_rng(seed)
    parameters = jax.jit(policy.init)(jax.random.key(seed))
    return jax.tree.map(
        lambda leaf: np.asarray(leaf + 0.5 * rng.normal(size=leaf.shape), np.float32), parameters
    )


def one_row(logits, length=1):
    """A policy that draws every token from the same logits, and the parameters that say so."""
    policy = table(len(logits), length, 1, lambda prompt, response, position: jnp.int32(0))
    return policy, jnp.asarray(logits, jnp.float32)[None]


def group(policy, keys, prompt, settings, parameters, **choices):
    generate = generator(policy, **choices)
    return jax.jit(jax.vmap(generate, (0, None, None, None)))(keys, parameters, prompt, settings)


POLICIES = {"table": table_for(BRACKETS), "transformer": transformer_for(BRACKETS)}
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
KEYS = jax.random.split(jax.random.key(7), 64)
PROMPT = BRACKETS.prompt(jax.random.key(8))

SHARES = [0.15, 0.4, 0.05, 0.3, 0.1]


@pytest.mark.parametrize(
    ("shares", "top_p", "top_k", "expected"),
    [
        (SHARES, 1.0, 0, [1, 1, 1, 1, 1]),
        (SHARES, 0.39, 0, [0, 1, 0, 0, 0]),
        (SHARES, 0.41, 0, [0, 1, 0, 1, 0]),  # .4 is less than .41, so one more
        (SHARES, 0.69, 0, [0, 1, 0, 1, 0]),
        (SHARES, 0.71, 0, [1, 1, 0, 1, 0]),
        (SHARES, 0.96, 0, [1, 1, 1, 1, 1]),
        (SHARES, 0.94, 0, [1, 1, 0, 1, 1]),
        (SHARES, 1e-6, 0, [0, 1, 0, 0, 0]),
        (SHARES, 1.0, 1, [0, 1, 0, 0, 0]),
        (SHARES, 1.0, 3, [1, 1, 0, 1, 0]),
        (SHARES, 1.0, 9, [1, 1, 1, 1, 1]),
        # Of the two most likely, .4 is 4/7 = .571 of what they have.
        (SHARES, 0.56, 2, [0, 1, 0, 0, 0]),
        (SHARES, 0.58, 2, [0, 1, 0, 1, 0]),
        ([0.25, 0.25, 0.25, 0.25], 1.0, 2, [1, 1, 0, 0]),
        ([0.25, 0.25, 0.25, 0.25], 0.7, 0, [1, 1, 1, 0]),
        ([0.2, 0.2, 0.6], 0.7, 0, [1, 0, 1]),
        ([1e-30, 1.0], 1.0, 0, [1, 1]),  # nothing is lost to rounding where all are allowed
    ],
)
def test_which_tokens_may_be_drawn(shares, top_p, top_k, expected):
    mask = allowed(jnp.log(jnp.asarray(shares, jnp.float32)), jnp.float32(top_p), top_k)
    np.testing.assert_array_equal(mask, np.asarray(expected, bool))


def test_which_tokens_may_be_drawn_agrees_with_a_sort():
    rng = np.random.default_rng(0)
    mask = jax.jit(allowed, static_argnums=2)
    for top_k in (0, 3, 12):
        for top_p in (0.2, 0.5, 0.9, 0.99):
            logits = (2 * rng.normal(size=12)).astype(np.float32)
            order = np.argsort(-logits)[: top_k or None]
            shares = np.exp(logits[order].astype(float))
            shares /= shares.sum()
            needed = int(np.searchsorted(np.cumsum(shares), top_p)) + 1
            expected = np.zeros(12, bool)
            expected[order[:needed]] = True
            np.testing.assert_array_equal(mask(logits, top_p, top_k), expected)


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (0.5, 1.0, 0), (2.0, 1.0, 3), (1.0, 0.8, 0), (2.0, 0.7, 4)],
)
def test_tokens_are_drawn_as_often_as_they_should(temperature, top_p, top_k):
    draws, logits = 20_000, np.log(SHARES)
    policy, parameters = one_row(logits)
    keys = jax.random.split(jax.random.key(1), draws)
    response = group(policy, keys, None, sampling(temperature, top_p), parameters, top_k=top_k)
    tempered = np.exp(logits / temperature)
    tempered /= tempered.sum()
    mask = np.asarray(allowed(jnp.float32(logits / temperature), top_p, top_k))
    counts = np.bincount(np.asarray(response.tokens)[:, 0], minlength=5)
    assert (counts[~mask] == 0).all()
    expected = draws * tempered[mask] / tempered[mask].sum()
    assert stats.chisquare(counts[mask], expected).pvalue > 1e-4
    # The log-probability is of the tempered policy, not of what truncation made of it.
    np.testing.assert_allclose(
        response.log_q[:, 0], np.log(tempered)[np.asarray(response.tokens)[:, 0]], rtol=1e-5
    )


def test_a_low_temperature_takes_the_most_likely_token():
    policy, parameters = one_row(np.log(SHARES), length=5)
    response = generator(policy)(jax.random.key(0), parameters, None, sampling(1e-3))
    np.testing.assert_array_equal(response.tokens, np.ones(5))


@each_policy
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_q_is_what_the_learner_computes_from_the_same_parameters(policy, temperature):
    parameters = rough(policy)
    response = group(
        policy, KEYS, PROMPT, sampling(temperature, 0.9), parameters, end_token=END, top_k=4
    )
    evaluate = jax.jit(jax.vmap(log_probabilities(policy), (None, None, 0, 0, None)))
    log_p = evaluate(parameters, PROMPT, response.tokens, response.mask, jnp.float32(temperature))
    np.testing.assert_allclose(response.log_q, log_p, atol=1e-5)
    assert response.log_q.dtype == jnp.float32 and (np.asarray(log_p)[response.mask] < 0).all()


def test_log_probabilities_by_hand():
    policy, parameters = one_row([0.0, 1.0, 3.0], length=3)
    log_p = log_probabilities(policy)(
        parameters, None, jnp.array([2, 0, 1]), jnp.array([True, True, False]), jnp.float32(2)
    )
    total = np.log(1 + np.exp(0.5) + np.exp(1.5))
    np.testing.assert_allclose(log_p, [1.5 - total, -total, 0], rtol=1e-6)


@each_policy
def test_nothing_follows_the_end(policy):
    parameters = rough(policy)
    response = group(policy, KEYS, PROMPT, sampling(), parameters, end_token=END)
    lengths = set()
    for tokens, mask, log_q in zip(*map(np.asarray, response), strict=True):
        ends = np.flatnonzero(tokens == END)
        length = ends[0] + 1 if len(ends) else len(tokens)
        assert mask.tolist() == [index < length for index in range(len(tokens))]
        assert (tokens[length:] == END).all() and (log_q[length:] == 0).all()
        lengths.add(int(length))
    assert len(lengths) > 2
    open_ended = group(policy, KEYS, PROMPT, sampling(), parameters)
    assert open_ended.mask.all()
    # Up to the end, the end token is a token like any other.
    np.testing.assert_array_equal(np.where(response.mask, open_ended.tokens, END), response.tokens)


@each_policy
def test_masked_tokens_carry_no_gradient(policy):
    parameters = rough(policy)
    tokens = jnp.array([0, END, END, END, END])
    mask = tokens != END
    mask = mask.at[1].set(True)

    @jax.jit
    @jax.grad
    def gradient_of(parameters, tokens):
        return log_probabilities(policy)(parameters, PROMPT, tokens, mask, jnp.float32(1)).sum()

    gradient = gradient_of(parameters, tokens)
    other = gradient_of(parameters, tokens.at[2:].set(1))
    for one, same in zip(*map(jax.tree.leaves, (gradient, other)), strict=True):
        np.testing.assert_allclose(one, same, atol=1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0


@each_policy
def test_the_same_key_writes_the_same_and_alone_as_in_a_group(policy):
    parameters, settings = rough(policy), sampling(0.8, 0.95)
    response = group(policy, KEYS, PROMPT, settings, parameters, end_token=END)
    again = group(policy, KEYS, PROMPT, settings, parameters, end_token=END)
    for one, same in zip(response, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert len(np.unique(np.asarray(response.tokens), axis=0)) > 8
    generate = jax.jit(generator(policy, END))
    for index in range(6):
        alone = generate(KEYS[index], parameters, PROMPT, settings)
        np.testing.assert_array_equal(alone.tokens, response.tokens[index])
        np.testing.assert_array_equal(alone.mask, response.mask[index])
        np.testing.assert_allclose(alone.log_q, response.log_q[index], atol=1e-5)


def test_remembering_changes_no_token():
    policy = POLICIES["transformer"]
    parameters = rough(policy)
    for settings in (sampling(), sampling(0.7, 0.9)):
        cached, again = (
            group(one, KEYS, PROMPT, settings, parameters, end_token=END)
            for one in (policy, without_memory(policy))
        )
        np.testing.assert_array_equal(cached.tokens, again.tokens)
        np.testing.assert_allclose(cached.log_q, again.log_q, atol=1e-5)


@pytest.mark.slow
def test_a_group_reads_its_prompt_once():
    """Under a map over keys, what is computed of the prompt alone is no tracer."""
    policy, read = POLICIES["transformer"], []

    def reading(parameters, prompt):
        prefix = policy.read(parameters, prompt)
        read.extend(jax.tree.leaves(prefix))
        return prefix

    watched = policy._replace(read=reading)
    parameters = policy.init(jax.random.key(0))
    response = jax.vmap(generator(watched, END), (0, None, None, None))(
        KEYS[:3], parameters, PROMPT, sampling()
    )
    jax.vmap(log_probabilities(watched), (None, None, 0, 0, None))(
        parameters, PROMPT, response.tokens, response.mask, jnp.float32(1)
    )
    assert len(read) == 4 and not any(isinstance(leaf, jax.core.Tracer) for leaf in read)


def test_accuracy_is_the_share_of_right_answers():
    """p^T where every token is right with probability p."""
    task = prefix_sum(length=6, modulus=4)
    policy = table_for(task)
    sums = np.arange(16) // 4 + np.arange(16) % 4
    parameters = jnp.log(jnp.where(jnp.arange(4) == sums[:, None] % 4, 0.85, 0.05))
    prompts = jax.vmap(task.prompt)(jax.random.split(jax.random.key(2), 4000))
    judge = jax.jit(accuracy(task, policy))
    share = float(judge(jax.random.key(3), parameters, prompts, sampling()))
    assert abs(share - 0.85**6) < 4 * np.sqrt(0.85**6 * (1 - 0.85**6) / 4000)
    assert float(judge(jax.random.key(3), parameters, prompts, sampling(top_p=0.8))) == 1
    wrong = jnp.roll(parameters, 1, axis=1)
    assert float(judge(jax.random.key(3), wrong, prompts, sampling(top_p=0.8))) == 0


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: sampling(temperature=0), "--temperature"),
        (lambda: sampling(temperature=-1), "--temperature"),
        (lambda: sampling(temperature=float("nan")), "--temperature"),
        (lambda: sampling(temperature=float("inf")), "--temperature"),
        (lambda: sampling(top_p=0), "--top-p"),
        (lambda: sampling(top_p=1.01), "--top-p"),
        (lambda: sampling(top_p=float("nan")), "--top-p"),
        (lambda: generator(POLICIES["table"], top_k=-1), "--top-k"),
        (lambda: accuracy(BRACKETS, POLICIES["table"], top_k=-1), "--top-k"),
    ],
)
def test_impossible_settings_are_told_in_one_line(make, field):
    with pytest.raises(InvalidInput) as error:
        make()
    assert error.value.field == field and "\n" not in str(error.value)
