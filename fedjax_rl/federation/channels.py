"""Channels: what happens to what an agent sends, before it leaves."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Channel, Pytree


def clipped(norm: float) -> Channel:
    """Shortens what is sent to a Euclidean norm, that of all floating-point leaves together.

    x ← x · min(1, norm / ‖x‖), the first half of a differentially private mean
    (arXiv 1710.06963).

    Args:
        norm: the largest that is sent, above 0.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> sent = clipped(norm=1.0).send(jax.random.key(0), jnp.array([3.0, 4.0]))
        >>> [f"{entry:.3f}" for entry in sent]
        ['0.600', '0.800']
    """

    def send(key: jax.Array, value: Pytree) -> Pytree:
        floating = [leaf for leaf in jax.tree.leaves(value) if _is_floating(leaf)]
        length = jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in floating))
        factor = norm / jnp.maximum(length, norm)

        def shortened(leaf: jax.Array) -> jax.Array:
            return factor.astype(leaf.dtype) * leaf if _is_floating(leaf) else leaf

        return jax.tree.map(shortened, value)

    return Channel(send)


def _is_floating(leaf: jax.Array) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))
