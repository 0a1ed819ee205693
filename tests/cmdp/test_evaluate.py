"""Exact evaluation against dense solves, closed forms and sums over time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.cmdp.dynamics import GatheredDynamics, dynamics_of, model_of
from fedjax_rl.cmdp.evaluate import (
    NO_SUPPORT,
    Lagrangian,
    evaluate_exactly,
    uniform_logits,
    values,
)
from fedjax_rl.cmdp.evaluate import evaluated as evaluated_policy
from fedjax_rl.cmdp.model import from_arrays
from fedjax_rl.precision import precision
from tests import support

pytestmark = pytest.mark.timeout(120)


def evaluated(problem, logits):
    with precision(True):
        model = jax.tree.map(jnp.asarray, model_of(problem))
        policy = evaluated_policy(jnp.asarray(logits), model)
        signals = jnp.concatenate([problem.reward[None], problem.costs])
        solved = jax.vmap(values, (None, 0), 1)(policy, signals)
        return np.asarray(solved), np.asarray(policy.occupancy)


@pytest.mark.parametrize("seed", range(5))
def test_values_and_occupancy_agree_with_a_dense_solve(seed):
    problem = support.random_problem(seed, states=7)
    logits = np.random.default_rng(seed).normal(size=(7, 4)) * 3
    policy = support.softmax(logits)
    solved, visits = evaluated(problem, logits)
    signals = [problem.reward, *problem.costs]
    for index, signal in enumerate(signals):
        np.testing.assert_allclose(
            solved[:, index], support.value(problem, policy, signal), rtol=1e-12
        )
    assert visits.sum() == pytest.approx(1.0, abs=1e-13)
    for signal in signals:
        earned = (visits * signal).sum() / (1 - problem.discount)
        assert earned == pytest.approx(
            problem.initial @ support.value(problem, policy, signal), rel=1e-12
        )


def test_occupancy_is_the_discounted_sum_of_visits():
    problem = support.random_problem(3)
    logits = np.random.default_rng(0).normal(size=(5, 4))
    policy = support.softmax(logits)
    transition = np.einsum("sa,sat->st", policy, problem.transition)
    state, total = problem.initial, np.zeros(5)
    for time in range(600):
        total += (1 - problem.discount) * problem.discount**time * state
        state = state @ transition
    np.testing.assert_allclose(evaluated(problem, logits)[1].sum(1), total, atol=1e-14)


def test_two_state_closed_form():
    stay_or_leave = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    reward = np.array([[1.0, 0.0], [0.0, 0.0]])
    problem = from_arrays(stay_or_leave, reward, reward[None], [9.0], [1.0, 0.0], 0.5)
    solved, _ = evaluated(problem, np.log([[0.25, 0.75], [0.5, 0.5]]))
    assert solved[0, 0] == pytest.approx(0.25 / (1 - 0.5 * 0.25), abs=1e-15)


@pytest.mark.parametrize("discount", [0.0, 0.999, 1 - 1e-9])
def test_factorisation_needs_no_pivoting(discount):
    problem = support.random_problem(11, states=30)
    with precision(True):
        model = model_of(problem)._replace(discount=np.float64(discount))
        transition = model.dynamics.under(jnp.full((30, 4), 0.25))
        _, _, permutation = jax.lax.linalg.lu(jnp.eye(30) - discount * transition.T)
        np.testing.assert_array_equal(permutation, np.arange(30))


def test_cycle_needs_no_pivoting():
    """The hardest row: P_π has no diagonal at all, and γ is close to one."""
    cycle = np.roll(np.eye(6), 1, axis=1)[:, None, :]
    problem = from_arrays(cycle, np.eye(6)[:, :1], np.ones((1, 6, 1)), [1e9], np.eye(6)[0], 0.9999)
    solved, _ = evaluated(problem, np.zeros((6, 1)))
    assert solved[0, 0] == pytest.approx(1 / (1 - 0.9999**6), rel=1e-10)


def test_advantage_of_the_lagrangian_is_the_combination_of_advantages():
    problem = support.random_problem(5)
    logits = np.random.default_rng(5).normal(size=(5, 4))
    policy = support.softmax(logits)
    penalties = np.array([0.5, 0.1, 0.0, 2.0])
    with precision(True):
        model = model_of(problem)
        lagrangian = Lagrangian(0.25, penalties, problem.costs)
        estimate = evaluate_exactly(
            jax.random.key(0), evaluated_policy(jnp.asarray(logits), model), lagrangian, model
        )
        estimate = jax.tree.map(np.asarray, estimate)
    expected = 0.25 * support.advantage(problem, policy, problem.reward)
    for penalty, cost in zip(penalties, problem.costs, strict=True):
        expected = expected - penalty * support.advantage(problem, policy, cost)
    np.testing.assert_allclose(estimate.advantage, expected, atol=1e-12)
    np.testing.assert_allclose((policy * estimate.advantage).sum(1), 0.0, atol=1e-12)
    returns = [problem.initial @ support.value(problem, policy, cost) for cost in problem.costs]
    np.testing.assert_allclose(estimate.cost_estimate, returns, rtol=1e-12)
    value = problem.initial @ support.value(problem, policy, problem.reward)
    assert float(estimate.value) == pytest.approx(value, rel=1e-12)


def test_actions_without_support_have_probability_zero():
    support_mask = np.array([[True, False, True], [True, True, True]])
    with precision(True):
        policy = jax.nn.softmax(uniform_logits(jnp.asarray(support_mask)))
        assert np.asarray(policy)[0].tolist() == [0.5, 0.0, 0.5]
        assert np.isfinite(NO_SUPPORT)


def sparse_problem(states=200, actions=3, reach=12, seed=0):
    rng = np.random.default_rng(seed)
    transition = np.zeros((states, actions, states))
    for state in range(states):
        successors = rng.choice(states, size=rng.integers(1, reach), replace=False)
        transition[state][:, successors] = rng.dirichlet(np.ones(len(successors)), size=actions)
    reward = rng.random((states, actions))
    return from_arrays(
        transition, reward, rng.random((2, states, actions)), [1.0, 1.0], np.eye(states)[0], 0.97
    )


def test_gathered_dynamics_equal_dense_ones():
    problem = sparse_problem()
    gathered = dynamics_of(problem.transition)
    assert isinstance(gathered, GatheredDynamics) and gathered.probability.shape == (200, 3, 11)
    rng = np.random.default_rng(1)
    policy, vector = rng.dirichlet(np.ones(3), size=200), rng.normal(size=200)
    with precision(True):
        mixed = np.asarray(gathered.under(jnp.asarray(policy)))
        expected = np.asarray(gathered.expect(jnp.asarray(vector)))
    np.testing.assert_allclose(
        mixed, np.einsum("sa,sat->st", policy, problem.transition), atol=1e-15
    )
    np.testing.assert_allclose(expected, problem.transition @ vector, atol=1e-13)
