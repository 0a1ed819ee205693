"""Objectives of a policy step on an agent's Lagrangian."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def clipped(ratio: jax.Array, advantage: jax.Array, clip: jax.Array) -> jax.Array:
    """min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), elementwise (arXiv 1707.06347, eq. 7).

    Args:
        ratio: ρ = π(a | s) / π_old(a | s) [...].
        advantage: A [...].
        clip: ε, scalar.
    """
    chex.assert_equal_shape([ratio, advantage])
    chex.assert_rank(clip, 0)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def lagrangian(
    ratio: jax.Array, reward_part: jax.Array, cost_part: jax.Array, clip: jax.Array
) -> jax.Array:
    """clipped(ρ, A_r part) − ρ · (Σ_j w_ij λ_j A_cj), elementwise (arXiv 2405.03236).

    Cost terms are not clipped: a policy that hurts must be free to move away. To clip the
    combined advantage instead, hand it over as ``reward_part`` with a cost part of zero.

    Args:
        ratio: ρ [...].
        reward_part: A_r / N over the normaliser [...].
        cost_part: Σ_j w_ij λ_ij A_cj over the normaliser [...].
        clip: ε, scalar.
    """
    chex.assert_equal_shape([ratio, reward_part, cost_part])
    chex.assert_rank(clip, 0)
    return clipped(ratio, reward_part, clip) - ratio * cost_part


def divergence(log_ratio: jax.Array) -> jax.Array:
    """Estimates KL(π_old‖π) from actions of π_old: E[ρ − 1 − log ρ] ≥ 0, elementwise."""
    return jnp.expm1(log_ratio) - log_ratio
