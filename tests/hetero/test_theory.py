"""Exact variances and bounds, against sums, quadrature and the published figures."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from fedjax_rl.hetero import theory

pytestmark = pytest.mark.timeout(120)

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])


def dirichlet_pairs(count: int, support: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs from flat, peaked and nearly deterministic Dirichlet laws; q bounded away from 0."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(2):
        shape = rng.choice([0.1, 0.3, 1.0, 5.0], (count, 1))
        draws = rng.gamma(np.broadcast_to(shape, (count, support))) + 1e-9
        pairs.append(draws / draws.sum(-1, keepdims=True))
    return pairs[0], pairs[1]


def test_moments_by_hand():
    """p/q = 5/2, 3/2, 1/3; E_q[q] = .44, so p/E_q[q] = p/.44."""
    plain = theory.weighing(theory.importance_weights(P, Q), Q)
    second = 0.2 * 6.25 + 0.2 * 2.25 + 0.6 / 9
    assert plain.mean == pytest.approx(1.0)
    assert plain.variance == pytest.approx(second - 1)
    assert plain.squared_variation == pytest.approx(second - 1)
    assert plain.effective_sample_size == pytest.approx(1 / second)
    group = theory.weighing(theory.group_expectation_weights(P, Q), Q)
    mean = (0.2 * 0.5 + 0.2 * 0.3 + 0.6 * 0.2) / 0.44
    variance = (0.2 * 0.25 + 0.2 * 0.09 + 0.6 * 0.04) / 0.44**2 - mean**2
    assert group.mean == pytest.approx(mean)
    assert group.variance == pytest.approx(variance)
    assert group.squared_variation == pytest.approx(variance / mean**2)
    expected = 0.5 / 0.35, 0.3 / 0.25, 0.2 / 0.4  # α = 1/2
    np.testing.assert_allclose(theory.defensive_weights(P, Q, 0.5), expected)


def test_divergences_by_hand():
    expected = 0.5 * math.log(2.5) + 0.3 * math.log(1.5) + 0.2 * math.log(1 / 3)
    assert theory.kl(P, Q) == pytest.approx(expected)
    assert theory.chi_square(P, Q) == pytest.approx(0.09 / 0.2 + 0.01 / 0.2 + 0.16 / 0.6)
    assert theory.kl(np.array([1.0, 0.0]), np.array([0.25, 0.75])) == pytest.approx(math.log(4))
    advantages = np.array([1.0, -1.0, 0.5])
    weights = np.array([2.0, 1.0, 0.0])
    off = (0.5 - 0.3 + 0.1) - (0.4 - 0.2)
    assert theory.bias(weights, P, Q, advantages) == pytest.approx(abs(off))


def test_importance_weights_are_unbiased_and_defensive_ones_bounded():
    p, q = dirichlet_pairs(200, 6, seed=0)
    advantages = np.random.default_rng(1).normal(size=p.shape)
    weights = theory.importance_weights(p, q)
    np.testing.assert_allclose(theory.bias(weights, p, q, advantages), 0.0, atol=1e-12)
    defensive = theory.defensive_weights(p, q, 0.005)
    assert defensive.max() <= 200 and defensive.max() > 100
    assert (theory.weighing(defensive, q).mean < 1).all()


def test_the_gap_is_the_difference_of_the_variances():
    p, q = dirichlet_pairs(200, 6, seed=2)
    importance = theory.weighing(theory.importance_weights(p, q), q).variance
    group = theory.weighing(theory.group_expectation_weights(p, q), q).variance
    np.testing.assert_allclose(theory.variance_gap(p, q), importance - group, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(theory.chi_square(p, q), importance, rtol=1e-9, atol=1e-9)


def test_theorem_1_and_the_sharper_constant_hold():
    """On 10⁴ pairs of Dirichlet laws, of supports of 2 to 64; the bounds bite on some of them."""
    biting = 0
    for support in (2, 3, 5, 16, 64):
        p, q = dirichlet_pairs(2000, support, seed=support)
        gap = theory.variance_gap(p, q)
        rounding = 1e-9 * (1 + np.abs(gap))
        bound, sharper = theory.gap_bound(p, q), theory.sharper_gap_bound(p, q)
        assert (gap + rounding >= sharper).all()
        assert (sharper >= bound).all()
        np.testing.assert_allclose(sharper - bound, support**2 - support**1.5, rtol=1e-6)
        biting += (bound > 0).sum()
    assert biting > 100


def test_the_bound_of_the_bias_holds_and_fails_where_it_may():
    rng = np.random.default_rng(3)
    p, q = dirichlet_pairs(5000, 8, seed=4)
    advantages = rng.uniform(-1, 1, p.shape)
    advantages -= (p * advantages).sum(-1, keepdims=True)
    advantages /= np.abs(advantages).max(-1, keepdims=True)
    weights = theory.group_expectation_weights(p, q)
    share = theory.bias(weights, p, q, advantages) / theory.bias_bound(p, q)
    assert share.max() <= 1 + 1e-9
    assert share.max() > 0.5

    # A = 1, so E_p[A] = 1: p lies where q hardly does, the bias is about 1, and ‖p‖ small.
    p, q = np.array([0.0, *[1 / 9] * 9]), np.array([0.91, *[0.01] * 9])
    weights = theory.group_expectation_weights(p, q)
    assert theory.bias_bound(p, q) < 0.4
    assert theory.bias(weights, p, q, np.ones(10)) > 0.9


def test_bernoulli_grid():
    """The published figures of the grid 50 × 50 on [.05, .95]."""
    a, b = np.meshgrid(np.linspace(0.05, 0.95, 50), np.linspace(0.05, 0.95, 50), indexing="ij")
    plain, group = (
        theory.bernoulli_importance_variance(a, b),
        theory.bernoulli_group_variance(a, b),
    )
    divergence = theory.bernoulli_kl(a, b)
    assert round(float(plain.max()), 2) == 17.05
    assert round(float(group.max()), 3) == 0.809
    assert round(float(divergence.max()), 3) == 2.650
    worse = group > plain
    assert round(100 * float(worse.mean()), 1) == 32.3
    assert float(divergence[worse].max()) < 0.479
    p, q = (np.stack([x, 1 - x], -1) for x in (a, b))
    np.testing.assert_allclose(
        theory.weighing(theory.importance_weights(p, q), q).variance, plain, atol=1e-12
    )
    np.testing.assert_allclose(
        theory.weighing(theory.group_expectation_weights(p, q), q).variance, group, atol=1e-12
    )
    np.testing.assert_allclose(theory.kl(p, q), divergence, atol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 0.4, 1.0, 2.0])
def test_gaussian_closed_forms_against_quadrature(distance: float):
    p, q = stats.norm(distance).pdf, stats.norm(0.0).pdf

    def under_q(function) -> float:
        return integrate.quad(lambda x: q(x) * function(x), -12, 14, epsabs=1e-12)[0]

    expected_q = under_q(q)
    mean = under_q(lambda x: p(x) / expected_q)
    variance = under_q(lambda x: (p(x) / expected_q) ** 2) - mean**2
    importance = under_q(lambda x: (p(x) / q(x)) ** 2) - 1
    at = np.float64(distance)
    assert theory.gaussian_group_mean(at) == pytest.approx(mean, rel=1e-7)
    assert theory.gaussian_group_variance(at) == pytest.approx(variance, rel=1e-7)
    assert theory.gaussian_importance_variance(at) == pytest.approx(importance, rel=1e-7, abs=1e-9)


def test_gaussians_cross_at_two_fifths():
    def difference(distance: float) -> float:
        at = np.float64(distance)
        return theory.gaussian_importance_variance(at) - theory.gaussian_group_variance(at)

    assert difference(0.1) < 0 < difference(1.0)
    assert optimize.brentq(difference, 0.1, 1.0) == pytest.approx(0.40, abs=0.005)


def test_policies_of_two_tokens():
    """All sequences of two independent tokens: KL adds up, 1 + χ² multiplies."""
    first, second = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    others = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    p, q = np.outer(first, second).ravel(), np.outer(*others).ravel()
    compared = theory.compare(np.log(p), np.log(q))
    assert compared.kl == pytest.approx(theory.kl(first, others[0]) + theory.kl(second, others[1]))
    factors = [1 + theory.chi_square(a, b) for a, b in zip((first, second), others, strict=True)]
    assert compared.chi_square == pytest.approx(factors[0] * factors[1] - 1)
    assert compared.importance.variance == pytest.approx(compared.chi_square)
    gap = compared.importance.variance - compared.group_expectation.variance
    assert compared.variance_gap == pytest.approx(gap)
    assert compared.gap_bound <= compared.sharper_gap_bound <= compared.variance_gap


def test_functions_are_pure_and_vmap():
    p, q = dirichlet_pairs(3, 4, seed=5)
    expected = theory.compare(np.log(p), np.log(q))
    traced = jax.jit(jax.vmap(theory.compare))(jnp.log(p), jnp.log(q))
    for left, right in zip(jax.tree.leaves(expected), jax.tree.leaves(traced), strict=True):
        assert left.dtype == np.float64
        np.testing.assert_allclose(right, left, rtol=2e-3, atol=1e-4)
    nowhere = theory.compare(jnp.array([0.0, -jnp.inf]), jnp.log(jnp.array([0.5, 0.5])))
    assert float(nowhere.kl) == pytest.approx(math.log(2), rel=1e-6)
    slope = jax.grad(lambda x: theory.kl(x, jnp.array([0.5, 0.5])))(jnp.array([1.0, 0.0]))
    assert np.isfinite(slope).all()
