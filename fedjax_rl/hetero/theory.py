"""Exact moments of importance weights, and what bounds them, on a support that can be listed.

p is the policy that learns, q the one that sampled. All functions read the last axis as the
support, [..., n], and keep the others; they take NumPy arrays, in float64, or JAX arrays, and
need q > 0. Weights are an array too, one per element of the support, so that any can be judged.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fedjax_rl.algorithm import Array


class Weighing(NamedTuple):
    """Moments of weights under q, each [...].

    Attributes:
        mean: E_q[w]; 1 for p/q.
        variance: Var_q[w].
        squared_variation: CV² = Var_q[w] / E_q[w]², which no rescaling of w changes.
        effective_sample_size: 1 / (1 + CV²), the share of samples that count, in (0, 1].
    """

    mean: Array
    variance: Array
    squared_variation: Array
    effective_sample_size: Array


class Comparison(NamedTuple):
    """Two policies on one support, each [...].

    Attributes:
        kl: KL(p‖q), nats.
        chi_square: χ²(p‖q).
        importance: moments of p/q.
        group_expectation: moments of p/E_q[q].
        variance_gap: Δ, variance of the first less that of the second.
        gap_bound: arXiv 2508.17850's lower bound of Δ.
        sharper_gap_bound: a larger lower bound of Δ.
    """

    kl: Array
    chi_square: Array
    importance: Weighing
    group_expectation: Weighing
    variance_gap: Array
    gap_bound: Array
    sharper_gap_bound: Array


def importance_weights(p: Array, q: Array) -> Array:
    """Importance weights p/q [..., n]."""
    return p / q


def group_expectation_weights(p: Array, q: Array) -> Array:
    """p/E_q[q], with E_q[q] = Σ q² (arXiv 2508.17850) [..., n]; what gepo estimates."""
    return p / (q**2).sum(-1)[..., None]


def defensive_weights(p: Array, q: Array, alpha: Array | float) -> Array:
    """p/((1 − α) q + α p) ≤ 1/α [..., n]."""
    return p / ((1.0 - alpha) * q + alpha * p)


def weighing(weights: Array, q: Array) -> Weighing:
    """Moments of weights [..., n] on samples of q [..., n]."""
    mean = (q * weights).sum(-1)
    variance = (q * (weights - mean[..., None]) ** 2).sum(-1)
    squared_variation = variance / mean**2
    return Weighing(mean, variance, squared_variation, 1.0 / (1.0 + squared_variation))


def bias(weights: Array, p: Array, q: Array, advantages: Array) -> Array:
    """|E_p[A] − E_q[w A]| of advantages [..., n]."""
    return abs((p * advantages).sum(-1) - (q * weights * advantages).sum(-1))


def bias_bound(p: Array, q: Array) -> Array:
    """‖p‖₂ / ‖q‖₂, which bounds the bias of p/E_q[q] (arXiv 2508.17850).

    It does for |A| ≤ 1 and E_p[A] = 0; without the latter it can fail.
    """
    return ((p**2).sum(-1) / (q**2).sum(-1)) ** 0.5


def kl(p: Array, q: Array) -> Array:
    """KL(p‖q) = Σ p log(p/q), nats; elements where p = 0 add nothing."""
    numerics = _numerics(p)
    present = p > 0.0
    ratio = numerics.where(present, p, 1.0) / numerics.where(present, q, 1.0)
    return (p * numerics.log(ratio)).sum(-1)


def chi_square(p: Array, q: Array) -> Array:
    """χ²(p‖q) = Σ (p − q)²/q, the variance of p/q."""
    return ((p - q) ** 2 / q).sum(-1)


def variance_gap(p: Array, q: Array) -> Array:
    """Δ = Var_q[p/q] − Var_q[p/E_q[q]] = I₁ − 1 − (I₂ − B)/A; positive where gepo varies less.

    I₁ = Σ p²/q, I₂ = Σ p² q, A = (Σ q²)², B = (Σ p q)².
    """
    cross = (p * q).sum(-1) ** 2
    return (p**2 / q).sum(-1) - 1.0 - ((p**2 * q).sum(-1) - cross) / (q**2).sum(-1) ** 2


def gap_bound(p: Array, q: Array) -> Array:
    """e^KL(p‖q) − (n² + 1) ≤ Δ on a support of n (arXiv 2508.17850, Theorem 1)."""
    return _numerics(p).exp(kl(p, q)) - (p.shape[-1] ** 2 + 1)


def sharper_gap_bound(p: Array, q: Array) -> Array:
    """e^KL(p‖q) − (n^1.5 + 1) ≤ Δ.

    I₁ ≥ e^KL by Jensen, and I₂/A = Σ p² q / ‖q‖₂⁴ ≤ max q / ‖q‖₂⁴ ≤ ‖q‖₂⁻³ ≤ n^1.5.
    """
    return _numerics(p).exp(kl(p, q)) - (p.shape[-1] ** 1.5 + 1.0)


def compare(log_p: Array, log_q: Array) -> Comparison:
    """Compares two policies from the log-probabilities of every response [..., n].

    Args:
        log_p: of the policy that learns; −∞ is a probability of zero.
        log_q: of the one that sampled; finite, and not below −700 in float64.
    """
    p, q = _numerics(log_p).exp(log_p), _numerics(log_q).exp(log_q)
    return Comparison(
        kl=kl(p, q),
        chi_square=chi_square(p, q),
        importance=weighing(importance_weights(p, q), q),
        group_expectation=weighing(group_expectation_weights(p, q), q),
        variance_gap=variance_gap(p, q),
        gap_bound=gap_bound(p, q),
        sharper_gap_bound=sharper_gap_bound(p, q),
    )


def bernoulli_importance_variance(a: Array, b: Array) -> Array:
    """Var_q[p/q] = (a − b)²/(b(1 − b)) of p = (a, 1 − a) and q = (b, 1 − b)."""
    return (a - b) ** 2 / (b * (1.0 - b))


def bernoulli_group_variance(a: Array, b: Array) -> Array:
    """Var_q[p/E_q[q]] = b(1 − b)(2a − 1)²/(b² + (1 − b)²)², of the same."""
    return b * (1.0 - b) * (2.0 * a - 1.0) ** 2 / (b**2 + (1.0 - b) ** 2) ** 2


def bernoulli_kl(a: Array, b: Array) -> Array:
    """KL(p‖q) of the same, for a and b strictly between 0 and 1; nats."""
    log = _numerics(a).log
    return a * log(a / b) + (1.0 - a) * log((1.0 - a) / (1.0 - b))


def gaussian_importance_variance(distance: Array) -> Array:
    """Var_q[p/q] = e^δ² − 1, of normal densities of variance 1 whose means are δ apart."""
    return _numerics(distance).expm1(distance**2)


def gaussian_group_variance(distance: Array) -> Array:
    """Var_q[p/E_q[q]] = (2/√3) e^(−δ²/3) − e^(−δ²/2), of the same."""
    exp = _numerics(distance).exp
    return 2.0 / math.sqrt(3.0) * exp(-(distance**2) / 3.0) - exp(-(distance**2) / 2.0)


def gaussian_group_mean(distance: Array) -> Array:
    """E_q[p/E_q[q]] = e^(−δ²/4) ≤ 1, of the same: the weights shrink as policies part."""
    return _numerics(distance).exp(-(distance**2) / 4.0)


def _numerics(array: Array) -> Any:
    """NumPy or jax.numpy, whichever the array belongs to."""
    return array.__array_namespace__()
