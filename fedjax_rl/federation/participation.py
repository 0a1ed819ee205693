"""Sampling of the agents that take part in a round."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fedjax_rl.errors import InvalidInput

Participation = Callable[[jax.Array, int], jax.Array]
"""(key_participation, num_agents) -> [N] booleans with at least one true, or the mean is 0 / 0."""


def sampled(count: int) -> Participation:
    """A uniform draw of ``count`` agents without replacement in each round.

    Raises:
        InvalidInput: fewer than one, or (when first used) more than there are.

    Examples:
        >>> import jax
        >>> present = sampled(2)(jax.random.key(0), 5)
        >>> present.shape, int(present.sum())
        ((5,), 2)
    """
    if count < 1:
        raise InvalidInput("participation", count, "at least one agent takes part in a round")

    def draw(key: jax.Array, num_agents: int) -> jax.Array:
        if count > num_agents:
            raise InvalidInput("participation", count, f"there are {num_agents} agents")
        # A mask and no list of who is drawn: maps over agents keep their shapes.
        return jax.random.permutation(key, jnp.arange(num_agents)) < count

    return draw


def attendance(
    participation: Participation | None,
    key: jax.Array,
    num_agents: int,
    merge_weights: ArrayLike | None = None,
) -> tuple[jax.Array | None, jax.Array]:
    """Who is there [N], or None for everybody, and each agent's weight in every merge [N].

    Args:
        participation: who takes part; None for everybody.
        key: of who takes part in this round.
        num_agents: N.
        merge_weights: [N], of those who take part; equal ones unless given.
    """
    weights = jnp.ones(num_agents) if merge_weights is None else jnp.asarray(merge_weights)
    if participation is None:
        return None, weights
    present = participation(key, num_agents)
    return present, present * weights
