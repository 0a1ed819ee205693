"""Gymnasium's FrozenLake, where two rescue teams each keep watch over half of the lake."""

from __future__ import annotations

import numpy as np

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.problems.grid import neighbour
from fedjax_rl.cmdp.tables import from_transition_table
from fedjax_rl.errors import InvalidInput

MAPS = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": (
        *("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF"),
        *("FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
    ),
}
"""Start, frozen, hole and goal, by the names that Gymnasium gives them."""
BUDGETS = {"4x4": (0.03, 0.01), "8x8": (0.01, 0.005)}
STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""Left, down, right, up."""


def frozen_lake(map_name: str = "4x4", discount: float = 0.95) -> CMDP:
    """Slippery FrozenLake (Gymnasium); two rescue teams count falls, each in its half.

    A step goes where it was meant to, or at a right angle to it to either side, with probability
    1/3 each; the border holds. Reaching the goal is worth 1. The goal and the holes end an
    episode. Map, slipping and reward are Gymnasium's; the constraints are ours: a fall into a
    hole of the west half, or of the east half, costs 1. Budgets, for the default discount, lie
    below what the unconstrained optimum pays; a policy that stays at the start keeps them.

    Args:
        map_name: ``4x4`` or ``8x8``.
        discount: γ in [0, 1); budgets do not follow it.

    Raises:
        InvalidInput: no such map.
    """
    if not isinstance(map_name, str) or map_name not in MAPS:
        raise InvalidInput("map_name", repr(map_name), f"one of {', '.join(MAPS)}")
    tiles = "".join(MAPS[map_name])
    width = len(MAPS[map_name])
    table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = {}
    for cell in range(len(tiles)):
        table[cell] = {}
        for action in range(len(STEPS)) if tiles[cell] in "SF" else ():
            turned = (STEPS[(action + turn) % len(STEPS)] for turn in (-1, 0, 1))
            cells = [neighbour(cell, step, (width, width)) for step in turned]
            table[cell][action] = [
                (1 / 3, after, float(tiles[after] == "G"), tiles[after] in "GH") for after in cells
            ]

    def fell(cell: int, action: int, after: int) -> bool:
        return tiles[after] == "H"

    return from_transition_table(
        table,
        np.array([tile == "S" for tile in tiles]),
        discount,
        {
            "west": lambda *step: fell(*step) and step[2] % width < width // 2,
            "east": lambda *step: fell(*step) and step[2] % width >= width // 2,
        },
        BUDGETS[map_name],
    )
