"""Surrogates of the policy step, by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops import surrogate

pytestmark = pytest.mark.timeout(60)

CLIP = jnp.float32(0.2)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.1, 2.0, 2.2, 2.0),
        (1.5, 2.0, 2.4, 0.0),
        (0.5, 2.0, 1.0, 2.0),
        (1.0, -2.0, -2.0, -2.0),
        (0.9, -2.0, -1.8, -2.0),
        (0.5, -2.0, -1.6, 0.0),
        (1.5, -2.0, -3.0, -2.0),
    ],
)
def test_clipping_takes_away_the_incentive_and_never_the_penalty(ratio, advantage, expected, slope):
    ratio, advantage = jnp.float32(ratio), jnp.float32(advantage)
    value, gradient = jax.value_and_grad(surrogate.clipped)(ratio, advantage, CLIP)
    assert value == pytest.approx(expected)
    assert gradient == pytest.approx(slope)


@pytest.mark.parametrize("ratio", [0.3, 0.8, 1.0, 1.2, 3.0])
def test_cost_terms_are_not_clipped(ratio):
    """Their slope is −Σ w λ A_c everywhere; the reward part is as without costs."""
    ratio, gain, cost = jnp.float32(ratio), jnp.float32(2.0), jnp.float32(0.7)
    value, gradient = jax.value_and_grad(surrogate.lagrangian)(ratio, gain, cost, CLIP)
    reward, reward_gradient = jax.value_and_grad(surrogate.clipped)(ratio, gain, CLIP)
    assert value == pytest.approx(float(reward - ratio * cost), rel=1e-5)
    assert gradient == pytest.approx(float(reward_gradient - cost), rel=1e-5)


def test_at_the_old_policy_the_slope_is_the_advantage_of_the_lagrangian():
    rng = np.random.default_rng(0)
    reward, cost = (jnp.asarray(part) for part in rng.normal(size=(2, 5, 3)))
    ones = jnp.ones((5, 3))
    gradient = jax.grad(lambda ratio: surrogate.lagrangian(ratio, reward, cost, CLIP).sum())(ones)
    chex.assert_trees_all_close(gradient, reward - cost, atol=1e-6)


def test_a_combined_advantage_is_clipped_as_a_whole():
    ratio = jnp.array([0.5, 1.0, 1.5])
    combined = jnp.array([1.0, -1.0, 2.0])
    chex.assert_trees_all_close(
        surrogate.lagrangian(ratio, combined, jnp.zeros(3), CLIP), jnp.array([0.5, -1.0, 2.4])
    )


def test_the_estimate_of_the_divergence_is_never_negative_and_unbiased():
    old = np.array([0.5, 0.3, 0.2])
    new = np.array([0.2, 0.3, 0.5])
    terms = np.asarray(surrogate.divergence(jnp.log(jnp.asarray(new / old))), np.float64)
    assert np.all(terms >= 0) and terms[1] == 0
    assert old @ terms == pytest.approx(float(old @ np.log(old / new)), rel=1e-5)


def test_a_tiny_change_is_not_lost_in_rounding():
    """ρ − 1 − log ρ ≈ (log ρ)²/2, which ρ itself cannot resolve in float32."""
    small = np.linspace(5e-4, 3e-3, 20, dtype=np.float32)
    expected = small.astype(np.float64) ** 2 / 2 + small.astype(np.float64) ** 3 / 6
    np.testing.assert_allclose(surrogate.divergence(jnp.asarray(small)), expected, rtol=1e-2)
    assert float(surrogate.divergence(jnp.float32(0.0))) == 0.0
