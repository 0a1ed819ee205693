"""Running mean and spread, and how those of many agents become one."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

LEAST_DEVIATION = 1e-3


class Moments(NamedTuple):
    """Weight, mean and sum of squared deviations of vectors [D] seen so far.

    Attributes:
        weight: scalar, how many samples.
        mean: [D].
        squares: M2 [D].
    """

    weight: jax.Array
    mean: jax.Array
    squares: jax.Array


def no_moments(dimension: int) -> Moments:
    """Mean 0 and deviation 1, with the weight of a single sample."""
    return Moments(jnp.ones(()), jnp.zeros(dimension), jnp.ones(dimension))


def updated(moments: Moments, samples: jax.Array) -> Moments:
    """Takes samples [..., D] in (Chan, Golub and LeVeque 1983)."""
    chex.assert_rank(moments.mean, 1)
    chex.assert_axis_dimension(samples, -1, len(moments.mean))
    flat = samples.reshape(-1, samples.shape[-1])
    mean = flat.mean(0)
    squares = ((flat - mean) ** 2).sum(0)
    return pooled(moments, Moments(jnp.float32(len(flat)), mean, squares))


def pooled(left: Moments, right: Moments) -> Moments:
    """Moments of both sets of samples together."""
    chex.assert_rank(left.mean, 1)
    chex.assert_equal_shape([left.mean, right.mean])
    weight = left.weight + right.weight
    shift = right.mean - left.mean
    return Moments(
        weight,
        left.mean + shift * (right.weight / weight),
        left.squares + right.squares + shift**2 * (left.weight * right.weight / weight),
    )


def deviation(moments: Moments) -> jax.Array:
    """Standard deviation [D]; at least a thousandth, so that a constant can be divided."""
    return jnp.maximum(jnp.sqrt(moments.squares / moments.weight), LEAST_DEVIATION)


def root_mean_square(moments: Moments) -> jax.Array:
    """√E x² [D] of the samples seen so far."""
    return jnp.sqrt(moments.squares / moments.weight + moments.mean**2)


def normalized(moments: Moments, samples: jax.Array, clip: float = 10.0) -> jax.Array:
    """(x − mean) / deviation, within ± clip.

    Args:
        moments: mean and deviation [D].
        samples: x [..., D].
        clip: largest magnitude, in deviations.

    Returns:
        [..., D], in deviations.
    """
    chex.assert_rank(moments.mean, 1)
    chex.assert_axis_dimension(samples, -1, len(moments.mean))
    return jnp.clip((samples - moments.mean) / deviation(moments), -clip, clip)


def enlarged(moments: Moments, samples: jax.Array, clip: float = 10.0) -> jax.Array:
    """X / min(1, √E x²): what is small is brought to size 1, and the rest is left as it is.

    Not centred, and no more than ``clip`` in magnitude unless x is.

    Args:
        moments: mean and deviation [D].
        samples: x [..., D].
        clip: largest magnitude of what is enlarged.
    """
    chex.assert_rank(moments.mean, 1)
    chex.assert_axis_dimension(samples, -1, len(moments.mean))
    size = jnp.clip(root_mean_square(moments), LEAST_DEVIATION, 1.0)
    return jnp.clip(samples / size, jnp.minimum(samples, -clip), jnp.maximum(samples, clip))


def about(origin: jax.Array, moments: Moments) -> Moments:
    """Sums about a common origin, whose plain mean over agents is that of the pooled samples.

    Args:
        origin: [D], common to all agents.
        moments: of one agent's vectors [D].

    Returns:
        weight, Σ (x − origin) [D], Σ (x − origin)² [D].
    """
    chex.assert_rank(origin, 1)
    chex.assert_equal_shape([origin, moments.mean])
    shift = moments.mean - origin
    first = moments.weight * shift
    return Moments(moments.weight, first, moments.squares + first * shift)


def from_sums(origin: jax.Array, sums: Moments) -> Moments:
    """The inverse of `about`; accurate as long as the origin is near the mean.

    Args:
        origin: [D].
        sums: as `about` gives them, or their mean over agents.
    """
    chex.assert_rank(origin, 1)
    chex.assert_equal_shape([origin, sums.mean])
    shift = sums.mean / sums.weight
    # Where it is not, rounding must not make a negative sum of squares, whose root is NaN.
    squares = jnp.maximum(sums.squares - sums.mean * shift, 0.0)
    return Moments(sums.weight, origin + shift, squares)
