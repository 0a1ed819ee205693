"""Gymnasium's CliffWalking, where the short ways trample what two rangers protect."""

from __future__ import annotations

import numpy as np

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.problems.grid import neighbour
from fedjax_rl.cmdp.tables import from_transition_table

SHAPE = (4, 12)
START, GOAL = 36, 47
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Up, right, down, left."""
MEADOW, LEDGE = 1, 2
"""Rows, counted from the top; the cliff is in the last one."""
BUDGETS = (3.0, 3.0)


def cliff_walking(discount: float = 0.95) -> CMDP:
    """CliffWalking (Sutton and Barto 2018, example 6.6); rangers protect two rows.

    From the bottom-left cell of 4 × 12 to the bottom-right one, which ends the episode. A step
    is worth −1; one into the cliff between the two is worth −100 and leads back to the start.
    Grid and rewards are Gymnasium's; the constraints are ours: a step taken from the ledge, the
    ten cells above the cliff, costs 1, and so does one from the meadow, the ten cells above the
    ledge. The shortest walk, of 13 steps, takes the whole ledge; those of 15 and 17 steps lead
    through the meadow and above it; the optimum within the budgets is a mixture.

    Args:
        discount: γ in [0, 1); budgets do not follow it.
    """
    cliff = range(START + 1, GOAL)
    table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = {GOAL: {}}
    for cell in range(GOAL):
        table[cell] = {}
        for action, step in enumerate(STEPS):
            after = neighbour(cell, step, SHAPE)
            outcome = (1.0, START, -100.0, False) if after in cliff else (1.0, after, -1.0, False)
            table[cell][action] = [(*outcome[:3], outcome[1] == GOAL)]

    def in_row(protected: int, cell: int) -> bool:
        row, column = divmod(cell, SHAPE[1])
        return row == protected and 0 < column < SHAPE[1] - 1

    return from_transition_table(
        table,
        np.eye(GOAL + 1)[START],
        discount,
        {
            "ledge": lambda cell, action, after: in_row(LEDGE, cell),
            "meadow": lambda cell, action, after: in_row(MEADOW, cell),
        },
        BUDGETS,
    )
