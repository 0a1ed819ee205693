"""FedNPG is what the theory says it is, to rounding."""

import numpy as np
import pytest

from fedjax_rl.federation.aggregate import probability_mean
from fedjax_rl.learners.tabular.agent import effective_multipliers
from tests import support
from tests.federation.harness import build, run

pytestmark = pytest.mark.timeout(240)

STEP, DUAL_STEP = 0.2, 0.02
EVERYTHING = np.ones((1, 4), bool)
ONE_EACH = np.eye(4, dtype=bool)


@pytest.mark.parametrize("seed", range(3))
def test_one_local_step_with_logit_merge_is_the_centralised_method_at_step_over_n(seed):
    problem = support.random_problem(seed)
    trained = run(*build(problem, ONE_EACH, step=STEP, dual_step=DUAL_STEP), rounds=300)
    policies, duals = support.centralised_npg(problem, STEP / 4, DUAL_STEP, rounds=300)
    np.testing.assert_allclose(trained.policy, policies[-1], atol=1e-12)
    np.testing.assert_allclose(trained.multipliers[:, 0], duals[-1], atol=1e-12)
    assert duals[-1].max() > 0.05, "the constraints must have mattered"
    for round in (1, 17, 300):
        value = problem.initial @ support.value(problem, policies[round], problem.reward)
        assert trained.info.value[round - 1] == pytest.approx(value, abs=1e-11)


def test_one_agent_with_every_constraint_is_npg_primal_dual():
    problem = support.random_problem(7)
    trained = run(*build(problem, EVERYTHING, step=STEP, dual_step=DUAL_STEP), rounds=300)
    policies, duals = support.centralised_npg(problem, STEP, DUAL_STEP, rounds=300)
    np.testing.assert_allclose(trained.policy, policies[-1], atol=1e-12)
    np.testing.assert_allclose(trained.multipliers[0], duals[-1], atol=1e-12)


@pytest.mark.parametrize("local_steps", [1, 4, 10])
def test_agents_that_see_everything_are_the_centralised_method_for_any_local_steps(local_steps):
    problem = support.random_problem(2)
    access = np.ones((3, 4), bool)
    trained = run(
        *build(problem, access, step=STEP, dual_step=DUAL_STEP, local_steps=local_steps), rounds=30
    )
    policies, duals = support.centralised_npg(problem, STEP / 3, DUAL_STEP, rounds=30 * local_steps)
    np.testing.assert_allclose(trained.policy, policies[-1], atol=1e-12)
    for agent in range(3):
        np.testing.assert_allclose(trained.multipliers[agent], duals[-1], atol=1e-12)


SHARED_ACCESS = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0]], bool)


@pytest.mark.parametrize("merge", ["logits", "probabilities"])
@pytest.mark.parametrize("local_steps", [1, 5])
def test_vmapped_agents_equal_a_python_loop(merge, local_steps):
    problem = support.random_problem(4)
    algorithm, hparams = build(
        problem,
        SHARED_ACCESS,
        step=STEP,
        dual_step=DUAL_STEP,
        local_steps=local_steps,
        aggregator=probability_mean() if merge == "probabilities" else None,
    )
    trained = run(algorithm, hparams, rounds=60)
    policy, multipliers = support.federated_npg_loop(
        problem, SHARED_ACCESS, STEP, DUAL_STEP, 60, local_steps, merge
    )
    np.testing.assert_allclose(trained.policy, policy, atol=1e-12)
    agents = hparams.federation.agents
    for agent, slot in np.argwhere(agents.watches):
        expected = multipliers[agent, agents.constraint[agent, slot]]
        assert trained.multipliers[agent, slot] == pytest.approx(expected, abs=1e-12)
    weights = SHARED_ACCESS / SHARED_ACCESS.sum(0)
    np.testing.assert_allclose(
        effective_multipliers(agents, trained.multipliers, 4),
        (weights * multipliers).sum(0),
        atol=1e-12,
    )
    assert (trained.multipliers[~agents.watches] == 0).all()


def test_probability_merge_differs_by_the_square_of_the_step():
    problem = support.random_problem(1)
    differences = []
    for step in (0.04, 0.02, 0.01):
        options = {"step": step, "dual_step": 0.5}
        rounds = 2
        logits = run(*build(problem, ONE_EACH, **options), rounds=rounds)
        probabilities = run(
            *build(problem, ONE_EACH, aggregator=probability_mean(), **options), rounds=rounds
        )
        differences.append(np.abs(logits.policy - probabilities.policy).max())
    ratios = np.array(differences[:-1]) / differences[1:]
    assert ((ratios > 3.5) & (ratios < 4.5)).all(), ratios


def test_dual_update_telescopes_where_no_clipping_binds():
    problem = support.random_problem(0)
    tight = problem.__class__(**{**vars(problem), "budgets": np.zeros(4)})
    rounds, dual_step = 200, 1e-3
    trained = run(*build(tight, ONE_EACH, step=STEP, dual_step=dual_step), rounds=rounds)
    start = run(*build(tight, ONE_EACH, step=STEP, dual_step=dual_step), rounds=1).info.costs * 0
    before = np.concatenate([start, trained.info.costs[:-1]])
    uniform = np.full((5, 4), 0.25)
    before[0] = [tight.initial @ support.value(tight, uniform, cost) for cost in tight.costs]
    summed = dual_step * (before - tight.budgets).sum(0)
    np.testing.assert_allclose(trained.multipliers[:, 0], summed, rtol=1e-12)
    assert summed.max() < 10.0


def test_average_signed_violation_is_bounded_by_the_last_multiplier():
    """mean_t (V_cj − d_j) ≤ λ_T / (η_λ T) for E = 1, whatever the policy does."""
    problem = support.random_problem(6)
    rounds = 400
    trained = run(*build(problem, ONE_EACH, step=STEP, dual_step=DUAL_STEP), rounds=rounds)
    uniform = np.full((5, 4), 0.25)
    first = [problem.initial @ support.value(problem, uniform, cost) for cost in problem.costs]
    before = np.concatenate([[first], trained.info.costs[:-1]])
    bound = trained.multipliers[:, 0] / (DUAL_STEP * rounds)
    assert ((before - problem.budgets).mean(0) <= bound + 1e-12).all()
