"""What a summary says of several seeds and of agents that learn alone."""

import numpy as np
import pytest

from fedjax_rl.families.networks.summary import feasible, means_by_agent
from fedjax_rl.families.networks.training import fedppo
from tests.quick import quick_compilation  # noqa: F401

TINY = {
    **{"envs": 4, "rollout": 8, "hidden": (8, 8), "rounds": 2, "episodes": 100},
    **{"epochs": 1, "minibatches": 2, "evaluate_every": 1, "window": 2},
}


def test_means_by_agent_leave_out_what_diverged():
    costs = np.array([[[1.0, 2.0], [3.0, 4.0]], [[np.nan, np.nan], [5.0, 6.0]]])
    np.testing.assert_array_equal(means_by_agent(costs), [[1, 2], [4, 5]])


def test_a_cost_is_within_budget_up_to_the_tolerance_and_never_undefined():
    costs = np.array([20.0, 21.0, 21.1, np.nan])
    assert feasible(costs, np.full(4, 20.0), 0.0).tolist() == [True, True, False, False]


def test_no_budget_counts_as_kept_where_episodes_were_given_up():
    costs, budgets = np.array([[1.0, 30.0], [1.0, 2.0]]), np.full(2, 20.0)
    within = feasible(costs, budgets, np.array([0.0, 0.01]))
    assert within.tolist() == [[True, False], [False, False]]


@pytest.mark.slow
def test_one_agent_alone_has_an_axis_of_its_own_with_several_seeds():
    result = fedppo("constrained-bandit", reference="no-communication", seeds=2, **TINY)
    assert result.evaluations.reward.shape == (3, 2, 1)
    assert len(result.summary["reward_by_seed"]) == 2


@pytest.mark.slow
def test_agents_alone_are_feasible_only_if_each_of_them_keeps_every_budget():
    # With budget 0 nobody is; with 2 everybody: a cost is at most 1 per episode.
    for budget, expected in ((0.0, False), (2.0, True)):
        settings = {"reference": "no-communication", "agents": 2, "budgets": (budget,)}
        summary = fedppo("constrained-bandit", **settings, **TINY).summary
        assert summary["feasible"] is expected
        assert len(summary["costs_by_agent"]["pull"]) == 2


@pytest.mark.slow
def test_steps_per_second_are_of_all_seeds_and_steps_of_one():
    result = fedppo("constrained-bandit", seeds=2, **{**TINY, "rounds": 6})
    assert result.summary["environment_steps"] == 6 * 4 * 8
    assert result.summary["steps_per_second"] > 0
