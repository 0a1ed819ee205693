from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays, with_settings
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.cmdp.solve.policy_iteration import first_policy, price
from fedjax_rl.cmdp.solve.process import process_of
from fedjax_rl.cmdp.solve.uniqueness import multiplier_face

SOLVERS = ("decomposition", "linear-program")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_identical_constraints_share_one_multiplier(bandit, solver):
    certificate = solve(bandit([1, 0], [[1, 0], [1, 0]], [0.5, 0.5]), solver)
    assert certificate.multipliers_unique is False
    np.testing.assert_allclose(certificate.multipliers.sum(), 1.0, atol=1e-10)
    np.testing.assert_allclose(certificate.multiplier_intervals, [[0, 1], [0, 1]], atol=1e-8)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_kink_of_the_value_has_an_interval(bandit, solver):
    # V*(d) = 2 min over the hull of (cost, reward) = (0, 0), (0.5, 1), (1, 1.2): the slope is 2
    # left of d = 1 and 0.4 right of it.
    certificate = solve(bandit([0, 1, 1.2], [[0, 0.5, 1]], [1.0]), solver)
    np.testing.assert_allclose(certificate.optimal_value, 2.0, atol=1e-10)
    assert certificate.multipliers_unique is False
    np.testing.assert_allclose(certificate.multiplier_intervals, [[0.4, 2.0]], atol=1e-8)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("slope", [1.0, 1e-3, 1e-5])
def test_a_shallow_dual_is_not_a_flat_one(bandit, solver, slope):
    # The kink moved by `slope`: λ* = 2 and only 2, though g rises from it as slowly as that.
    problem = bandit([0, 1, 1.2], [[0, 0.5, 1]], [1.0 - 0.5 * slope])
    certificate = solve(problem, solver)
    assert certificate.multipliers_unique is True
    np.testing.assert_allclose(certificate.multiplier_intervals, [[2.0, 2.0]], atol=4e-6)


@pytest.mark.timeout(30)
def test_slack_constraints_have_multiplier_zero(bandit):
    certificate = solve(bandit([1, 0], [[1, 0], [1, 0]], [0.5, 0.6]))
    assert certificate.multipliers_unique is True
    np.testing.assert_allclose(certificate.multiplier_intervals, [[1, 1], [0, 0]], atol=1e-6)


@pytest.mark.timeout(30)
def test_without_pricings_nothing_is_certified(bandit):
    process = process_of(bandit([1, 0], [[1, 0], [1, 0]], [0.5, 0.5]))
    column = first_policy(process, np.array([1.0, 0.0, 0.0]))
    face = multiplier_face(
        process, (column,), np.array([0.5, 0.5]), optimum=0.5, total_bound=1.0, max_pricings=0
    )
    assert face.unique is None
    assert face.pricings == 0
    assert (face.intervals[:, 0] <= 0.5).all()
    assert (face.intervals[:, 1] >= 0.5).all()
    again = multiplier_face(process, (column,), np.array([0.5, 0.5]), optimum=0.5, total_bound=1.0)
    assert again.unique is False
    assert 0 < again.pricings < 20


@pytest.mark.timeout(30)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(8))
def test_rounding_over_a_long_horizon_does_not_cut_an_unbounded_face(solver, seed):
    # The budget is the least cost there is, so the face has no upper end.
    rng = np.random.default_rng(seed)
    problem = from_arrays(
        rng.dirichlet(np.ones(6), (6, 3)),
        rng.random((6, 3)),
        rng.random((1, 6, 3)),
        [1.0],
        np.ones(6) / 6,
        0.9999,
    )
    process = process_of(problem)
    weights = np.array([0.0, -1.0])
    least = price(process, weights, first_policy(process, weights)).policy.values[1:]
    problem = with_settings(problem, budgets=least * process.cost_scales)
    certificate = solve(problem, solver)
    assert certificate.slater_slack == 0.0
    assert certificate.multiplier_intervals[0, 1] == np.inf
    assert certificate.multipliers_unique is False
