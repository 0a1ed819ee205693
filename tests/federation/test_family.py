"""The other learners and the control variate against centralised restatements."""

import numpy as np
import pytest

from fedjax_rl.algorithm import Aggregator
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.correction import control_variate
from fedjax_rl.federation.round import federate
from fedjax_rl.learners.tabular import crpo, npg, optimistic, regularized
from fedjax_rl.learners.tabular.crpo import CRPOSettings
from fedjax_rl.learners.tabular.regularized import RegularizedSettings
from fedjax_rl.ops.means import weighted_mean
from tests import support
from tests.federation.harness import build, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ONE_EACH = np.eye(4, dtype=bool)
STEP, DUAL_STEP = 0.2, 0.02


def points_mean():
    return Aggregator(
        lambda message, settings: (), lambda x, weights, state: (weighted_mean(x, weights), state)
    )


@pytest.mark.parametrize("seed", range(3))
def test_optimistic_federation_is_the_centralised_method_at_step_over_n(seed):
    problem = support.random_problem(seed)
    options = {"step": 4 * STEP, "dual_step": DUAL_STEP, "learner": optimistic}
    trained = run(*build(problem, ONE_EACH, aggregator=points_mean(), **options), rounds=300)
    policy, dual = support.centralised_optimistic(problem, STEP, DUAL_STEP, rounds=300)
    np.testing.assert_allclose(trained.policy, policy, atol=1e-11)
    np.testing.assert_allclose(trained.multipliers[:, 0], dual, atol=1e-11)
    assert (policy == 0).any(), "the projection must have been at work"


def test_optimistic_last_iterate_converges_where_that_of_npg_oscillates():
    problem = support.random_problem(1)
    options = {"step": 0.8, "dual_step": 0.2}
    trained = run(
        *build(problem, ONE_EACH, aggregator=points_mean(), learner=optimistic, **options),
        rounds=20_000,
    )
    last = trained.info.costs[-1] - problem.budgets
    assert last.max() < 1e-8
    complementary = trained.multipliers[:, 0] * last
    assert np.abs(complementary).max() < 1e-8 and trained.multipliers.max() > 0.01


def test_more_local_steps_of_the_optimistic_learner_are_refused():
    with pytest.raises(InvalidInput, match="--local-steps: got 2; this learner merges after every"):
        federate(optimistic(), points_mean(), num_agents=4, local_steps=2)


@pytest.mark.parametrize("weight", [0.02, 0.3])
def test_regularized_federation_is_the_soft_q_iteration(weight):
    problem = support.random_problem(2)
    options = {"step": STEP, "dual_step": DUAL_STEP, "own": RegularizedSettings(weight)}
    trained = run(*build(problem, ONE_EACH, learner=regularized, **options), rounds=300)
    policy, dual = support.centralised_regularized(
        problem, STEP / 4, DUAL_STEP, rounds=300, weight=weight
    )
    np.testing.assert_allclose(trained.policy, policy, atol=1e-11)
    np.testing.assert_allclose(trained.multipliers[:, 0], dual, atol=1e-11)


def test_regularized_without_weight_is_npg():
    problem = support.random_problem(2)
    options = {"step": STEP, "dual_step": DUAL_STEP, "local_steps": 3}
    plain = run(*build(problem, ONE_EACH, **options), rounds=50)
    weightless = run(*build(problem, ONE_EACH, learner=regularized, **options), rounds=50)
    np.testing.assert_allclose(plain.policy, weightless.policy, atol=1e-13)


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_crpo_federation_is_the_centralised_method(tolerance):
    problem = support.random_problem(0)
    options = {"step": STEP, "dual_step": 1.0, "own": CRPOSettings(tolerance), "learner": crpo}
    trained = run(*build(problem, ONE_EACH, **options), rounds=300)
    policy, reward_steps = support.centralised_crpo(problem, STEP / 4, 300, tolerance)
    np.testing.assert_allclose(trained.policy, policy, atol=1e-11)
    uniform = np.full((5, 4), 0.25)
    first = (support.returns(problem, uniform) <= problem.budgets + tolerance).all()
    assert trained.info.counted[:-1].sum() + first == reward_steps
    assert 10 < reward_steps < 290, "both kinds of step must have been taken"
    assert (trained.multipliers == 0).all()


def test_crpo_averages_only_policies_that_keep_every_budget():
    problem = support.random_problem(0)
    trained = run(*build(problem, ONE_EACH, step=STEP, dual_step=1.0, learner=crpo), rounds=200)
    feasible = (trained.info.costs <= problem.budgets).all(1)
    np.testing.assert_array_equal(trained.info.counted, feasible)
    assert trained.state.occupancy_sum.sum() == pytest.approx(feasible.sum())


def test_only_one_bit_of_each_crpo_agent_crosses_before_the_steps():
    problem, seen = support.random_problem(0), []

    def recording(values, weights):
        seen.append(values)
        return weighted_mean(values, weights)

    def watched(evaluation):
        learner = crpo(evaluation)
        (exchange,) = learner.exchanges
        return learner._replace(exchanges=(exchange._replace(merge=recording),))

    spying = Aggregator(
        lambda message, settings: (), lambda x, weights, s: (recording(x, weights), s)
    )
    algorithm, hparams = build(
        problem, ONE_EACH, step=STEP, dual_step=1.0, learner=watched, aggregator=spying
    )
    run(algorithm, hparams, rounds=2)
    assert {value.shape for value in seen} == {(4,), (4, 5, 4)}


def corrected(evaluation):
    return control_variate(npg(evaluation))


def drift(problem, local_steps, learner):
    options = {"step": 2.0 / local_steps, "dual_step": 0.2 / local_steps, "learner": learner}
    return run(
        *build(problem, ONE_EACH, local_steps=local_steps, **options), rounds=4000 // local_steps
    )


def test_control_variate_with_one_local_step_changes_nothing():
    problem = support.random_problem(3)
    options = {"step": STEP, "dual_step": DUAL_STEP}
    plain = run(*build(problem, ONE_EACH, **options), rounds=100)
    same = run(*build(problem, ONE_EACH, learner=corrected, **options), rounds=100)
    np.testing.assert_allclose(plain.policy, same.policy, atol=1e-12)


def test_control_variate_by_hand():
    """Two agents, two local steps, one round."""
    problem = support.random_problem(5, constraints=2)
    access, step = np.eye(2, dtype=bool), 0.5
    options = {"step": step, "dual_step": 1.0, "local_steps": 2, "learner": corrected}
    trained = run(*build(problem, access, **options), rounds=2)
    logits, duals = np.zeros((5, 4)), np.zeros(2)

    def increment(agent, own_logits):
        policy = support.softmax(own_logits)
        gradient = support.advantage(problem, policy, problem.reward) / 2
        cost = support.advantage(problem, policy, problem.costs[agent])
        return step / 0.1 * (gradient - duals[agent] * cost)

    for _ in range(2):
        at_merged = [increment(agent, logits) for agent in range(2)]
        messages = []
        for agent in range(2):
            own = logits.copy()
            for _ in range(2):
                move = increment(agent, own) + np.mean(at_merged, axis=0) - at_merged[agent]
                violation = support.returns(problem, support.softmax(own)) - problem.budgets
                duals[agent] = np.clip(duals[agent] + violation[agent], 0, 10)
                own = own + move
            messages.append(own)
        logits = np.mean(messages, axis=0)
    np.testing.assert_allclose(trained.policy, support.softmax(logits), atol=1e-12)
    np.testing.assert_allclose(trained.multipliers[:, 0], duals, atol=1e-12)


def test_control_variate_needs_a_learner_that_sends_logits():
    for learner in (optimistic(), crpo()):
        with pytest.raises(InvalidInput, match="--correction: got control-variate"):
            control_variate(learner)
