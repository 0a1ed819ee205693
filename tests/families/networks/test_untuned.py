"""The defaults at the first try, on a task of a user's own that they were not chosen on."""

import csv
import json

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.envs.dosing import BUDGETS, HARM, optimum

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN = ["run", "fedppo", "--problem", "tests.envs.dosing:dosing", "--rounds", "280", "--seeds", "2"]
"""Every other setting is the default."""


def test_rewards_in_hundreds_and_five_small_budgets_per_step_are_kept(run_cli, tmp_path):
    """Five agents each watch one harm; rewards are near the linear program's optimum."""
    done = run_cli(*RUN, "--out", str(tmp_path / "run"), cwd=REPOSITORY, timeout=1700)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    with (tmp_path / "run" / "evaluations.csv").open() as file:
        first = next(csv.DictReader(file))
    assert summary["num_agents"] == len(HARM) == 5
    assert float(first["cost/harm-1"]) > 1.5 * BUDGETS[0], "there was much to learn"
    for name, budget in zip(summary["costs"], BUDGETS, strict=True):
        assert summary["budgets"][name] == pytest.approx(budget)
        assert summary["costs"][name] <= 1.05 * budget
    rewards = np.asarray(summary["reward_by_seed"])
    assert (rewards >= 0.85 * optimum()).all()
    assert (rewards <= 1.05 * optimum()).all(), "no more than budgets allow"
    assert summary["collapses"] == 0
