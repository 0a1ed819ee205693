"""What every loss keeps: gradients on-policy, stopped gradients, log space, groups, plugging in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Array
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.losses import (
    Batch,
    Loss,
    LossChoices,
    LossOutput,
    build_loss,
    losses,
    register_loss,
)
from fedjax_rl.hetero.losses.weights import weight
from tests.hetero.judging import DEFAULT_CHOICES, SETTINGS, judge, settings_with
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NAMES = [name for name in losses if losses.resolve(name).__module__.startswith("fedjax_rl.")]


def random_batch(seed: int, spread: float, prompts: int = 2, group: int = 4, length: int = 5):
    """Responses of unequal lengths; ``spread`` is how far p is from q, in nats per token."""
    rng = np.random.default_rng(seed)
    log_q = np.log(rng.uniform(0.2, 0.9, (prompts, group, length)))
    log_p = log_q + spread * rng.normal(size=log_q.shape)
    mask = np.arange(length) < rng.integers(1, length + 1, (prompts, group, 1))
    rewards = np.arange(group) % 2 * np.ones((prompts, 1))
    rewards[0, 0] = 1.0
    single = (jnp.asarray(part, jnp.float32) for part in (log_p, log_q))
    return Batch(*single, jnp.asarray(mask), jnp.asarray(rewards, jnp.float32))


def gradient(name: str, batch: Batch, *how: Any) -> np.ndarray:
    return judge(name, batch, *how)[1]


# --- On-policy ------------------------------------------------------------------------------------


def test_on_policy_grpo_and_geometric_gspo_have_one_gradient():
    batch = random_batch(0, spread=0.0)
    grpo = gradient("grpo", batch)
    np.testing.assert_allclose(gradient("gspo", batch), grpo, rtol=1e-5, atol=1e-8)
    lengths = np.asarray(batch.mask).sum(-1, keepdims=True)
    assert len(set(lengths.ravel())) > 2
    product = gradient("gspo", batch, LossChoices("product"))
    np.testing.assert_allclose(product, lengths * grpo, rtol=1e-5, atol=1e-7)
    assert np.abs(grpo).max() > 0.01


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("gepo", "gepo+", "eqp")])
def test_on_policy_weights_are_one_and_nothing_is_clipped(name: str):
    output, _ = judge(name, random_batch(1, spread=0.0))
    np.testing.assert_allclose(output.weights, 1.0, rtol=1e-5)
    assert float(output.clipped) == 0.0


def test_gepo_is_shrunk_on_policy():
    """q_i / (Σ q² / Σ q) has the mean 1 under q, over the group's own q and not over draws."""
    batch = random_batch(1, spread=0.0)
    weights = judge("gepo", batch)[0].weights[..., 0]
    mask = np.asarray(batch.mask)
    logs = np.where(mask, np.asarray(batch.log_q, np.float64), 0).sum(-1) / mask.sum(-1)
    q = np.exp(logs)
    np.testing.assert_allclose((q * weights).sum(-1) / q.sum(-1), 1.0, rtol=1e-5)
    assert float(weights.mean()) < 1.0


# --- Where gradients stop -------------------------------------------------------------------------


@pytest.mark.parametrize(("weighing", "share"), [("geometric", 0.5), ("product", 1.0)])
def test_gepos_denominator_carries_no_gradient_and_eqps_does(weighing: str, share: float):
    """∂w_i = w_i ∂log p_i for gepo; less w_i Σ_j q̂_j p_j ∂log p_j / Σ_j q̂_j p_j for eqp.

    Two tokens each, so that ``share`` is ∂log p_i / ∂log p_it. For gepo log q is differentiated
    as well, being the same array as log p.
    """
    batch = random_batch(2, spread=0.0, prompts=1, group=3, length=2)
    batch = batch._replace(mask=jnp.ones((1, 3, 2), bool), rewards=jnp.array([[1.0, 0.0, 0.0]]))
    free = settings_with(clip_low=1.0, clip_high=1e6)
    choices = LossChoices(weighing)
    p = np.exp(share * np.asarray(batch.log_p, np.float64)[0].sum(-1))
    weights = p / (p @ p / p.sum())
    pushed = np.array([2 / 3, -1 / 3, -1 / 3]) * weights

    gepo = build_loss("gepo", choices)
    everywhere = jax.jit(jax.grad(lambda x: gepo(batch._replace(log_p=x, log_q=x), free).loss))
    expected = -pushed * share / 3
    np.testing.assert_allclose(
        everywhere(batch.log_p)[0], np.stack([expected] * 2, -1), rtol=1e-4, atol=1e-7
    )

    through = pushed.sum() * p * p / (p @ p)
    assert np.abs(through).max() > 0.01
    expected = -(pushed - through) * share / 3
    np.testing.assert_allclose(
        gradient("eqp", batch, choices, free)[0], np.stack([expected] * 2, -1), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("name", ["cispo", "tis", "topr", "v-trace"])
def test_policy_gradients_differentiate_log_p_alone(name: str):
    """Their gradient is the truncated weight times −A over the count, whatever w'(θ) is."""
    batch = random_batch(3, spread=0.3)
    output, slope = judge(name, batch)
    reached = float((slope * np.where(batch.mask, batch.log_p, 0.0)).sum())
    assert reached == pytest.approx(float(output.loss), rel=1e-4)
    assert slope.any()


# --- Log space ------------------------------------------------------------------------------------


def far_responses(tokens: int, spread: float) -> Batch:
    """Responses of log q ≈ −512: q underflows float32 (and its square float64)."""
    rng = np.random.default_rng(4)
    log_q = rng.uniform(-513, -511, (2, 4, 1)) / tokens + 0.01 * rng.normal(size=(2, 4, tokens))
    log_p = log_q + rng.normal(spread, spread, (2, 4, tokens)) / tokens
    single = (jnp.asarray(part, jnp.float32) for part in (log_p, log_q))
    rewards = jnp.array([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    return Batch(*single, jnp.ones((2, 4, tokens), bool), rewards)


FAR = [
    *((name, LossChoices("product", kl="code"), 5) for name in NAMES),
    *((name, LossChoices("product", "plain"), 256) for name in ("gepo", "eqp")),
    *((name, LossChoices("product", kl="true"), 256) for name in ("gepo", "v-trace")),
]


@pytest.mark.parametrize(("name", "choices", "tokens"), FAR)
def test_log_space_is_finite_where_q_underflows(name: str, choices: LossChoices, tokens: int):
    batch = far_responses(tokens, spread=0.5)
    assert float(jnp.exp(batch.log_q.sum(-1)).max()) == 0.0
    output, slope = judge(name, batch, choices)
    assert np.isfinite(output.loss)
    assert np.isfinite(output.weights).all() and (output.weights > 0).all()
    assert np.isfinite(slope).all() and slope.any()


@pytest.mark.parametrize("denominator", ["weighted", "plain"])
def test_underflowing_weights_are_right(denominator: str):
    """gepo's weights do not change when all log q and log p of a group drop alike."""
    batch = random_batch(5, spread=0.2)
    batch = batch._replace(mask=jnp.ones_like(batch.mask))
    far = batch._replace(log_p=batch.log_p - 200.0, log_q=batch.log_q - 200.0)
    choices = LossChoices("product", denominator)
    near_weights, far_weights = (judge("gepo", one, choices)[0].weights for one in (batch, far))
    np.testing.assert_allclose(far_weights, near_weights, rtol=2e-3)


@pytest.mark.parametrize(("name", "kl"), [*((name, "code") for name in NAMES), ("gepo", "true")])
def test_exploding_weights_make_no_nan(name: str, kl: str):
    """Ratios of e^±60 per token; rewards of one group are all equal, so that A = 0 meets them."""
    batch = random_batch(6, spread=0.1)
    rewards = batch.rewards.at[1].set(1.0)
    for gap in (-60.0, 60.0):
        apart = batch._replace(log_p=batch.log_p + gap, rewards=rewards)
        output, slope = judge(name, apart, LossChoices("product", kl=kl))
        assert np.isfinite(output.loss) and np.isfinite(slope).all()


def test_a_weight_that_is_held_keeps_its_direction():
    value, slope = jax.value_and_grad(weight)(jnp.float32(200.0))
    assert float(value) == float(slope) == pytest.approx(np.exp(40.0), rel=1e-5)
    value, slope = jax.value_and_grad(weight)(jnp.float32(2.0))
    assert float(value) == float(slope) == pytest.approx(np.exp(2.0), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_masked_changes_nothing(name: str):
    batch = random_batch(7, spread=0.3)
    rubbish = jnp.where(batch.mask, 0.0, jnp.nan)
    spoilt = batch._replace(log_p=batch.log_p + rubbish, log_q=batch.log_q - rubbish)
    left, right = (judge(name, one, LossChoices("product", kl="code")) for one in (batch, spoilt))
    jax.tree.map(np.testing.assert_array_equal, left, right)


# --- Groups ---------------------------------------------------------------------------------------


def reordered(batch: Batch, order: np.ndarray) -> Batch:
    """Responses of all groups in one row, reordered and cut into groups again."""
    shape = batch.rewards.shape

    def move(part: Array) -> Array:
        return part.reshape(-1, *part.shape[2:])[order].reshape(*shape, *part.shape[2:])

    return Batch(*map(move, batch))


@pytest.mark.parametrize("name", NAMES)
def test_groups_belong_to_a_prompt(name: str):
    """Order within a group means nothing, membership does (but not to v-trace, which has none)."""
    batch = random_batch(8, spread=0.2)

    def loss(batch: Batch) -> float:
        return float(judge(name, batch)[0].loss)

    within = reordered(batch, np.array([2, 0, 3, 1, 5, 4, 7, 6]))
    across = reordered(batch, np.array([0, 6, 2, 4, 1, 5, 3, 7]))
    assert loss(within) == pytest.approx(loss(batch), rel=1e-5, abs=1e-7)
    unmoved = loss(across) == pytest.approx(loss(batch), rel=1e-4)
    assert unmoved == (name == "v-trace")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "v-trace"])
def test_equal_rewards_teach_nothing(name: str):
    """0/0 of the normalisations included."""
    batch = random_batch(9, spread=0.3)
    for rewards in (jnp.ones((2, 4)), jnp.zeros((2, 4)), jnp.array([[1.0] * 4, [0.0] * 4])):
        assert not gradient(name, batch._replace(rewards=rewards)).any()


def test_bnpo_is_zero_where_it_is_undefined_and_only_there():
    rewards = jnp.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]])
    batch = random_batch(9, spread=0.0, prompts=3, group=3)._replace(rewards=rewards)
    advantages = judge("bnpo", batch)[0].advantages
    assert not advantages[[0, 2]].any()
    assert np.isfinite(advantages).all() and advantages[1].all()


# --- Plugging in, and what is refused -------------------------------------------------------------


def reinforce(choices: LossChoices):
    """Group-centred REINFORCE on a response's log-probability, blind to staleness."""

    def loss(batch: Batch, settings: Any) -> LossOutput:
        advantages = batch.rewards - batch.rewards.mean(-1, keepdims=True)
        log_p = jnp.where(batch.mask, batch.log_p, 0.0).sum(-1)
        unweighted = jnp.ones_like(advantages)[..., None]
        return LossOutput(-(advantages * log_p).mean(), advantages, unweighted, jnp.zeros(()))

    return Loss(loss)


def test_a_loss_of_ones_own_is_one_function_and_one_line():
    register_loss("reinforce", reinforce)
    batch = random_batch(10, spread=0.0)
    named, referred = (judge(name, batch) for name in ("reinforce", f"{__name__}:reinforce"))
    jax.tree.map(np.testing.assert_array_equal, named, referred)
    expected = gradient("gspo", batch, LossChoices("product"))
    deviations = np.std(batch.rewards, axis=-1, ddof=1)[:, None, None] + 1e-4
    np.testing.assert_allclose(named[1], expected * deviations, rtol=1e-4)
    assert losses.describe("reinforce").startswith("Group-centred REINFORCE")


def test_losses_vmap_over_settings():
    batch = random_batch(11, spread=0.5)
    loss = build_loss("gspo", DEFAULT_CHOICES)
    clips = jnp.array([0.01, 0.1, 0.3], jnp.float32)
    many = jax.jit(jax.vmap(lambda clip: loss(batch, SETTINGS._replace(clip_high=clip)).loss))(
        clips
    )
    for clip, value in zip(clips, many, strict=True):
        alone, _ = judge("gspo", batch, DEFAULT_CHOICES, SETTINGS._replace(clip_high=clip))
        assert float(value) == pytest.approx(float(alone.loss), rel=1e-6)
    assert len(set(map(float, many))) == 3


def test_settings_are_strongly_typed_float32():
    changed = settings_with(clip_low=1)
    assert all(leaf.dtype == jnp.float32 and not leaf.weak_type for leaf in changed)
    assert float(changed.clip_low) == 1.0 and float(changed.clip_high) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        (LossChoices(sequence_weight="mean"), "--sequence-weight"),
        (LossChoices(denominator="median"), "--denominator"),
        (LossChoices(kl="k3"), "--kl"),
    ],
)
def test_unknown_choices_are_refused(choices: LossChoices, field: str):
    with pytest.raises(InvalidInput, match=f"^{field}: got '.*'; allowed: "):
        build_loss("gepo", choices)


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(InvalidInput, match=r"loss: got 'gepoo'; did you mean 'gepo'\?"):
        build_loss("gepoo")


def test_a_group_of_one_is_refused():
    with pytest.raises(InvalidInput, match="--group-size: got 1; a group compares at least 2"):
        build_loss("grpo")(random_batch(0, 0.0, group=1), SETTINGS)


@pytest.mark.parametrize("field", ["log_q", "mask", "rewards"])
def test_shapes_that_disagree_are_refused(field: str):
    batch = random_batch(0, 0.0)
    wrong = batch._replace(**{field: getattr(batch, field)[:1]})
    with pytest.raises(InvalidInput, match=r"^batch: "):
        build_loss("grpo")(wrong, SETTINGS)
