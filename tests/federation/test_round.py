"""The round: who takes part, what crosses, what stays."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import Aggregator, Exchange, Learner, Report, check_merge
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.aggregate import logit_mean, parameter_mean, probability_mean
from fedjax_rl.federation.grouped import in_groups
from fedjax_rl.federation.participation import attendance, sampled
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.tabular.agent import effective_multipliers
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.ops.means import mean_of_sum, weighted_mean, weighted_sum
from fedjax_rl.precision import precision
from tests import support
from tests.federation.harness import build, run
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(180)
ONE_EACH = np.eye(4, dtype=bool)


def test_only_messages_reach_the_merge():
    """What an aggregator sees are the agents' logits; no multiplier, cost or value."""
    problem = support.random_problem(0)
    seen = []

    def recording(messages, weights, state):
        seen.append([leaf.shape for leaf in jax.tree.leaves((messages, weights))])
        return weighted_mean(messages, weights), state

    spying = Aggregator(lambda message, settings: (), recording, ("logits",))
    algorithm, hparams = build(problem, ONE_EACH, step=0.1, dual_step=0.1, aggregator=spying)
    trained = run(algorithm, hparams, rounds=3)
    assert seen and all(shapes == [(4, 5, 4), (4,)] for shapes in seen)
    assert trained.multipliers.max() > 0


def test_multipliers_influence_others_only_through_the_merged_policy():
    """With agent 0's policy replaced by a constant, agent 1 cannot tell agent 0's costs."""
    problem = support.random_problem(0)
    louder = problem.costs.copy()
    louder[0] *= 3.0
    changed = problem.__class__(**{**vars(problem), "costs": louder})

    def merge(messages, weights, state):
        return weighted_mean(messages.at[0].set(0.0), weights), state

    silenced = Aggregator(lambda message, settings: (), merge, ("logits",))
    options = {"step": 0.3, "dual_step": 0.1, "aggregator": silenced}
    one = run(*build(problem, ONE_EACH, **options), rounds=20)
    other = run(*build(changed, ONE_EACH, **options), rounds=20)
    np.testing.assert_array_equal(one.policy, other.policy)
    np.testing.assert_array_equal(one.multipliers[1:], other.multipliers[1:])
    assert one.multipliers[0] != other.multipliers[0]


def test_absent_agents_are_selected_out_even_when_not_finite():
    values = {"a": jnp.array([[1.0], [jnp.nan], [5.0]])}
    merged = weighted_mean(values, jnp.array([1.0, 0.0, 1.0]))
    assert float(merged["a"][0]) == 3.0


def test_absent_agents_keep_their_multipliers():
    problem = support.random_problem(0)
    trained = run(
        *build(problem, ONE_EACH, step=0.1, dual_step=0.1, participation=sampled(1)), rounds=40
    )
    multipliers = np.concatenate([np.zeros((1, 4)), trained.info.multipliers[:, :, 0]])
    moved = (np.diff(multipliers, axis=0) != 0).sum(1)
    assert moved.max() == 1
    assert ((np.diff(multipliers, axis=0) != 0).sum(0) > 2).all(), "every agent gets its turn"


def test_full_sampled_participation_equals_none():
    problem = support.random_problem(0)
    plain = run(*build(problem, ONE_EACH, step=0.1, dual_step=0.1), rounds=20)
    every = run(
        *build(problem, ONE_EACH, step=0.1, dual_step=0.1, participation=sampled(4)), rounds=20
    )
    np.testing.assert_allclose(plain.policy, every.policy, atol=1e-13)


def test_participation_is_validated():
    with pytest.raises(InvalidInput, match="participation: got 0"):
        sampled(0)
    with pytest.raises(InvalidInput, match="participation: got 5; there are 4 agents"):
        sampled(5)(jax.random.key(0), 4)


def counting_learner():
    """Adds the agent's number at each local step to what it shares; counts in local."""

    def init(key, agent, hparams):
        return jnp.zeros(2), jnp.zeros(())

    def step(key, time, shared, local, agent, hparams):
        info = {"key": jax.random.key_data(key), "time": time}
        return shared + agent, local + 1, info

    return Learner(
        init,
        step,
        message=lambda shared: shared,
        adopt=lambda shared, merged, hparams: merged,
        report=Report,
        message_kind="numbers",
    )


def test_round_by_hand():
    mean = Aggregator(
        lambda message, settings: jnp.zeros(()),
        lambda x, weights, s: (weighted_mean(x, weights), s + 1),
    )
    algorithm = federate(counting_learner(), mean, num_agents=3, local_steps=4)
    hparams = FederationSettings(jnp.array([1.0, 2.0, 6.0]), ())
    state = algorithm.init(jax.random.key(0), hparams)
    for round in (1, 2):
        state, info = algorithm.step(jax.random.key(round), jnp.asarray(round), state, hparams)
    np.testing.assert_allclose(state.shared, 2 * 4 * 3.0)
    np.testing.assert_array_equal(state.local, 8.0)
    assert state.aggregator == 2
    keys = np.asarray(info["key"]).reshape(12, -1)
    assert len(np.unique(keys, axis=0)) == 12, "every agent and local step has a key of its own"
    np.testing.assert_array_equal(info["time"].round, np.full((3, 4), 2))
    np.testing.assert_array_equal(info["time"].local_step, np.tile(np.arange(4), (3, 1)))
    axes = algorithm.agent_axes(state)
    assert axes.local == 0 and axes.shared is None


def test_merge_that_does_not_fit_the_learner_is_refused():
    with pytest.raises(InvalidInput, match="--merge: got 'logits'; this learner sends numbers"):
        check_merge(counting_learner(), "logits", logit_mean())
    check_merge(npg(), "probabilities", probability_mean())


def test_probability_merge_stays_finite_at_probability_zero():
    with precision(True):
        messages = jnp.array([[[0.0, -1e30]], [[0.0, -1e30]]])
        mean = probability_mean()
        sent = jax.vmap(mean.encode, (0, None))(messages, messages[0])
        total, _ = mean.merge(*weighted_sum(sent, jnp.ones(2)), ())
        merged = mean.decode(total, messages[0])
        assert np.isfinite(np.asarray(merged)).all()
        np.testing.assert_array_equal(np.asarray(jax.nn.softmax(merged)), [[1.0, 0.0]])


def test_message_size_is_that_of_the_logits():
    _, hparams = build(support.random_problem(0), ONE_EACH, step=0.1, dual_step=0.1)
    with precision(True):
        assert message_bytes(npg(), logit_mean(), hparams.federation) == 5 * 4 * 8


def test_weighted_merge_moves_the_effective_multipliers():
    """With E = 1 and weights p the federation is centralised NPG at λ_j = N p_i λ_ij."""
    problem = support.random_problem(3)
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    algorithm, hparams = build(problem, ONE_EACH, step=0.2, dual_step=0.02)
    federation = hparams.federation._replace(merge_weights=weights)
    trained = run(algorithm, hparams._replace(federation=federation), rounds=100)
    logits, duals = np.zeros((5, 4)), np.zeros(4)
    for _ in range(100):
        policy = support.softmax(logits)
        shifted = 4 * weights * duals
        signal = problem.reward - np.einsum("m,msa->sa", shifted, problem.costs)
        violation = support.returns(problem, policy) - problem.budgets
        logits = logits + 0.05 / 0.1 * support.advantage(problem, policy, signal)
        duals = np.clip(duals + 0.02 * violation, 0, 10)
    np.testing.assert_allclose(trained.policy, support.softmax(logits), atol=1e-12)
    np.testing.assert_allclose(
        effective_multipliers(hparams.federation.agents, trained.multipliers, 4, weights),
        4 * weights * duals,
        atol=1e-12,
    )


def test_an_absent_agent_has_no_weight():
    values = jnp.array([[1.0], [10.0], [4.0]])
    assert float(weighted_mean(values, jnp.array([0.5, 0.0, 0.25]))[0]) == 2.0


def stateless_learner():
    """Adds the agent's number to what it shares, keeps nothing, and asks all for theirs."""
    asks = Exchange(
        send=lambda key, time, shared, local, agent, hparams: (agent, ()),
        receive=lambda local, retained, merged: local,
    )
    return Learner(
        init=lambda key, agent, hparams: (jnp.zeros(2), ()),
        step=lambda key, time, shared, local, agent, hparams: (shared + agent, local, agent),
        message=lambda shared: shared,
        adopt=lambda shared, merged, hparams: merged,
        report=lambda shared, local: Report(shared, jnp.zeros(0)),
        message_kind="numbers",
        exchanges=(asks,),
    )


def trained_without_state(agent_map, numbers, participation=None, aggregator=None):
    """The state and info after two rounds of two local steps, and what is reported."""
    algorithm = federate(
        stateless_learner(),
        aggregator or parameter_mean(),
        num_agents=len(numbers),
        local_steps=2,
        participation=participation,
        agent_map=agent_map,
    )
    hparams = FederationSettings(jnp.asarray(numbers), ())
    state = jax.jit(algorithm.init)(jax.random.key(0), hparams)
    for round in (1, 2):
        state, info = jax.jit(algorithm.step)(jax.random.key(round), round, state, hparams)
    return state, info, algorithm.report(state)


@pytest.mark.parametrize("agent_map", [jax.vmap, in_groups(2), in_groups(8)])
def test_a_learner_may_have_no_local_state(agent_map):
    numbers = [1.0, 2.0, 6.0]
    state, info, report = trained_without_state(agent_map, numbers)
    assert state.local == ()
    np.testing.assert_allclose(state.shared, 2 * 2 * 3.0)
    np.testing.assert_array_equal(info, [[number] * 2 for number in numbers])
    np.testing.assert_array_equal(report.policy, state.shared)
    assert report.multipliers.shape == (3, 0)
    _, info, _ = trained_without_state(agent_map, numbers, sampled(2))
    assert (np.asarray(info) == 0).all(1).sum() == 1


@pytest.mark.parametrize("needs", ["sum", "messages"])
def test_nothing_of_an_absent_agent_reaches_the_others(needs):
    """Not even where it is no number, through exchanges, local steps and the merge."""

    def merge(values, weights, state):
        return (mean_of_sum if needs == "sum" else weighted_mean)(values, weights), state

    mean = parameter_mean()._replace(merge=merge, needs=needs)

    def first_and_last(key, num_agents):
        return jnp.arange(num_agents) != 1

    state, info, _ = trained_without_state(
        jax.vmap, [1.0, math.nan, 6.0], first_and_last, aggregator=mean
    )
    np.testing.assert_allclose(state.shared, 2 * 2 * 3.5)
    assert np.isfinite(info).all()


STATELESS = """
import sys; sys.path.insert(0, {root!r})
import jax, numpy as np
from fedjax_rl.execution.placement import placement_of
from fedjax_rl.federation.grouped import in_groups
from tests.federation.test_round import trained_without_state

assert len(jax.devices()) == 8
for agents in (8, 19):
    numbers = np.arange(1.0, agents + 1, dtype=np.float32)
    placement = placement_of(jax.devices(), None, "agents", agents, 1)
    assert placement.devices > 1
    for inner in (jax.vmap, in_groups(1)):
        state, info, report = trained_without_state(placement.map_of("agents", inner), numbers)
        np.testing.assert_allclose(state.shared, 4 * numbers.mean())
        np.testing.assert_array_equal(info, np.stack([numbers] * 2, 1))
        assert state.local == () and report.multipliers.shape == (agents, 0)
print("equal")
"""


def test_nor_need_it_have_any_on_eight_devices(run_python):
    root = __file__.rsplit("/tests/", 1)[0]
    source = STATELESS.format(root=root)
    finished = run_python(source, devices=8, timeout=170, compiled_quickly=True)
    assert finished.stdout.strip() == "equal", finished.stderr


def test_who_is_absent_counts_nothing_whatever_its_weight():
    def middle_one_away(key, num_agents):
        return jnp.arange(num_agents) != 1

    key, weights = jax.random.key(0), np.float32([0.2, 0.5, 0.3])
    present, counted = attendance(middle_one_away, key, 3, weights)
    np.testing.assert_array_equal(present, [True, False, True])
    np.testing.assert_array_equal(counted, np.float32([0.2, 0.0, 0.3]))
    present, counted = attendance(None, key, 3)
    assert present is None
    np.testing.assert_array_equal(counted, np.ones(3))


def test_a_learner_on_finite_problems_is_for_float64():
    def single(evaluation):
        return npg(evaluation)._replace(float64=False)

    with pytest.raises(InvalidInput, match="float64: got False; True, of a learner on finite"):
        build(support.random_problem(0), ONE_EACH, step=0.1, dual_step=0.1, learner=single)
