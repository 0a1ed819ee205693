from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedjax_rl.cmdp.model import with_settings
from fedjax_rl.cmdp.solve import ProgramFailure, evaluate_policy
from fedjax_rl.cmdp.solve.linear_program import (
    program_size,
    solve_linear_program,
    solve_slack_program,
)


@pytest.mark.timeout(30)
def test_bandit_has_its_closed_form(bandit):
    # Action 0 pays 1 and costs 1; the budget of 0.5 over 1/(1−γ) = 2 allows it a quarter.
    solution = solve_linear_program(bandit([1, 0], [[1, 0]], [0.5]))
    np.testing.assert_allclose(solution.value, 0.5, atol=1e-12)
    np.testing.assert_allclose(solution.policy, [[0.25, 0.75]], atol=1e-12)
    np.testing.assert_allclose(solution.multipliers, [1.0], atol=1e-12)
    np.testing.assert_allclose(solution.occupancy, [[0.25, 0.75]], atol=1e-12)


@pytest.mark.timeout(30)
def test_multipliers_are_in_reward_per_cost(bandit):
    solution = solve_linear_program(bandit([300, 0], [[0.01, 0]], [0.005]))
    np.testing.assert_allclose(solution.value, 150.0, rtol=1e-10)
    np.testing.assert_allclose(solution.multipliers, [30_000.0], rtol=1e-10)


@pytest.mark.timeout(30)
def test_slack_of_a_bandit(bandit):
    # Costs (1, 0) and (0, 1): V_c1 + V_c2 = 2, so the best common excess over 0.75 is 0.25.
    solution = solve_slack_program(bandit([1, 0], [[1, 0], [0, 1]], [0.75, 0.75]))
    np.testing.assert_allclose(solution.slack, -0.25, atol=1e-10)
    np.testing.assert_allclose(solution.policy, [[0.5, 0.5]], atol=1e-9)
    np.testing.assert_allclose(solution.value, 1.0, atol=1e-9)


@pytest.mark.timeout(30)
def test_slack_is_in_the_units_of_the_costs(bandit):
    # The second cost is 100 times larger: ξ = 1.5 − 2x = 150 − 200(1 − x) at common x.
    solution = solve_slack_program(bandit([1, 0], [[1, 0], [0, 100]], [1.5, 150]))
    x = (1.5 + 50.0) / 202.0
    np.testing.assert_allclose(solution.slack, 1.5 - 2.0 * x, rtol=1e-9)


@pytest.mark.timeout(30)
def test_unsupported_actions_have_no_variable(bandit):
    problem = bandit([5, 1, 0], [[0, 1, 0]], [0.5], support=[False, True, True])
    solution = solve_linear_program(problem)
    assert solution.policy[0, 0] == 0.0
    assert solution.occupancy[0, 0] == 0.0
    np.testing.assert_allclose(solution.value, 0.5, atol=1e-12)
    assert program_size(problem) == 2


@pytest.mark.timeout(30)
def test_infeasible_budgets_are_told(bandit):
    with pytest.raises(ProgramFailure, match="infeasible") as caught:
        solve_linear_program(bandit([1, 0], [[1, 1]], [1.0]))
    assert caught.value.status == 2


@pytest.mark.timeout(60)
def test_the_slack_is_where_feasibility_ends(random_problem):
    rng = np.random.default_rng(7)
    for _ in range(5):
        problem = random_problem(rng)
        slack = solve_slack_program(problem).slack
        solve_linear_program(with_settings(problem, budgets=problem.budgets - slack + 1e-6))
        with pytest.raises(ProgramFailure):
            solve_linear_program(with_settings(problem, budgets=problem.budgets - slack - 1e-6))


@pytest.mark.timeout(30)
def test_the_slack_policy_attains_its_slack_on_the_support(random_problem):
    rng = np.random.default_rng(8)
    problem = random_problem(rng)
    support = rng.random(problem.support.shape) < 0.5
    support[np.arange(len(support)), rng.integers(support.shape[1], size=len(support))] = True
    problem = dataclasses.replace(problem, support=support)
    solution = solve_slack_program(problem)
    value, costs, _ = evaluate_policy(problem, solution.policy)
    np.testing.assert_allclose((problem.budgets - costs).min(), solution.slack, atol=1e-8)
    np.testing.assert_allclose(value, solution.value, atol=1e-8)
