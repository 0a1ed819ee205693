"""Small CMDPs with answers by hand, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fedjax_rl.cmdp.model import CMDP, from_arrays, with_settings
from fedjax_rl.cmdp.solve import evaluate_policy

RandomProblem = Callable[..., CMDP]
Bandit = Callable[..., CMDP]


@pytest.fixture(scope="session")
def bandit() -> Bandit:
    """One state that never ends: V of a mixture is the mean of its signals over 1 − γ."""

    def build(
        reward: Sequence[float],
        costs: Sequence[Sequence[float]],
        budgets: Sequence[float],
        *,
        discount: float = 0.5,
        support: Sequence[bool] | None = None,
    ) -> CMDP:
        return from_arrays(
            np.ones((1, len(reward), 1)),
            np.array([reward], float),
            np.array(costs, float)[:, None, :],
            np.array(budgets, float),
            np.ones(1),
            discount,
            support=None if support is None else np.array([support]),
        )

    return build


@pytest.fixture(scope="session")
def random_problem() -> RandomProblem:
    """Draws 3–40 states, 2–8 constraints and budgets of 0.7 times an anchor's costs."""

    def draw(rng: np.random.Generator, constraints: int | None = None) -> CMDP:
        states, actions = int(rng.integers(3, 41)), int(rng.integers(3, 13))
        constraints = int(rng.integers(2, 9)) if constraints is None else constraints
        transition = rng.random((states, actions, states))
        transition *= rng.random(transition.shape) < 0.5
        transition[transition.sum(-1) == 0] = 1.0
        transition /= transition.sum(-1, keepdims=True)
        problem = from_arrays(
            transition,
            rng.random((states, actions)),
            rng.random((constraints, states, actions)),
            np.ones(constraints),
            rng.dirichlet(np.ones(states)),
            float(rng.choice([0.5, 0.9, 0.99])),
        )
        _, costs, _ = evaluate_policy(problem, rng.dirichlet(np.ones(actions), states))
        return with_settings(problem, budgets=0.7 * costs)

    return draw
