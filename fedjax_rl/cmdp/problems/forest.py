"""Forest management, where a sawmill wants timber and a forester spares young trees."""

from __future__ import annotations

import numpy as np

from fedjax_rl.checks import check_count, checked, finite, not_negative
from fedjax_rl.cmdp.model import CMDP, from_arrays
from fedjax_rl.errors import InvalidInput

BUDGETS = (8.0, 1.0)


def forest(
    states: int = 3,
    waiting_reward: float = 4.0,
    cutting_reward: float = 2.0,
    fire: float = 0.1,
    discount: float = 0.9,
) -> CMDP:
    """Forest management (the example of pymdptoolbox); a mill and a forester share it.

    The age class grows by one in each year of waiting, up to the last, and a fire takes it back
    to 0 with probability p; cutting takes it to 0 for certain. Waiting earns r1 in the last
    class; cutting earns r2 in the last class, 1 in those between and nothing in class 0.
    Transitions and rewards are pymdptoolbox's; the constraints are ours. The mill counts the
    years without timber, the forester the cuts in a class between the first and the last. The
    unconstrained optimum never cuts; the cheapest timber is that of young trees.

    Args:
        states: S, age classes, at least 2.
        waiting_reward: r1.
        cutting_reward: r2.
        fire: p, the probability of a fire in a year.
        discount: γ in [0, 1); budgets do not follow it.

    Raises:
        InvalidInput: fewer than two classes, a reward that is no number, or no probability.
    """
    check_count("states", states, least=2)
    checked("waiting_reward", waiting_reward, finite)
    checked("cutting_reward", cutting_reward, finite)
    checked("fire", fire, not_negative)
    if fire > 1:
        raise InvalidInput("fire", fire, "a probability")
    age = np.arange(states)
    oldest = states - 1
    transition = np.zeros((states, 2, states))
    transition[age, 0, np.minimum(age + 1, oldest)] = 1.0 - fire
    transition[:, 0, 0] += fire
    transition[:, 1, 0] = 1.0
    reward = np.zeros((states, 2))
    reward[1:, 1] = 1.0
    reward[oldest] = waiting_reward, cutting_reward
    costs = np.zeros((2, states, 2))
    costs[0] = 1.0
    costs[0, 1:, 1] = 0.0
    costs[1, 1:oldest, 1] = 1.0
    return from_arrays(
        transition,
        reward,
        costs,
        BUDGETS,
        np.eye(states)[0],
        discount,
        constraint_names=["mill", "young-trees"],
    )
