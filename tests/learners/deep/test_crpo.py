"""CRPO's rule: everybody on the reward, or those whose own costs are violated on these."""

import jax
import numpy as np
import pytest

from fedjax_rl.algorithm import Aggregator
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.ops.means import weighted_mean
from tests.learners.deep.harness import (
    TIME,
    agent_at,
    close,
    federation,
    mixed_agents,
    run,
    settings,
    single_step,
    step_key,
)

pytestmark = pytest.mark.timeout(240)

ROUNDS = 3
BOTH = pytest.mark.parametrize("learner", ["ppo", "natural"])


def crpo(learner):
    return federation("two", learner, 2, 2, duals="crpo")


def trained(learner, budgets, **changes):
    """Agent 0 watches a cost per episode and one per step, agent 1 the latter with stride 0.7."""
    agents = mixed_agents(relative=False)
    agents = agents._replace(budgets=np.where(agents.watches, np.float32(budgets), 0))
    changes = {"entropy_weight": 0.0, **changes}
    _, state, info = run(crpo(learner)[2], agents, ROUNDS, **changes)
    norms = info.improvement.gradient_norm[:, :, 0]
    return agents, state, info, norms


@pytest.mark.slow
@BOTH
def test_while_everybody_is_satisfied_all_ascend_the_reward(learner):
    _, state, info, norms = trained(learner, [[1e6, 1e6], [1e6, 0]])
    assert (norms > 0).all()
    assert state.local.satisfied.all() and (info.multipliers == 0).all()
    assert state.local.duals is None
    reported = crpo(learner)[2].report(state).multipliers
    np.testing.assert_array_equal(reported, np.zeros((2, 2), np.float32), strict=True)
    _, _, plain = federation("two", learner, 2, 2)
    still = {"duals": {"step_size": 0.0}}
    _, other, _ = run(plain, mixed_agents(), ROUNDS, entropy_weight=0.0, **still)
    close(state.shared, other.shared)


@BOTH
def test_else_only_agents_with_a_violated_cost_of_their_own_move(learner):
    _, state, info, norms = trained(learner, [[1e6, -1e6], [1e6, 0]])
    assert state.local.satisfied.tolist() == [False, True]
    _, _, _, all_satisfied = trained(learner, [[1e6, 1e6], [1e6, 0]])
    assert (norms[0] > 0).all()
    np.testing.assert_allclose(norms[0], all_satisfied[0], rtol=1e-6)  # nobody knows of it yet
    assert norms[1, 0] != all_satisfied[1, 0]
    assert (norms[1:, 0] > 0).all() and (norms[1:, 1] == 0).all()
    _, state, info, norms = trained(learner, [[1e6, 1e6], [-1e6, 0]])
    assert state.local.satisfied.tolist() == [True, False]
    assert (norms[1:, 0] == 0).all() and (norms[1:, 1] > 0).all()
    if learner == "natural":
        assert (info.improvement.kl[1:, 0] == 0).all() and (info.improvement.kl[1:, 1] > 0).all()


@BOTH
def test_the_tolerance_is_added_to_the_budget(learner):
    _, state, _, norms = trained(learner, [[1e6, -1e6], [1e6, 0]], tolerance=2e6)
    assert state.local.satisfied.all() and (norms > 0).all()


def test_a_step_goes_down_the_worst_violated_cost():
    """One step of an infeasible federation, against the same agent watching only that cost."""
    _, made, _ = crpo("natural")
    agents = mixed_agents(relative=False)
    shared, local = made.init(jax.random.key(0), agent_at(agents, 0), settings())
    local = local._replace(all_satisfied=np.zeros((), bool))
    step = single_step("natural", duals="crpo")

    def actor(budgets, watches=(True, True)):
        agent = agent_at(agents, 0)._replace(budgets=np.float32(budgets), watches=np.array(watches))
        return step(step_key(0, 1, 0), TIME, shared, local, agent, settings())[0].actor

    both_first, both_second = actor([-2e6, -1e6]), actor([-1e6, -2e6])
    close(both_first, actor([-1e6, 1e6], (True, True)))
    close(both_second, actor([1e6, -1e6], (True, True)))
    one, other = jax.tree.leaves(both_first), jax.tree.leaves(both_second)
    assert any(not np.allclose(left, right) for left, right in zip(one, other, strict=True))


def test_what_crosses_is_one_bit_for_each_agent_and_the_message():
    _, made, _ = crpo("ppo")
    agents = mixed_agents(relative=False)
    _, state, _, _ = trained("ppo", [[1e6, -1e6], [1e6, 0]])
    (exchange,) = made.exchanges
    bits = [
        exchange.send(
            None, TIME, state.shared, agent_at(state.local, i), agent_at(agents, i), settings()
        )
        for i in range(2)
    ]
    assert [float(bit) for bit, _ in bits] == [1.0, 0.0]
    assert [np.shape(bit) for bit, _ in bits] == [(), ()]
    local = agent_at(state.local, 0)
    assert bool(exchange.receive(local, (), np.float32(0.0)).all_satisfied)
    assert not bool(exchange.receive(local, (), np.float32(1 / 64)).all_satisfied)

    operands = []

    def recording(values, weights):
        operands.append([leaf.shape for leaf in jax.tree.leaves(values)])
        return weighted_mean(values, weights)

    watched = made._replace(exchanges=(exchange._replace(merge=recording),))
    spying = Aggregator(
        lambda message, settings: (), lambda x, weights, s: (recording(x, weights), s)
    )
    algorithm = federate(watched, spying, num_agents=2)
    hparams = FederationSettings(agents, settings())
    jax.eval_shape(algorithm.step, jax.random.key(0), 1, state, hparams)
    networks = [leaf.shape for leaf in jax.tree.leaves((state.shared.actor, state.shared.critic))]
    assert operands == [[(2,)], [(2, *shape) for shape in networks]]
    numbers = sum(int(np.prod(shape)) for shape in networks)
    assert message_bytes(made, parameter_mean(), hparams) == 4 * numbers + 4
