"""The closed form of the natural gradient, and the dual step by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Time
from fedjax_rl.cmdp.dynamics import model_of
from fedjax_rl.cmdp.evaluate import Lagrangian, evaluate_exactly, evaluated
from fedjax_rl.learners.tabular.agent import (
    TabularSettings,
    federated_agents,
    lone_agents,
)
from fedjax_rl.learners.tabular.npg import NPGLocal, dual_step, npg
from fedjax_rl.precision import precision
from tests import support

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("seed", range(4))
def test_fisher_inverse_times_gradient_is_the_advantage(seed):
    """F† ∇V = A/(1 − γ) up to a constant in each state, by automatic differentiation."""
    problem = support.random_problem(seed)
    logits = np.random.default_rng(seed).normal(size=problem.reward.shape)
    with precision(True):
        model = jax.tree.map(jnp.asarray, model_of(problem))

        def value(flat):
            policy = jax.nn.softmax(flat.reshape(logits.shape))
            transition = model.dynamics.under(policy)
            operator = jnp.eye(problem.num_states) - model.discount * transition
            return model.initial @ jnp.linalg.solve(operator, (policy * model.reward).sum(1))

        def log_policy(flat):
            return jax.nn.log_softmax(flat.reshape(logits.shape)).ravel()

        flat = jnp.asarray(logits.ravel())
        gradient = np.asarray(jax.grad(value)(flat))
        score = np.asarray(jax.jacobian(log_policy)(flat))
        policy = evaluated(jnp.asarray(logits), model)
        visits = np.asarray(policy.occupancy).ravel()
        reward_alone = Lagrangian(1.0, jnp.zeros(1), jnp.zeros((1, *logits.shape)))
        estimate = evaluate_exactly(jax.random.key(0), policy, reward_alone, model)
    fisher = score.T @ (visits[:, None] * score)
    assert visits.min() > 1e-6, "full support is a premise"
    natural = (np.linalg.pinv(fisher, rcond=1e-10) @ gradient).reshape(logits.shape)
    closed_form = np.asarray(estimate.advantage) / (1 - problem.discount)
    difference = natural - closed_form
    np.testing.assert_allclose(difference - difference.mean(1, keepdims=True), 0.0, atol=1e-8)


def settings(problem, step=0.1, dual=0.5, cap=1.0):
    return TabularSettings(np.float64(step), np.float64(dual), np.float64(cap), model_of(problem))


def first(agents):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], agents)


def test_dual_step_is_projected_and_padding_stays_zero():
    problem = support.random_problem(0)
    access = np.array([[True, True, True, False], [False, False, False, True]])
    with precision(True):
        agents = jax.tree.map(jnp.asarray, federated_agents(problem, access))
        lone = jax.tree.map(lambda leaf: leaf[1], agents)
        hparams = settings(problem)
        start = jnp.array([0.2, 0.0, 0.0])
        raised = dual_step(start, jnp.array([0.6, 5.0, 5.0]), lone, hparams)
        lowered = dual_step(start, -0.6 * jnp.ones(3), lone, hparams)
        capped = dual_step(start, 60.0 * jnp.ones(3), lone, hparams)
    np.testing.assert_allclose(raised, [0.5, 0.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(lowered, [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(capped, [1.0, 0.0, 0.0])


def test_policy_step_uses_the_multipliers_before_the_dual_step():
    problem = support.random_problem(1)
    with precision(True):
        agent = first(lone_agents(problem, np.eye(4, dtype=bool)))
        learner, hparams = npg(), settings(problem)
        policy, _ = learner.init(jax.random.key(0), agent, hparams)
        local = NPGLocal(jnp.array([0.7]))
        after, local_after, info = learner.step(
            jax.random.key(0), Time(1, 0), policy, local, agent, hparams
        )
        logits = np.asarray(after.logits)
    uniform = np.full((5, 4), 0.25)
    expected = support.advantage(problem, uniform, problem.reward) - 0.7 * support.advantage(
        problem, uniform, problem.costs[0]
    )
    np.testing.assert_allclose(logits, 0.1 / 0.1 * expected, atol=1e-12)
    cost = problem.initial @ support.value(problem, uniform, problem.costs[0])
    expected_dual = np.clip(0.7 + 0.5 * (cost - problem.budgets[0]), 0, 1)
    assert float(local_after.multipliers[0]) == pytest.approx(expected_dual, abs=1e-13)
    assert float(info.cost_estimate[0]) == pytest.approx(cost, abs=1e-12)


def test_agents_hold_only_the_costs_they_watch():
    problem = support.random_problem(2)
    access = np.array([[1, 0, 1, 0], [0, 1, 1, 1]], bool)
    agents = federated_agents(problem, access)
    np.testing.assert_array_equal(agents.costs[0, 0], problem.costs[0])
    np.testing.assert_array_equal(agents.costs[0, 1], problem.costs[2])
    np.testing.assert_array_equal(agents.costs[0, 2], 0.0)
    np.testing.assert_allclose(agents.weights, [[1, 0.5, 0], [1, 0.5, 1]])
    np.testing.assert_allclose(agents.reward_weight, 0.5)
    assert lone_agents(problem, access).reward_weight.tolist() == [1.0, 1.0]


def test_message_is_the_policy_and_nothing_else():
    problem = support.random_problem(2)
    with precision(True):
        agent = first(federated_agents(problem, np.eye(4, dtype=bool)))
        learner = npg()
        policy, _ = learner.init(jax.random.key(0), agent, settings(problem))
        jaxpr = jax.make_jaxpr(learner.message)(policy)
    used = {var for var in jaxpr.jaxpr.outvars}
    logits_variable = jaxpr.jaxpr.invars[0]
    assert used == {logits_variable}
