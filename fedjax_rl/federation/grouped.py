"""Agents in groups, one group after another, so that what is at work fits a processor's cache."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.round import AgentMap


def in_groups(size: int) -> AgentMap:
    """Maps over agents like `jax.vmap`, at most ``size`` of them at a time.

    The program grows with the size of a group and not with N, and so does what is live while it
    runs; what an agent computes is the same.

    Args:
        size: most agents at once, at least 1, static.

    Returns:
        A map that takes ``in_axes`` and ``out_axes`` of 0 and None, and ``axis_size``; a function
        with outputs that are common to all agents (an output axis None) is mapped over all at
        once.

    Raises:
        InvalidInput: a group of no agents.
    """
    if size < 1:
        raise InvalidInput("--agents-at-once", size, "at least 1")

    def agent_map(
        function: Any, in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None
    ) -> Any:
        together = jax.vmap(function, in_axes, out_axes, axis_size=axis_size)
        if out_axes != 0:
            return together

        def in_turn(*arguments: Pytree) -> Pytree:
            axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(arguments)
            own = [part for part, axis in zip(arguments, axes, strict=True) if axis == 0]
            leaves, structure = jax.tree.flatten(own)
            # Arrays without entries go around: what is cut into groups must have some.
            full = [leaf for leaf in leaves if leaf.size]
            # Where agents have nothing of their own, there is nothing to take in turn.
            if not full or len(full[0]) <= size:
                return together(*arguments)
            outcome: list[Any] = []

            def one(full: list[Pytree]) -> Pytree:
                filled = iter(full)
                each = [next(filled) if leaf.size else leaf[0] for leaf in leaves]
                rest = iter(jax.tree.unflatten(structure, each))
                pairs = zip(arguments, axes, strict=True)
                made = function(*(next(rest) if axis == 0 else part for part, axis in pairs))
                outcome[:] = jax.tree.flatten(made)
                return [leaf for leaf in outcome[0] if jnp.size(leaf)]

            computed = iter(jax.lax.map(one, full, batch_size=size))
            made = [
                next(computed)
                if jnp.size(leaf)
                else jnp.zeros((len(leaves[0]), *leaf.shape), leaf.dtype)
                for leaf in outcome[0]
            ]
            return jax.tree.unflatten(outcome[1], made)

        return in_turn

    return agent_map
