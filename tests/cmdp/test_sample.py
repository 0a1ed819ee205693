"""Monte-Carlo evaluation is unbiased and its error falls as one over the root of the rollouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.cmdp.dynamics import model_of
from fedjax_rl.cmdp.evaluate import Lagrangian, evaluate_exactly, evaluated
from fedjax_rl.cmdp.sample import evaluate_by_sampling
from fedjax_rl.precision import precision
from tests import support
from tests.cmdp.test_evaluate import sparse_problem

pytestmark = pytest.mark.timeout(240)

PENALTIES = np.array([0.5, 0.1, 0.0, 2.0])


def estimates(problem, rollouts, seeds, penalties=PENALTIES):
    logits = np.random.default_rng(5).normal(size=problem.reward.shape)
    with precision(True):
        model = jax.tree.map(jnp.asarray, model_of(problem))
        lagrangian = jax.tree.map(jnp.asarray, Lagrangian(0.25, penalties, problem.costs))
        policy = evaluated(jnp.asarray(logits), model)
        exact = evaluate_exactly(jax.random.key(0), policy, lagrangian, model)
        keys = jax.random.split(jax.random.key(7), seeds)
        evaluate = evaluate_by_sampling(rollouts)
        sampled = jax.jit(jax.vmap(lambda key: evaluate(key, policy, lagrangian, model)))(keys)
        return jax.tree.map(np.asarray, (exact, sampled))


def test_sampled_advantages_and_returns_are_unbiased():
    exact, sampled = estimates(support.random_problem(5), rollouts=10, seeds=400)
    for name in ("advantage", "value", "cost_estimate"):
        draws = getattr(sampled, name)
        error = (draws.mean(0) - getattr(exact, name)) / (draws.std(0) / np.sqrt(400) + 1e-12)
        assert np.abs(error).max() < 4.5, name


def test_error_falls_with_the_root_of_rollouts():
    problem = support.random_problem(5)
    spread = {}
    for rollouts in (4, 64):
        exact, sampled = estimates(problem, rollouts, seeds=100)
        spread[rollouts] = np.sqrt(((sampled.cost_estimate - exact.cost_estimate) ** 2).mean())
    assert 2.8 < spread[4] / spread[64] < 5.7


def test_horizon_has_mean_one_over_one_minus_discount():
    problem = support.random_problem(5)
    _, sampled = estimates(problem, rollouts=20, seeds=20)
    pairs = problem.reward.size
    mean = sampled.environment_steps.mean() / (20 * pairs)
    assert mean == pytest.approx(10.0, rel=0.05)


@pytest.mark.slow
def test_gathered_dynamics_are_sampled_alike():
    problem = sparse_problem(states=120, actions=2, reach=6)
    exact, sampled = estimates(problem, 5, seeds=40, penalties=np.array([0.0, 1.0]))
    costs = sampled.cost_estimate
    error = (costs.mean(0) - exact.cost_estimate) / (costs.std(0) / np.sqrt(40))
    assert np.abs(error).max() < 4.5
