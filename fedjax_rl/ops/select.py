"""Choosing between two pytrees, row by row."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree


def where(mask: jax.Array, new: Pytree, old: Pytree) -> Pytree:
    """Rows of ``new`` where the mask is true, and of ``old`` elsewhere.

    Nothing of a row that is left out gets through, be it NaN.

    Args:
        mask: booleans, scalar or [N].
        new: leaves [N, …].
        old: of the same structure and shapes.
    """
    chex.assert_rank(mask, {0, 1})
    chex.assert_type(mask, bool)

    def pick(left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (left.ndim - mask.ndim)), left, right)

    return jax.tree.map(pick, new, old)
