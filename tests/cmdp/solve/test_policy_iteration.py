from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.cmdp.solve import policy_iteration as module
from fedjax_rl.cmdp.solve.policy_iteration import evaluate_actions, first_policy, price
from fedjax_rl.cmdp.solve.process import bellman_operator, expected_next, process_of
from fedjax_rl.errors import InvalidInput


def banded_problem(rng, states=12, actions=3, breadth=4):
    """State s reaches only a few states, others by other states."""
    transition = np.zeros((states, actions, states))
    for state in range(states):
        reached = rng.choice(states, breadth, replace=False)
        transition[state][:, reached] = rng.dirichlet(np.ones(breadth), actions)
    return from_arrays(
        transition,
        rng.normal(size=(states, actions)),
        rng.normal(size=(2, states, actions)),
        np.zeros(2),
        rng.dirichlet(np.ones(states)),
        0.95,
        support=np.column_stack([np.ones(states, bool), rng.random((states, actions - 1)) < 0.6]),
    )


@pytest.mark.timeout(30)
def test_gathered_successors_are_the_dense_transition():
    rng = np.random.default_rng(0)
    problem = banded_problem(rng)
    process = process_of(problem)
    assert process.probability.shape == (12, 3, 4)
    values = rng.normal(size=12)
    np.testing.assert_allclose(
        expected_next(process, values), problem.transition @ values, atol=1e-14
    )
    policy = rng.dirichlet(np.ones(3), 12)
    dense = np.eye(12) - 0.95 * np.einsum("sa,sat->st", policy, problem.transition)
    np.testing.assert_allclose(bellman_operator(process, policy), dense, atol=1e-14)


@pytest.mark.timeout(30)
def test_one_factorisation_gives_the_values_of_all_signals():
    problem = banded_problem(np.random.default_rng(1))
    process = process_of(problem)
    actions = problem.support.argmax(1)
    priced = evaluate_actions(process, actions)
    value, costs, occupancy = evaluate_policy(problem, np.eye(3)[actions])
    np.testing.assert_allclose(priced.values[0] * process.reward_scale, value, rtol=1e-12)
    np.testing.assert_allclose(priced.values[1:] * process.cost_scales, costs, rtol=1e-12)
    np.testing.assert_allclose(occupancy.sum(), 1.0, atol=1e-13)


@pytest.mark.timeout(60)
def test_pricing_beats_every_deterministic_policy():
    rng = np.random.default_rng(2)
    problem = banded_problem(rng, states=5, actions=3, breadth=3)
    process = process_of(problem)
    choices = [np.flatnonzero(row) for row in problem.support]
    policies = [
        evaluate_actions(process, np.array(actions)) for actions in itertools.product(*choices)
    ]
    for _ in range(10):
        weights = rng.normal(size=3)
        best = max(float(weights @ policy.values) for policy in policies)
        found = price(process, weights, policies[0])
        np.testing.assert_allclose(weights @ found.policy.values, best, atol=1e-12)
        assert best - 1e-13 <= found.upper <= best + 1e-10
        assert problem.support[np.arange(5), found.policy.actions].all()


@pytest.mark.timeout(30)
def test_a_start_that_is_optimal_costs_no_factorisation(monkeypatch):
    process = process_of(banded_problem(np.random.default_rng(3)))
    weights = np.array([1.0, -0.3, -0.2])
    best = price(process, weights, first_policy(process, weights)).policy

    def refuse(*arguments):
        raise AssertionError("factorised")

    monkeypatch.setattr(module, "evaluate_actions", refuse)
    assert price(process, weights, best).policy is best


@pytest.mark.timeout(30)
def test_ties_do_not_cycle(bandit):
    process = process_of(bandit([0.1 + 0.2, 0.3, 0.3], [[1, 0, 0.5]], [1.0], discount=0.999))
    weights = np.array([1.0, 0.0])
    for action in range(3):
        found = price(process, weights, evaluate_actions(process, np.array([action])))
        np.testing.assert_allclose(found.upper * process.reward_scale, 300.0, rtol=1e-12)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.ones((1, 3)) / 3, "shape"),
        (np.array([[0.5, 0.6]]), "no distribution"),
        (np.array([[1.5, -0.5]]), "no distribution"),
        (np.array([[np.nan, 1.0]]), "no distribution"),
        (np.array([[0.5, 0.5]]), "without support"),
    ],
)
def test_a_policy_that_cannot_be_evaluated_is_refused(bandit, policy, message):
    problem = bandit([1, 0], [[1, 0]], [1.0], support=[True, False])
    with pytest.raises(InvalidInput, match=message):
        evaluate_policy(problem, policy)
