"""Gradients on stale batches, where the truth can be enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.hetero.gradients import batch_gradient, policy_gradient, quality
from fedjax_rl.hetero.losses import LossChoices, LossOutput, build_loss
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.hetero.tasks import prefix_sum
from fedjax_rl.hetero.tasks.split import is_held_out
from fedjax_rl.policies.table import table
from tests.hetero.judging import settings_with
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.slow

TASK = prefix_sum(length=2, modulus=3)
POLICY = table(TASK.vocabulary, TASK.response_length, TASK.contexts, TASK.context)
LEARNER = 0.5 * jax.random.normal(jax.random.key(1), (9, 3))
SAMPLER = LEARNER + 0.4 * jax.random.normal(jax.random.key(2), (9, 3))
UNCLIPPED = settings_with(clip_low=1.0, clip_high=1e30)
BATCHES = 4000


def gradients(loss, sampler, settings=UNCLIPPED):
    one = batch_gradient(TASK, POLICY, loss, prompts=2, group_size=4)
    keys = jax.random.split(jax.random.key(0), BATCHES)
    every = jax.vmap(one, (0, None, None, None, None, None))
    return jax.jit(every)(keys, LEARNER, sampler, sampling(), settings, jnp.float32(0.0))


def exact():
    """∇ E_p[r] over all training prompts: the probability of the one right answer to each."""
    prompts = [np.array(prompt) for prompt in itertools.product(range(3), repeat=2)]
    prompts = [prompt for prompt in prompts if not is_held_out(jnp.array(prompt, jnp.int32))]

    def value(parameters):
        logs = jax.nn.log_softmax(parameters)
        first = [logs[a, a] for a, _ in prompts]
        second = [logs[3 * a + b, (a + b) % 3] for a, b in prompts]
        return jnp.exp(jnp.array(first) + jnp.array(second)).mean()

    return jax.grad(value)(LEARNER).ravel()


def test_the_policy_gradient_is_that_of_the_expected_reward():
    got = quality(gradients(policy_gradient, LEARNER), exact())
    assert got.cosine == pytest.approx(1.0, abs=0.005)
    assert got.scale == pytest.approx(1.0, abs=0.03)


def importance_weighted(batch, settings):
    """−mean_i (p_i / q_i) (r_i − r̄): unbiased but for a factor (G − 1)/G, whatever q is."""
    weight = jnp.exp((batch.log_p - batch.log_q).sum(-1))
    advantage = batch.rewards - batch.rewards.mean(-1, keepdims=True)
    loss = -(weight * advantage).mean()
    return LossOutput(loss, advantage, weight[..., None], jnp.zeros(()))


def test_importance_weights_undo_staleness_and_their_absence_does_not():
    weighted = quality(gradients(importance_weighted, SAMPLER), exact())
    assert weighted.cosine == pytest.approx(1.0, abs=0.01)
    assert weighted.scale == pytest.approx(0.75, abs=0.04)
    ignored = quality(gradients(policy_gradient, SAMPLER), exact())
    assert ignored.cosine < 0.97


def test_gepo_shrinks_and_spreads_less_than_importance_weights():
    """Its weights have a mean below 1, which is part of why they vary little."""
    gepo = build_loss("gepo", LossChoices(sequence_weight="product"))
    group = quality(gradients(gepo, SAMPLER), exact())
    single = quality(gradients(importance_weighted, SAMPLER), exact())
    assert group.scale < single.scale
    assert group.noise < single.noise


def test_quality_by_hand():
    rows = jnp.array([[1.0, 1.0], [1.0, -1.0], [3.0, 1.0], [3.0, -1.0]])
    got = quality(rows, jnp.array([1.0, 0.0]))
    variance = 8 / 3  # Σ ‖g − (2, 0)‖² = 4 · 2, over 3
    length = np.sqrt(4 - variance / 4)
    np.testing.assert_allclose(
        got,
        [1.0, length, variance / length**2, variance / length**2],
        rtol=1e-6,
    )
    across = quality(rows, jnp.array([1.0, 1.0]))
    assert across.cosine == pytest.approx(2 / length / np.sqrt(2))


def test_a_mean_that_is_lost_in_noise_is_not_a_number():
    rows = jnp.array([[1.0, 5.0], [1.0, -5.0], [-0.5, 5.0], [-0.5, -5.0]])
    assert all(np.isnan(value) for value in quality(rows, jnp.array([1.0, 0.0])))
