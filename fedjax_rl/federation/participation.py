"""Sampling of the agents that take part in a round."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fedjax_rl.errors import InvalidInput

Participation = Callable[[jax.Array, int], jax.Array]
"""(key_participation, num_agents) -> [N] booleans with at least one true."""


def sampled(count: int) -> Participation:
    """A uniform draw of ``count`` agents without replacement in each round.

    Raises:
        InvalidInput: fewer than one, or (when first used) more than there are.
    """
    if count < 1:
        raise InvalidInput("participation", count, "at least one agent takes part in a round")

    def draw(key: jax.Array, num_agents: int) -> jax.Array:
        if count > num_agents:
            raise InvalidInput("participation", count, f"there are {num_agents} agents")
        # A mask and no list of who is drawn: maps over agents keep their shapes.
        return jax.random.permutation(key, jnp.arange(num_agents)) < count

    return draw
