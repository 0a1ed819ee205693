"""Euclidean projections."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def onto_simplex(point: jax.Array) -> jax.Array:
    """The nearest point of the probability simplex, for one vector [A].

    The threshold θ solves Σ_a max(point_a − θ, 0) = 1; it is found from the sorted entries
    (Held, Wolfe, Crowder 1974). Entries of −1e30 come out as exactly zero.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> points = jnp.array([[1.0, 1.5], [0.0, 2.0]])
        >>> jax.vmap(onto_simplex)(points).tolist()
        [[0.25, 0.75], [0.0, 1.0]]
    """
    chex.assert_rank(point, 1)
    descending = -jnp.sort(-point)
    excess = jnp.cumsum(descending) - 1.0
    rank = jnp.arange(1, point.shape[0] + 1)
    support = jnp.sum(descending * rank > excess)
    threshold = excess[support - 1] / support
    return jnp.maximum(point - threshold, 0.0)
