"""Importance weights in log space, and the means the losses take.

A response of 256 tokens has log q ≈ −500, far below what float32 can hold as a probability;
nothing here leaves log space before the ratio is taken.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.checks import not_negative
from fedjax_rl.hetero.losses.contract import Batch, LossChoices

LARGEST_LOG_WEIGHT = 40.0
"""Weights are held at e^40, whose square is still a float32: 0 · ∞ would be NaN."""


def weight(log_weight: jax.Array) -> jax.Array:
    """exp(log w), elementwise; beyond e^40 it is held there and its gradient is e^40 ∇ log w."""
    excess = jnp.maximum(log_weight - LARGEST_LOG_WEIGHT, 0.0)
    return jnp.exp(log_weight - jax.lax.stop_gradient(excess))


def lengths(mask: jax.Array) -> jax.Array:
    """L_i [P, G] as floats; at least 1, so that an empty response contributes zero, not NaN."""
    chex.assert_rank(mask, 3)
    chex.assert_type(mask, bool)
    return jnp.maximum(mask.sum(-1), 1).astype(jnp.float32)


def token_log_p(batch: Batch) -> jax.Array:
    """Tokens' log p_it [P, G, L], zero where masked."""
    chex.assert_rank(batch.log_p, 3)
    chex.assert_equal_shape([batch.log_p, batch.mask])
    return jnp.where(batch.mask, batch.log_p, 0.0)


def token_log_ratios(batch: Batch) -> jax.Array:
    """d_it = log p_it − log q_it [P, G, L], zero where masked."""
    chex.assert_equal_shape([batch.log_p, batch.log_q])
    return token_log_p(batch) - jnp.where(batch.mask, batch.log_q, 0.0)


def sequence_logs(batch: Batch, choices: LossChoices) -> tuple[jax.Array, jax.Array]:
    """(log p_i, log q_i) of whole responses [P, G]: mean over tokens if geometric, else sum."""
    log_p = token_log_p(batch).sum(-1)
    log_q = jnp.where(batch.mask, batch.log_q, 0.0).sum(-1)
    if choices.sequence_weight == "product":
        return log_p, log_q
    count = lengths(batch.mask)
    return log_p / count, log_q / count


def group_log_mean(log_values: jax.Array, log_q: jax.Array, choices: LossChoices) -> jax.Array:
    """Logarithm of the group's mean of values.

    Weighted, by q_j / Σ_j q_j: Σ_j q_j x_j / Σ_j q_j, which for x = q estimates E[q²] / E[q]
    (arXiv 2508.17850). Plain, Σ_j x_j / G, which for x = q is an unbiased estimate of E_q[q].

    Args:
        log_values: log x [P, G].
        log_q: log q [P, G], of whole responses.
        choices: for the denominator, ``weighted`` or ``plain``.

    Returns:
        [P, 1].
    """
    chex.assert_rank(log_values, 2)
    chex.assert_equal_shape([log_values, log_q])

    def log_sum(logs: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(logs, axis=-1, keepdims=True)

    if choices.denominator == "plain":
        return log_sum(log_values) - jnp.log(float(log_values.shape[-1]))
    return log_sum(log_q + log_values) - log_sum(log_q)


class ClipSettings(NamedTuple):
    """Settings of losses that clip their weights to [1 − ε_low, 1 + ε_high].

    Attributes:
        clip_low: ε_low.
        clip_high: ε_high.
    """

    clip_low: Annotated[float, not_negative, "ε below 1."] = 0.2
    clip_high: Annotated[float, not_negative, "ε above 1."] = 0.2


def clipped_objective(
    log_weight: jax.Array, advantage: jax.Array, settings: Any
) -> tuple[jax.Array, jax.Array]:
    """min(w A, clip(w, 1 − ε_low, 1 + ε_high) A), elementwise (arXiv 1707.06347, eq. 7).

    Args:
        log_weight: log w [...].
        advantage: A [...].
        settings: ε_low and ε_high.

    Returns:
        The objective to maximise, and where the clipped term is strictly the smaller.
    """
    chex.assert_equal_rank([log_weight, advantage])
    ratio = weight(log_weight)
    free = ratio * advantage
    bounded = jnp.clip(ratio, 1.0 - settings.clip_low, 1.0 + settings.clip_high) * advantage
    return jnp.minimum(free, bounded), bounded < free


def mean_over_tokens(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Σ_i Σ_t x_it / Σ_i L_i of x [P, G, L], a scalar: long responses count for more."""
    chex.assert_rank(mask, 3)
    chex.assert_equal_shape([values, mask])
    return jnp.where(mask, values, 0.0).sum() / jnp.maximum(mask.sum(), 1)


def mean_over_responses(values: jax.Array, mask: jax.Array) -> jax.Array:
    """mean_i Σ_t x_it / L_i of x [P, G, L], a scalar: every response counts alike."""
    chex.assert_rank(mask, 3)
    chex.assert_equal_shape([values, mask])
    return (jnp.where(mask, values, 0.0).sum(-1) / lengths(mask)).mean()
