"""A cliff walk in the wind: every segment of the cliff is watched by another agent."""

from __future__ import annotations

import numpy as np

from fedjax_rl.checks import is_whole
from fedjax_rl.cmdp.model import CMDP, from_arrays
from fedjax_rl.cmdp.problems.grid import neighbour
from fedjax_rl.errors import InvalidInput

HEIGHT, WIDTH = 4, 10
RIGHT, LEFT, DOWN, UP = range(4)
MOVES = {RIGHT: (0, 1), LEFT: (0, -1), DOWN: (1, 0), UP: (-1, 0)}
SLIP = 0.4
FIRST_CLIFF_COLUMN = 2
MAX_AGENTS = WIDTH - 2 * FIRST_CLIFF_COLUMN


def windy_cliff(agents: int = 4, discount: float = 0.9) -> CMDP:
    """Grid of 4 × 10 cells beside a cliff, with a wind that blows down (arXiv 2405.03236).

    The walk starts in the bottom-left cell; actions are right, left, down, up, and every action
    but down slips one cell down instead of moving with probability 0.4. Each step costs 0.1 of
    reward, and earns 20 in the bottom-right cell, which does not end the walk. The bottom row
    from column 2 on is split into ``agents`` segments of ⌊6/agents⌋ cells; a step in segment i
    costs 10 of constraint i, with budget 2.

    Args:
        agents: number of segments, 1 to 6.
        discount: γ in [0, 1).

    Raises:
        InvalidInput: a segment would be empty, or the discount is outside [0, 1).
    """
    if not is_whole(agents) or not 1 <= agents <= MAX_AGENTS:
        raise InvalidInput("agents", agents, f"windy-cliff has room for 1 to {MAX_AGENTS} segments")
    reward = np.full((HEIGHT * WIDTH, len(MOVES)), -0.1)
    reward[_cell(HEIGHT - 1, WIDTH - 1)] = 20.0
    costs = np.zeros((agents, HEIGHT * WIDTH, len(MOVES)))
    length = MAX_AGENTS // agents
    for segment in range(agents):
        begin = FIRST_CLIFF_COLUMN + segment * length
        for column in range(begin, begin + length):
            costs[segment, _cell(HEIGHT - 1, column)] = 10.0
    initial = np.zeros(HEIGHT * WIDTH)
    initial[_cell(HEIGHT - 1, 0)] = 1.0
    return from_arrays(
        _transition(),
        reward,
        costs,
        np.full(agents, 2.0),
        initial,
        discount,
        constraint_names=[f"segment-{segment}" for segment in range(agents)],
    )


def _transition() -> np.ndarray:
    transition = np.zeros((HEIGHT * WIDTH, len(MOVES), HEIGHT * WIDTH))
    for cell in range(HEIGHT * WIDTH):
        below = neighbour(cell, MOVES[DOWN], (HEIGHT, WIDTH))
        for action, move in MOVES.items():
            slip = 0.0 if action == DOWN else SLIP
            transition[cell, action, below] += slip
            transition[cell, action, neighbour(cell, move, (HEIGHT, WIDTH))] += 1 - slip
    return transition


def _cell(row: int, column: int) -> int:
    return row * WIDTH + column
