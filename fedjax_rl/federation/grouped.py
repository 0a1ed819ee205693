"""Agents or members in groups, one group after another: each fits a processor's cache."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.round import AgentMap


def in_groups(size: int) -> AgentMap:
    """Maps over agents, or members, like `jax.vmap`, at most ``size`` of them at a time.

    The program grows with the size of a group and not with their number, and so does what is live
    while it runs; what each computes is the same.

    Args:
        size: most at once, at least 1, static. Groups are even (`even_size`): one that was left
            over would be a program of its own, and compiled beside the other.

    Returns:
        A map that takes ``in_axes`` of 0 and None, or trees of them, ``out_axes`` of 0 and None,
        and ``axis_size``; a function with outputs that are common to all (an output axis None) is
        mapped over all at once.

    Raises:
        InvalidInput: a group of none.
    """
    if size < 1:
        raise InvalidInput("--agents-at-once", size, "at least 1")

    def group_map(
        function: Any, in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None
    ) -> Any:
        together = jax.vmap(function, in_axes, out_axes, axis_size=axis_size)
        if out_axes != 0:
            return together

        def in_turn(*arguments: Pytree) -> Pytree:
            leaves, structure = jax.tree.flatten(arguments)
            axes = _of_leaves(in_axes, arguments)
            # Arrays without entries go around: what is cut into groups must have some.
            cut = [i for i, axis in enumerate(axes) if axis == 0 and leaves[i].size]
            # Where they have nothing of their own, there is nothing to take in turn.
            if not cut or (count := len(leaves[cut[0]])) <= size:
                return together(*arguments)
            even = even_size(count, size)
            outcome: list[Any] = []

            def one(own: list[Pytree]) -> Pytree:
                each = [
                    leaf[0] if axis == 0 and not leaf.size else leaf
                    for leaf, axis in zip(leaves, axes, strict=True)
                ]
                for index, leaf in zip(cut, own, strict=True):
                    each[index] = leaf
                made = function(*jax.tree.unflatten(structure, each))
                outcome[:] = jax.tree.flatten(made)
                return [leaf for leaf in outcome[0] if jnp.size(leaf)]

            full = [leaves[index] for index in cut]
            # One at a time is no group of one: an axis of length 1 takes a compiler longer.
            computed = iter(jax.lax.map(one, full, batch_size=even if even > 1 else None))
            made = [
                next(computed) if jnp.size(leaf) else jnp.zeros((count, *leaf.shape), leaf.dtype)
                for leaf in outcome[0]
            ]
            return jax.tree.unflatten(outcome[1], made)

        return in_turn

    return group_map


def even_size(count: int, most: int) -> int:
    """The most at a time, of so many, that leaves nobody over: a divisor of their number.

    Examples:
        >>> even_size(32, 5), even_size(32, 64), even_size(7, 4)
        (4, 32, 1)
    """
    return max(size for size in range(1, max(1, min(count, most)) + 1) if count % size == 0)


def _of_leaves(axes: Any, trees: Pytree) -> list[int | None]:
    """The axis of every leaf of trees, of which ``axes`` is a prefix."""
    each: list[int | None] = []

    def same(axis: int | None, tree: Pytree) -> None:
        each.extend([axis] * len(jax.tree.leaves(tree)))

    jax.tree.map(same, axes, trees, is_leaf=lambda axis: axis is None)
    return each
