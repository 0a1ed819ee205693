"""From many agents to one."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.ops.select import where


def weighted_sum(values: Pytree, weights: jax.Array) -> tuple[Pytree, jax.Array]:
    """Σ_i w_i x_i over the leading axis of every leaf, and Σ_i w_i: what a secure sum gives.

    Args:
        values: pytree of x [N, …].
        weights: w [N], at least 0.

    Returns:
        The pytree without that axis, and a scalar. What has weight 0 is selected out, NaN or not.
    """
    chex.assert_rank(weights, 1)

    def added(leaf: jax.Array) -> jax.Array:
        factors = weights.astype(leaf.dtype).reshape(-1, *(1,) * (leaf.ndim - 1))
        # Selected and not only multiplied: 0 · NaN would be NaN.
        return where(weights > 0, factors * leaf, jnp.zeros_like(leaf)).sum(0)

    return jax.tree.map(added, values), weights.sum()


def mean_of_sum(total: Pytree, weight: jax.Array) -> Pytree:
    """The weighted mean, from Σ_i w_i x_i and the scalar Σ_i w_i > 0."""
    chex.assert_rank(weight, 0)
    return jax.tree.map(lambda leaf: leaf / weight.astype(leaf.dtype), total)


def weighted_mean(values: Pytree, weights: jax.Array) -> Pytree:
    """Σ_i w_i x_i / Σ_i w_i over the leading axis of every leaf.

    Args:
        values: pytree of x [N, …].
        weights: w [N], at least 0, not all 0.

    Returns:
        The pytree without that axis. What has weight 0 is selected out, NaN or not.

    Examples:
        >>> import jax.numpy as jnp
        >>> weighted_mean(jnp.array([[1.0], [4.0], [jnp.nan]]), jnp.array([2.0, 1.0, 0.0])).tolist()
        [2.0]
    """
    return mean_of_sum(*weighted_sum(values, weights))
