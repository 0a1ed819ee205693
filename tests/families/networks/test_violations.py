"""What rollouts cost above budgets, summed over rounds."""

import numpy as np
import pytest

from fedjax_rl.families.networks.history import violations_summed
from fedjax_rl.families.networks.training import fedppo
from tests.quick import quick_compilation  # noqa: F401

BUDGETS = np.array([10.0, 1.0])


def test_only_what_is_above_counts_and_no_round_pays_for_another():
    """Three rounds, one seed, two agents, two constraints."""
    costs = np.array(
        [
            [[[12.0, 1.0], [10.0, 0.5]]],
            [[[2.0, 1.25], [13.0, np.nan]]],
            [[[11.0, 3.0], [np.nan, 1.5]]],
        ]
    )
    before = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    summed = violations_summed(costs, before, BUDGETS, np.ones((3, 1), bool))
    np.testing.assert_array_equal(
        summed[:, 0],
        [[[3, 0], [0, 0]], [[3, 0.25], [3, 0]], [[4, 2.25], [3, 0.5]]],
    )


def test_a_seed_that_diverged_adds_nothing_more():
    costs = np.full((3, 2, 1, 2), 11.0)
    alive = np.array([[True, True], [True, False], [True, False]])
    summed = violations_summed(costs, np.zeros((2, 1, 2)), BUDGETS, alive)
    np.testing.assert_array_equal(summed[-1, :, 0], [[3, 30], [1, 10]])


def test_where_spans_end_changes_no_bit():
    rng = np.random.default_rng(0)
    costs, alive = rng.uniform(0, 20, (40, 2, 3, 2)).astype(np.float32), np.ones((40, 2), bool)
    start = np.zeros((2, 3, 2))
    whole = violations_summed(costs, start, BUDGETS, alive)[-1]
    for cut in (1, 7, 39):
        first = violations_summed(costs[:cut], start, BUDGETS, alive[:cut])[-1]
        second = violations_summed(costs[cut:], first, BUDGETS, alive[cut:])[-1]
        np.testing.assert_array_equal(second, whole)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["fed", "no-communication"])
def test_a_run_sums_what_its_agents_met(reference):
    """Of one pull the cost is 0 or 1, and the budget 0 is broken by as much in every round."""
    run = fedppo(
        "constrained-bandit",
        **{"agents": 2, "seeds": 2, "reference": reference, "budgets": (0.0,)},
        **{"envs": 4, "rollout": 8, "hidden": (4,), "rounds": 3, "episodes": 100, "epochs": 1},
    )
    column = run.history["cumulative_violation/pull"]
    np.testing.assert_allclose(column, np.cumsum([0, *run.history["cost/pull"][1:]]), rtol=1e-6)
    by_agent = run.summary["cumulative_violation"]
    assert list(by_agent) == ["0", "1"] and by_agent["0"] != by_agent["1"]
    assert np.mean([own["pull"] for own in by_agent.values()]) == pytest.approx(column[-1])
    assert run.summary["collapses"] == 0 and run.summary["collapses_by_seed"].tolist() == [0, 0]
