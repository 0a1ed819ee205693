"""Diagnostics of a stale batch: importance weights, divergence, estimation error."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array
from fedjax_rl.hetero.losses.contract import LossOutput


class WeightSpread(NamedTuple):
    """Spread of a batch's importance weights, before clipping; scalars.

    Attributes:
        mean: 1 for unbiased weights; what is missing is shrinkage.
        variance: over the batch's n weights, with divisor n.
        cv2: variance over squared mean, which shrinkage does not change.
        effective_sample_size: (Σ w)² / (n Σ w²) in (0, 1], a share of the batch.
    """

    mean: Array
    variance: Array
    cv2: Array
    effective_sample_size: Array


def weight_spread(weights: jax.Array, mask: jax.Array) -> WeightSpread:
    """The spread of token weights [P, G, L] over counted tokens, of others [P, G, 1] over all."""
    counted = mask if weights.shape[-1] == mask.shape[-1] else jnp.ones_like(weights, bool)
    number = jnp.maximum(counted.sum(), 1)
    mean = jnp.where(counted, weights, 0.0).sum() / number
    variance = jnp.where(counted, jnp.square(weights - mean), 0.0).sum() / number
    cv2 = variance / jnp.square(mean)
    return WeightSpread(mean, variance, cv2, 1.0 / (1.0 + cv2))


def divergence(log_q: jax.Array, log_p: jax.Array, mask: jax.Array) -> jax.Array:
    """KL(q‖p) per token, exact over the vocabulary, mean over contexts that q visited; nats.

    Args:
        log_q: all of the sampler's log-probabilities [P, G, L, V].
        log_p: the learner's [P, G, L, V].
        mask: [P, G, L].
    """
    per_token = (jnp.exp(log_q) * (log_q - log_p)).sum(-1)
    mean = jnp.where(mask, per_token, 0.0).sum() / jnp.maximum(mask.sum(), 1)
    return jnp.maximum(mean, 0.0)  # what is below is rounding


def group_variation(log_q: jax.Array) -> jax.Array:
    """Deviation over mean of the responses' q_i within a group (divisor G), mean over groups.

    Where it is large, weights with the group's denominator are far from 1 even at p = q.

    Args:
        log_q: log q_i of whole responses [P, G].
    """
    relative = jnp.exp(log_q - log_q.max(-1, keepdims=True))
    return (relative.std(-1) / relative.mean(-1)).mean()


def estimation_error(
    output: LossOutput, rewards: jax.Array, mask: jax.Array, expected: jax.Array
) -> jax.Array:
    """| Σ_i w_i A_i / G − E_p[A] | with A = r − r̄ of the group, mean over groups.

    Args:
        output: whose weights are meant; token weights count by their mean over the response.
        rewards: [P, G].
        mask: [P, G, L].
        expected: E_p[r] of every prompt [P], exact or from many responses of p.
    """
    weights = output.weights[..., 0]
    if output.weights.shape[-1] == mask.shape[-1]:
        lengths = jnp.maximum(mask.sum(-1), 1)
        weights = jnp.where(mask, output.weights, 0.0).sum(-1) / lengths
    baseline = rewards.mean(-1)
    estimated = (weights * (rewards - baseline[:, None])).mean(-1)
    return jnp.abs(estimated - (expected - baseline)).mean()
