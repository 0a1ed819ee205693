from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays as problem_from_arrays
from fedjax_rl.cmdp.model import with_settings
from fedjax_rl.cmdp.solve import (
    InfeasibleProblem,
    SolverDisagreement,
    evaluate_policy,
    solve,
)
from fedjax_rl.cmdp.solve import solver as module
from fedjax_rl.cmdp.solve.process import gather_successors
from fedjax_rl.errors import InvalidInput

SOLVERS = ("decomposition", "linear-program", "both", "auto")


def two_state_problem(budget=0.5):
    """From `work`, resting leads to `home` for ever; γ = 0.5.

    Working pays 1 and costs 1 a step and stays; V = 1/(1 − γx) per step worked with
    probability x. Home pays nothing, and its two actions do nothing.
    """
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, :, 1] = 1.0
    reward = np.array([[1.0, 0.0], [0.0, 0.0]])
    return problem_from_arrays(transition, reward, reward[None], [budget], [1.0, 0.0], 0.5)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_bandit_with_every_solver(bandit, solver):
    certificate = solve(bandit([1, 0], [[1, 0]], [0.5]), solver)
    np.testing.assert_allclose(certificate.optimal_value, 0.5, atol=1e-10)
    np.testing.assert_allclose(certificate.policy, [[0.25, 0.75]], atol=1e-10)
    np.testing.assert_allclose(certificate.multipliers, [1.0], atol=1e-10)
    np.testing.assert_allclose(certificate.occupancy, [[0.25, 0.75]], atol=1e-10)
    np.testing.assert_allclose(certificate.costs, [0.5], atol=1e-10)
    np.testing.assert_allclose(certificate.slater_slack, 0.5, atol=1e-9)
    np.testing.assert_allclose(certificate.multiplier_bound, 1.0, atol=1e-8)
    np.testing.assert_allclose(certificate.unconstrained_value, 2.0, atol=1e-12)
    assert certificate.multipliers_unique is True
    assert 0 <= certificate.certified_gap <= 1e-9


@pytest.mark.timeout(30)
def test_the_solvers_that_ran_are_named(bandit):
    problem = bandit([1, 0], [[1, 0]], [0.5])
    for solver in ("both", "auto"):
        certificate = solve(problem, solver)
        assert certificate.solvers == ("decomposition", "linear-program")
        assert certificate.disagreement is not None
        assert certificate.disagreement <= 1e-9
        assert certificate.num_columns >= 2
    alone = solve(problem, "linear-program")
    assert alone.solvers == ("linear-program",)
    assert alone.disagreement is None
    assert alone.num_columns == 0


@pytest.mark.timeout(30)
def test_auto_leaves_large_programs_to_the_decomposition(bandit, monkeypatch):
    problem = bandit([1, 0], [[1, 0]], [0.5])
    monkeypatch.setattr(module, "PROGRAM_ENTRIES", 1)
    assert solve(problem).solvers == ("decomposition",)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_states_mix_by_occupancy(solver):
    # Working with probability x in every step is worth x / (1 − γx) = 0.5 at x = 0.4, which is
    # not the average (0.25) of the policies that always and never work.
    certificate = solve(two_state_problem(), solver)
    np.testing.assert_allclose(certificate.optimal_value, 0.5, atol=1e-10)
    np.testing.assert_allclose(certificate.policy[0], [0.4, 0.6], atol=1e-10)
    np.testing.assert_allclose(certificate.multipliers, [1.0], atol=1e-10)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_unvisited_states_may_do_anything_allowed(solver):
    # With a budget for always working, home is never reached.
    problem = two_state_problem(budget=3.0)
    certificate = solve(problem, solver)
    np.testing.assert_allclose(certificate.policy, [[1, 0], [0.5, 0.5]], atol=1e-12)
    np.testing.assert_allclose(certificate.multipliers, [0.0], atol=1e-12)
    masked = dataclasses.replace(problem, support=np.array([[True, True], [False, True]]))
    np.testing.assert_allclose(solve(masked, solver).policy[1], [0, 1], atol=0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_support_is_respected(random_problem, solver):
    rng = np.random.default_rng(5)
    problem = random_problem(rng)
    support = rng.random(problem.support.shape) < 0.6
    support[:, 0] = True
    _, costs, _ = evaluate_policy(problem, support / support.sum(1, keepdims=True))
    problem = dataclasses.replace(problem, support=support, budgets=0.97 * costs)
    certificate = solve(problem, solver)
    assert (certificate.policy[~support] == 0).all()
    assert (certificate.occupancy[~support] == 0).all()
    free = dataclasses.replace(problem, support=np.ones_like(support))
    assert certificate.optimal_value < solve(free, solver).optimal_value - 1e-6


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_infeasible_budgets_name_the_missing_slack(bandit, solver):
    # V_c1 + V_c2 = 2 with budgets 0.5 and 1: both are exceeded by at least 0.25. Action 2 only
    # adds a third cost that is never binding.
    problem = bandit([1, 0, 0], [[1, 0, 1], [0, 1, 1], [0, 0, 1]], [0.5, 1.0, 5.0])
    with pytest.raises(InfeasibleProblem, match=r"budgets: got .*0\.25") as caught:
        solve(problem, solver)
    np.testing.assert_allclose(caught.value.slater_slack, -0.25, atol=1e-9)
    assert caught.value.field == "budgets"
    assert caught.value.constraint in ("constraint-0", "constraint-1")
    assert isinstance(caught.value, InvalidInput)
    assert "\n" not in str(caught.value)
    just_enough = with_settings(problem, budgets=problem.budgets + 0.25 + 1e-6)
    assert solve(just_enough, solver).slater_slack > 0


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_most_exceeded_constraint_is_named(bandit, solver):
    problem = bandit([1, 0], [[0, 0], [1, 1]], [1.0, 0.5])
    with pytest.raises(InfeasibleProblem, match="'constraint-1'"):
        solve(problem, solver)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_slack_is_feasible_with_unbounded_multipliers(bandit, solver):
    # A budget of zero forbids action 0: every λ ≥ 1 is optimal.
    certificate = solve(bandit([1, 0], [[1, 0]], [0.0]), solver)
    assert certificate.slater_slack == 0.0
    assert certificate.multiplier_bound == np.inf
    np.testing.assert_allclose(certificate.optimal_value, 0.0, atol=1e-10)
    np.testing.assert_allclose(certificate.policy, [[0, 1]], atol=1e-10)
    np.testing.assert_allclose(certificate.multiplier_intervals[0, 0], 1.0, atol=1e-6)
    assert certificate.multiplier_intervals[0, 1] == np.inf
    assert certificate.multipliers_unique is False
    assert certificate.certified_gap <= 1e-8


@pytest.mark.timeout(30)
def test_units_only_rescale_the_answer(random_problem):
    rng = np.random.default_rng(11)
    problem = random_problem(rng)
    _, costs, _ = evaluate_policy(problem, np.full(problem.support.shape, 1 / problem.num_actions))
    problem = with_settings(problem, budgets=0.95 * costs)
    units = 10.0 ** np.linspace(-3, 3, problem.num_constraints)
    rescaled = dataclasses.replace(
        problem,
        reward=1e4 * problem.reward,
        costs=units[:, None, None] * problem.costs,
        budgets=units * problem.budgets,
    )
    plain, scaled = solve(problem), solve(rescaled)
    np.testing.assert_allclose(scaled.optimal_value, 1e4 * plain.optimal_value, rtol=1e-9)
    np.testing.assert_allclose(
        scaled.multipliers * units, 1e4 * plain.multipliers, rtol=1e-6, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_strong_duality_and_complementary_slackness(random_problem):
    rng = np.random.default_rng(13)
    solved = 0
    while solved < 10:
        problem = random_problem(rng)
        try:
            certificate = solve(problem)
        except InfeasibleProblem as error:
            assert error.slater_slack < 0
            continue
        solved += 1
        value, costs, occupancy = evaluate_policy(problem, certificate.policy)
        assert value == pytest.approx(certificate.optimal_value, abs=1e-12)
        np.testing.assert_allclose(costs, certificate.costs, atol=1e-12)
        np.testing.assert_allclose(occupancy, certificate.occupancy, atol=1e-14)
        assert (costs <= problem.budgets + 1e-9).all()
        assert (certificate.multipliers >= 0).all()
        room = problem.budgets - costs
        np.testing.assert_allclose(certificate.multipliers * room, 0.0, atol=1e-8)
        # g(λ*) from an unconstrained problem that shares no code with the bound.
        lagrangian = problem.reward - np.tensordot(certificate.multipliers, problem.costs, 1)
        dual = _optimal_value(problem, lagrangian) + certificate.multipliers @ problem.budgets
        assert dual == pytest.approx(certificate.optimal_value, abs=1e-8)
        assert certificate.certified_gap <= 1e-8
        assert certificate.optimal_value <= certificate.unconstrained_value + 1e-10
        assert certificate.multipliers.sum() <= certificate.multiplier_bound + 1e-8
        low, high = certificate.multiplier_intervals.T
        assert (low <= certificate.multipliers).all()
        assert (certificate.multipliers <= high).all()


def _optimal_value(problem, signal):
    """V* of one signal by plain value iteration, to 1e-10."""
    values = np.zeros(problem.num_states)
    sweeps = int(np.ceil(np.log(1e-13) / np.log(problem.discount))) + 1
    for _ in range(sweeps):
        action_values = signal + problem.discount * problem.transition @ values
        values = np.where(problem.support, action_values, -np.inf).max(1)
    return float(problem.initial @ values)


@pytest.mark.timeout(60)
def test_tighter_budgets_are_worth_less_and_the_multipliers_say_how_much(random_problem):
    rng = np.random.default_rng(17)
    problem = random_problem(rng)
    uniform = np.full(problem.support.shape, 1 / problem.num_actions)
    _, costs, _ = evaluate_policy(problem, uniform)
    found = [
        solve(with_settings(problem, budgets=scale * costs)) for scale in (1.0, 0.97, 0.94, 0.91)
    ]
    for wide, tight, scale in zip(found, found[1:], (0.03,) * 3, strict=False):
        assert tight.optimal_value < wide.optimal_value - 1e-6
        lost = wide.optimal_value - tight.optimal_value
        # V*(d) is concave and λ* its supergradient.
        assert wide.multipliers @ costs * scale <= lost + 1e-8
        assert lost <= tight.multipliers @ costs * scale + 1e-8


@pytest.mark.timeout(30)
def test_solvers_that_disagree_are_not_believed(bandit, monkeypatch):
    honest = module.solve_linear_program

    def wrong(*arguments):
        solution = honest(*arguments)
        return solution._replace(value=solution.value * (1 + 5e-6) + 5e-6)

    problem = bandit([1, 0], [[1, 0]], [0.5])
    monkeypatch.setattr(module, "solve_linear_program", wrong)
    with pytest.raises(
        SolverDisagreement, match=r"optimal value: decomposition 0\.5.*program 0\.5"
    ):
        solve(problem, "both")
    assert solve(problem, "decomposition").optimal_value == pytest.approx(0.5)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("policy", "gap"),
    [([0.2, 0.8, 0.0], 0.1), ([0.25, 0.0, 0.75], 3.0)],
    ids=["worth too little", "over the budget"],
)
def test_a_wrong_answer_shows_in_the_certified_gap(bandit, monkeypatch, policy, gap):
    honest = module.solve_linear_program

    def wrong(*arguments):
        return honest(*arguments)._replace(policy=np.array([policy]))

    monkeypatch.setattr(module, "solve_linear_program", wrong)
    certificate = solve(bandit([1, 0, 0], [[1, 0, 2]], [0.5]), "linear-program")
    np.testing.assert_allclose(certificate.certified_gap, gap, atol=1e-9)


@pytest.mark.timeout(30)
def test_an_unknown_solver_is_refused(bandit):
    with pytest.raises(InvalidInput, match=r"simplex.*linear-program"):
        solve(bandit([1, 0], [[1, 0]], [0.5]), "simplex")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_large_sparse_problem_is_solved_in_seconds():
    rng = np.random.default_rng(23)
    states, actions, breadth = 400, 12, 60
    transition = np.zeros((states, actions, states))
    for state in range(states):
        reached = rng.choice(states, breadth, replace=False)
        transition[state][:, reached] = rng.dirichlet(np.ones(breadth), actions)
    costs = rng.random((4, states, actions))
    problem = problem_from_arrays(
        transition,
        rng.random((states, actions)),
        costs,
        np.array([0.4, 0.42, 0.44, 0.6]) * 100,
        rng.dirichlet(np.ones(states)),
        0.99,
    )
    assert gather_successors(problem.transition)[1].shape == (states, actions, breadth)
    begin = time.perf_counter()
    certificate = solve(problem)
    assert certificate.solvers == ("decomposition",)
    assert certificate.certified_gap <= 1e-8
    assert time.perf_counter() - begin < 30
