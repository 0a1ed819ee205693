"""Gymnasium's Taxi, where a street and a district count the cars that pass."""

from __future__ import annotations

import itertools

import numpy as np

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.problems.grid import neighbour
from fedjax_rl.cmdp.tables import from_transition_table

SIZE = 5
STANDS = (0, 4, 20, 23)
"""Cells of the red, green, yellow and blue stand."""
IN_TAXI = len(STANDS)
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
"""South, north, east, west; action 4 picks the passenger up, action 5 drops them off."""
PICK_UP, DROP_OFF = 4, 5
WALLS = frozenset({(1, 2), (6, 7), (15, 16), (17, 18), (20, 21), (22, 23)})
"""Pairs of cells, west and east, that no car passes between."""
MAIN_STREET, EAST = 2, 3
"""The row of the main street, and the first column of the eastern district."""
BUDGETS = (3.0, 2.5)


def taxi(discount: float = 0.95) -> CMDP:
    """Taxi (Dietterich 2000), 500 states; a street and a district count the cars.

    A state is ((row · 5 + column) · 5 + passenger) · 4 + destination, where the passenger waits
    at one of four stands or sits in the taxi. A step is worth −1, a pick-up or drop-off where
    there is nothing to pick up or drop −10, and bringing the passenger to the destination 20,
    which ends the episode. Map, rewards and the 300 equally likely first states are Gymnasium's;
    the constraints are ours: driving on from a cell of the main street, which is the third row,
    costs 1, and so does driving on from a cell of the two eastern columns. A taxi that stands
    still keeps both budgets; the optimum makes detours, and leaves some passengers standing.

    Args:
        discount: γ in [0, 1); budgets do not follow it.
    """
    table = {}
    initial = np.zeros(SIZE**2 * (IN_TAXI + 1) * len(STANDS))
    factors = (range(SIZE**2), range(IN_TAXI + 1), range(len(STANDS)))
    for cell, passenger, destination in itertools.product(*factors):
        state = _state(cell, passenger, destination)
        initial[state] = passenger not in (IN_TAXI, destination)
        table[state] = {
            action: [_outcome(cell, passenger, destination, action)] for action in range(6)
        }

    def drove_from(state: int, after: int) -> tuple[int, int]:
        """Row and column, or (−1, −1) where the car did not move."""
        cell = _cell(state)
        return divmod(cell, SIZE) if cell != _cell(after) else (-1, -1)

    return from_transition_table(
        table,
        initial / initial.sum(),
        discount,
        {
            "main-street": lambda state, _, after: drove_from(state, after)[0] == MAIN_STREET,
            "east": lambda state, _, after: drove_from(state, after)[1] >= EAST,
        },
        BUDGETS,
    )


def _outcome(
    cell: int, passenger: int, destination: int, action: int
) -> tuple[float, int, float, bool]:
    reward, arrived = -1.0, False
    if action < len(STEPS):
        after = neighbour(cell, STEPS[action], (SIZE, SIZE))
        cell = cell if (min(cell, after), max(cell, after)) in WALLS else after
    elif action == PICK_UP and passenger != IN_TAXI and cell == STANDS[passenger]:
        passenger = IN_TAXI
    elif action == DROP_OFF and passenger == IN_TAXI and cell in STANDS:
        passenger = STANDS.index(cell)
        arrived = passenger == destination
        reward = 20.0 if arrived else reward
    else:
        reward = -10.0
    return 1.0, _state(cell, passenger, destination), reward, arrived


def _state(cell: int, passenger: int, destination: int) -> int:
    return (cell * (IN_TAXI + 1) + passenger) * len(STANDS) + destination


def _cell(state: int) -> int:
    return state // (len(STANDS) * (IN_TAXI + 1))
