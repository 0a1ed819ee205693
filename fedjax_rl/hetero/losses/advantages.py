"""Advantages of responses relative to their group; all [P, G] → [P, G]."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import betaln

from fedjax_rl.hetero.losses.weights import weight

LEAST_DEVIATION = 1e-4


def centred(rewards: jax.Array) -> jax.Array:
    """A_i = r_i − mean_j r_j, [P, G]."""
    chex.assert_rank(rewards, 2)
    return rewards - rewards.mean(-1, keepdims=True)


def standardised(rewards: jax.Array) -> jax.Array:
    """A_i = (r_i − mean_j r_j) / (std_j r_j + 10⁻⁴), [P, G], arXiv 2402.03300.

    The deviation is the sample's, with G − 1 in its denominator (ddof 1).
    """
    chex.assert_rank(rewards, 2)
    deviation = rewards.std(-1, keepdims=True, ddof=1)
    return centred(rewards) / (deviation + LEAST_DEVIATION)


def beta_normalised(rewards: jax.Array) -> jax.Array:
    """A_i = (r_i − r̄) / Beta(α, β).pdf(r̄), arXiv 2506.02864, for rewards in [0, 1].

        s = m(1 − m)/v − 1,  α = max(1, 1 + s m / 3),  β = max(1, 1 + s (1 − m) / 3)

    r̄ is the group's mean reward; m and v are mean and variance of the r̄ of this batch, v with P
    in its denominator (ddof 0), for which s ≥ 0. Where all rewards of a group are equal, or all
    r̄ are, this is 0/0 and A = 0.
    """
    chex.assert_rank(rewards, 2)
    group_mean = rewards.mean(-1, keepdims=True)
    mean, variance = group_mean.mean(), group_mean.var()
    # Told by comparison, which rounding cannot blur as it does a difference from a mean.
    undefined = (rewards == rewards[:, :1]).all(-1, keepdims=True)
    undefined |= (group_mean == group_mean[0]).all()
    strength = mean * (1.0 - mean) / jnp.where(variance > 0.0, variance, 1.0) - 1.0
    alpha = jnp.maximum(1.0, 1.0 + strength * mean / 3.0)
    beta = jnp.maximum(1.0, 1.0 + strength * (1.0 - mean) / 3.0)
    inside = jnp.where(undefined, 0.5, group_mean)
    log_density = (alpha - 1.0) * jnp.log(inside) + (beta - 1.0) * jnp.log1p(-inside)
    normalised = centred(rewards) * weight(betaln(alpha, beta) - log_density)
    return jnp.where(undefined, 0.0, normalised)
