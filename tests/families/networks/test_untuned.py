"""The defaults at the first try, on a task of a user's own that they were not chosen on."""

import numpy as np
import pytest

from fedjax_rl.runs import fedppo
from tests.envs.dosing import BUDGETS, HARM, optimum

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SEEDS, ROUNDS = 2, 280


def test_rewards_in_hundreds_and_five_small_budgets_per_step_are_kept_by_the_defaults():
    """Five agents each watch one harm; rewards are near the linear program's optimum."""
    result = fedppo(
        "tests.envs.dosing:dosing", rounds=ROUNDS, seeds=SEEDS, evaluate_every=5, window=8
    )
    summary = result.summary
    first = result.evaluations.costs[0].mean((0, 1)) / BUDGETS
    assert summary["num_agents"] == len(HARM) == 5 and (first > 1).all(), "there was much to learn"
    for name, budget in zip(summary["costs"], BUDGETS, strict=True):
        assert summary["budgets"][name] == pytest.approx(budget)
        assert summary["costs"][name] <= 1.05 * budget
    rewards = np.asarray(summary["reward_by_seed"])
    assert (rewards >= 0.85 * optimum()).all()
    assert (rewards <= 1.05 * optimum()).all(), "no more than budgets allow"
    assert summary["collapses"] == 0
