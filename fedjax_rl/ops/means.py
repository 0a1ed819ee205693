"""From many agents to one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.ops.select import where


def weighted_mean(values: Pytree, weights: jax.Array) -> Pytree:
    """Σ_i w_i x_i / Σ_i w_i over the leading axis of every leaf.

    Args:
        values: pytree of x [N, …].
        weights: w [N], at least 0, not all 0.

    Returns:
        The pytree without that axis. What has weight 0 is selected out, NaN or not.
    """
    total = weights.sum()

    def mean(leaf: jax.Array) -> jax.Array:
        factors = weights.astype(leaf.dtype).reshape(-1, *(1,) * (leaf.ndim - 1))
        # Selected and not only multiplied: 0 · NaN would be NaN.
        counted = where(weights > 0, factors * leaf, jnp.zeros_like(leaf))
        return counted.sum(0) / total.astype(leaf.dtype)

    return jax.tree.map(mean, values)
