"""Costs of being somewhere, and budgets in other units."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from fedjax_rl.algorithm import Array
from fedjax_rl.envs.task import KINDS
from fedjax_rl.errors import InvalidInput

Interval = tuple[float, float]


def indicator(value: Array, intervals: Sequence[Interval]) -> Array:
    """1 where the value lies in one of the closed intervals, 0 elsewhere; float32."""
    inside = [(low <= value) & (value <= high) for low, high in intervals]
    return jnp.any(jnp.stack(inside), axis=0).astype(jnp.float32)


def budget_as(kind: str, per_episode: float, steps: int, discount: float = 0.99) -> float:
    """The budget of an episode at the same cost per step, in another unit.

    d per episode of T steps is d/T per step, and d/T · (1 − γᵀ)/(1 − γ) discounted from an
    episode's start when the cost is paid evenly.

    Args:
        kind: one of `KINDS`.
        per_episode: d, the undiscounted sum over an episode.
        steps: T, the time limit.
        discount: γ of the costs, below 1.

    Raises:
        InvalidInput: no such kind.

    Examples:
        >>> budget_as("step", per_episode=10.0, steps=200)
        0.05
        >>> round(budget_as("discounted", per_episode=3.0, steps=2, discount=0.5), 6)  # 1.5 + 0.75
        2.25
    """
    match kind:
        case "episode":
            return per_episode
        case "step":
            return per_episode / steps
        case "discounted":
            return per_episode / steps * (1 - discount**steps) / (1 - discount)
    raise InvalidInput("kind", repr(kind), f"one of {', '.join(KINDS)}")
