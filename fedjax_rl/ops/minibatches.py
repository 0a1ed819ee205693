"""Shuffles that cost next to nothing and are fresh in every epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def stratified_minibatches(key: jax.Array, rows: jax.Array, count: int) -> jax.Array:
    """Deals the steps of a rollout into minibatches, each a stratified sample of it.

    Every group of ``count`` consecutive steps of every environment gives one step to each
    minibatch: which one is a fresh uniform rotation of the group. So a minibatch is spread
    evenly over time and environments, which a uniform shuffle is only on average; and a
    rotation takes one random number for ``count`` samples, where a permutation sorts them all.

    Args:
        key: randomness of this epoch.
        rows: [T, B, W]; ``count`` divides T.
        count: K, minibatches.

    Returns:
        [K, T·B / K, W]; every row is in exactly one minibatch.
    """
    steps, batch, width = rows.shape
    grouped = rows.reshape(steps // count, count, batch, width)
    if count == 1:
        return grouped.reshape(1, steps * batch, width)
    rotation = jax.random.randint(key, (steps // count, 1, batch, 1), 0, count)
    slot = (jnp.arange(count)[:, None, None] + rotation) % count
    dealt = jnp.take_along_axis(grouped, slot, axis=1)
    return jnp.swapaxes(dealt, 0, 1).reshape(count, -1, width)
