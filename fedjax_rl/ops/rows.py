"""Many arrays over the same samples as one, so that a shuffle moves each sample once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree


class Rows(NamedTuple):
    """A pytree of arrays over T·B samples, packed.

    Attributes:
        values: [T, B, W] float32, or float64 where any leaf is.
        unpack: ([..., W]) -> the pytree, with the leading axes of its argument.
    """

    values: jax.Array
    unpack: Callable[[Any], Any]


def packed(tree: Pytree) -> Rows:
    """Packs a pytree whose leaves are [T, B, …] numbers; integers must be below 2²⁴."""
    leaves, structure = jax.tree.flatten(tree)
    kind = jnp.result_type(jnp.float32, *leaves)
    shapes = [leaf.shape[2:] for leaf in leaves]
    widths = [math.prod(shape) for shape in shapes]
    columns = [
        leaf.astype(kind).reshape(*leaf.shape[:2], width)
        for leaf, width in zip(leaves, widths, strict=True)
    ]
    ends = [sum(widths[: index + 1]) for index in range(len(widths))]

    def unpack(rows: jax.Array) -> Pytree:
        parts = [
            rows[..., end - width : end].reshape(*rows.shape[:-1], *shape).astype(leaf.dtype)
            for leaf, shape, width, end in zip(leaves, shapes, widths, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    return Rows(jnp.concatenate(columns, axis=-1), unpack)
