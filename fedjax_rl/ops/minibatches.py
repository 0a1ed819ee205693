"""Shuffles that cost next to nothing and are fresh in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.backend import platform

BLOCK_ROWS = {"cpu": 2048}
"""Rows whose activations of 64 units still fit a second-level cache."""
BLOCK_ROWS_ON_ACCELERATOR = 2**18
"""Rows whose activations fit its memory many times over: a block of few rows would leave most of it
idle, and blocks wait for each other."""


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
    chex.assert_rank(rows, 3)
    steps, batch, width = rows.shape
    grouped = rows.reshape(steps // count, count, batch, width)
    if count == 1:
        return grouped.reshape(1, steps * batch, width)
    # One number for the K steps of a group, which a rotation keeps apart: no sample is dealt twice.
    rotation = jax.random.randint(key, (steps // count, 1, batch, 1), 0, count)
    slot = (jnp.arange(count)[:, None, None] + rotation) % count
    dealt = jnp.take_along_axis(grouped, slot, axis=1)
    return jnp.swapaxes(dealt, 0, 1).reshape(count, -1, width)


def mean_over_blocks(function: Callable[[Any], Pytree], rows: jax.Array) -> Pytree:
    """The mean of a function of rows over blocks of them, one after another.

    For a function that is itself a mean over rows, such as a gradient, this is its value on all
    rows; only that the activations of one block stay in the cache, where those of a large
    minibatch would go to memory and back with every operation.

    Args:
        function: of rows [n / k, W].
        rows: [n, W]; cut into the fewest equal blocks of at most `BLOCK_ROWS`, which a kind of
            processor has of its own.
    """
    chex.assert_rank(rows, 2)
    count = blocks_of(len(rows), BLOCK_ROWS.get(platform(), BLOCK_ROWS_ON_ACCELERATOR))
    if count == 1:
        return function(rows)
    blocks = rows.reshape(count, -1, rows.shape[-1])

    def add(total: Pytree, block: jax.Array) -> tuple[Pytree, None]:
        return jax.tree.map(jnp.add, total, function(block)), None

    zero = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, blocks[0])
    )
    total, _ = jax.lax.scan(add, zero, blocks)  # in one order: the sum has the same bits each time
    return jax.tree.map(lambda leaf: leaf / count, total)


def blocks_of(rows: int, most: int) -> int:
    """The fewest equal blocks of at most so many rows; one where none divides the rows well.

    Examples:
        >>> blocks_of(2048, 2048), blocks_of(6400, 2048), blocks_of(6400, 2**18)
        (1, 4, 1)
    """
    least = -(-rows // most)
    return next((count for count in range(least, 4 * least) if rows % count == 0), 1)
