"""What the laboratory records of a federation of networks, and agents that learn alone."""

import functools

import chex
import jax
import numpy as np
import pytest

from fedjax_rl.algorithm import Time
from fedjax_rl.execution.train import start, train
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.evaluated import (
    EVALUATED_AXES,
    EvaluatedSettings,
    alone_settings,
    evaluated,
)
from fedjax_rl.federation.isolated import AGENT_AXES, as_federation_of_one, isolated
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.learners.deep.evaluation import evaluate
from fedjax_rl.learners.deep.ppo import ppo
from tests.learners.deep.conftest import quick_compilation  # noqa: F401
from tests.learners.deep.harness import (
    WORLDS,
    agent_at,
    agents_of,
    close,
    designed,
    mixed_agents,
    settings,
)

pytestmark = pytest.mark.timeout(240)

TASK = WORLDS["two"]
PER_STEP = (False, True)
EVERY, LAST = 2, 5
KEY = jax.random.key(0)
DESIGN = designed(TASK, 2, epochs=1, rollout=8)


def play(key, shared, params):
    return evaluate(key, shared, params, DESIGN, episodes=4)


@functools.cache
def federation(num_agents):
    return federate(ppo(DESIGN), parameter_mean(), num_agents=num_agents)


def hparams_of(agents):
    return EvaluatedSettings(
        FederationSettings(agents, settings()), np.int32(EVERY), np.int32(LAST)
    )


def run(algorithm, hparams):
    state, row = start(algorithm, KEY, hparams)
    spans = list(train(algorithm, KEY, state, hparams, rounds=LAST, span_rounds=LAST))
    rows = jax.tree.map(lambda *parts: np.concatenate(parts), *(span.info for span in spans))
    return row, rows, jax.device_get(spans[-1].state)


@functools.cache
def recording():
    return evaluated(federation(2), play, PER_STEP)


@functools.cache
def recorded():
    return run(recording(), hparams_of(mixed_agents()))


@functools.cache
def stepped():
    """The same rounds without a record: states and infos."""
    algorithm = federation(2)
    hparams = FederationSettings(mixed_agents(), settings())
    step = jax.jit(algorithm.step)
    state = jax.jit(algorithm.init)(jax.random.fold_in(KEY, 0), hparams)
    states, infos = [state], []
    for round in range(1, LAST + 1):
        key_round, _ = jax.random.split(jax.random.fold_in(KEY, round))
        state, info = step(key_round, round, state, hparams)
        states.append(state)
        infos.append(jax.device_get(info))
    return states, infos


@pytest.mark.slow
def test_a_row_at_rest_is_built_like_a_row_of_a_round():
    row, rows, _ = recorded()
    first = jax.tree.map(lambda leaf: leaf[0], rows)
    chex.assert_trees_all_equal_shapes_and_dtypes(row, first)
    assert row.evaluated and np.isfinite(row.evaluation.reward)
    assert np.isnan(row.reward) and np.isnan(row.costs).all()
    assert row.episodes == row.environment_steps == 0
    assert (row.multipliers == 0).all()


def test_only_due_rounds_are_evaluated():
    _, rows, _ = recorded()
    due = np.array([False, True, False, True, True])
    np.testing.assert_array_equal(rows.evaluated, due)
    for leaf in jax.tree.leaves(rows.evaluation):
        assert np.isfinite(leaf[due]).all() and np.isnan(leaf[~due]).all()


@pytest.mark.slow
def test_evaluation_is_of_the_merged_policy_with_a_key_of_its_own():
    _, rows, last = recorded()
    states, _ = stepped()
    close(last, states[-1])
    _, key_evaluation = jax.random.split(jax.random.fold_in(KEY, LAST))
    expected = play(key_evaluation, states[-1].shared, mixed_agents().params)
    close(agent_at(rows.evaluation, -1), expected)


def test_a_row_adds_up_what_the_agents_saw():
    _, rows, _ = recorded()
    _, infos = stepped()
    for index, info in enumerate(infos):
        episodes = info.episodes.sum()
        assert episodes > 0 and rows.episodes[index] == episodes
        totals = info.episode_sums.sum((0, 1)) / episodes
        np.testing.assert_allclose(rows.reward[index], totals[0], rtol=1e-5)
        costs = [totals[1], info.step_costs[..., 1].mean()]
        np.testing.assert_allclose(rows.costs[index], costs, rtol=1e-5)
        np.testing.assert_allclose(rows.multipliers[index], info.multipliers[:, 0], rtol=1e-5)
        assert rows.environment_steps[index] == 2 * 4 * 8
        np.testing.assert_allclose(
            rows.improvement.entropy[index], info.improvement.entropy.mean(), rtol=1e-5
        )


def test_rounds_without_an_episode_have_no_mean_of_episodes():
    """Nothing ends within 8 steps; a cost per step is known all the same."""
    agents = mixed_agents()
    endless = agents.params.replace(
        max_steps_in_episode=np.full(2, 100, np.int32), goal=np.full(2, np.inf, np.float32)
    )
    _, rows, _ = run(recording(), hparams_of(agents._replace(params=endless)))
    assert (rows.episodes == 0).all()
    assert np.isnan(rows.reward).all() and np.isnan(rows.costs[:, 0]).all()
    assert np.isfinite(rows.costs[:, 1]).all()


def lonely():
    agents = agents_of(TASK, [[1, 0], [0, 1]], {"stride": [1.0, 0.7]}, alone=True)
    assert (agents.reward_weight == 1).all() and (agents.weights == 1).all()
    design = designed(TASK, 1, epochs=1, rollout=8)
    return agents, design, ppo(design)


def test_agents_alone_have_rows_of_their_own():
    agents, design, learner = lonely()
    one = evaluated(
        federate(learner, parameter_mean(), num_agents=1),
        lambda key, shared, params: evaluate(key, shared, params, design, 4),
        PER_STEP,
    )
    both, hparams = isolated(one, 2, EVALUATED_AXES, alone_settings), hparams_of(agents)
    state = jax.eval_shape(both.init, KEY, hparams)
    row = jax.eval_shape(both.observe, state, hparams)
    stepped, info = jax.eval_shape(both.step, KEY, 1, state, hparams)
    chex.assert_trees_all_equal_shapes_and_dtypes(row, info)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, stepped)
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves((state, row)))
    assert row.evaluation.costs.shape == (2, 2) and row.multipliers.shape == (2, 1, 1)
    assert all(axis == 0 for axis in jax.tree.leaves(both.agent_axes(state)))


@pytest.mark.slow
def test_agents_alone_never_hear_of_each_other():
    """Each takes the steps that it would take without any federation."""
    agents, _, learner = lonely()
    one = federate(learner, parameter_mean(), num_agents=1)
    both = isolated(one, 2, AGENT_AXES, as_federation_of_one)
    hparams = FederationSettings(agents, settings())
    first, _ = start(both, KEY, hparams)
    *_, last = train(both, KEY, first, hparams, rounds=3, span_rounds=3)
    step = jax.jit(learner.step)
    for agent in range(2):
        shared = agent_at(first.shared, agent)
        local = jax.tree.map(lambda leaf, agent=agent: leaf[agent, 0], first.local)
        for round in range(1, 4):
            key = jax.random.fold_in(jax.random.fold_in(KEY, round), agent)
            _, _, key = jax.random.split(key, 3)
            (key,) = jax.random.split(jax.random.fold_in(key, 0), 1)
            now = Time(round, 0)
            shared, local, _ = step(key, now, shared, local, agent_at(agents, agent), settings())
        close(agent_at(last.state.shared, agent), shared)
        close(jax.tree.map(lambda leaf, agent=agent: leaf[agent, 0], last.state.local), local)
    kernels = [leaf for leaf in jax.tree.leaves(last.state.shared.actor) if leaf.ndim == 3]
    assert kernels and all((kernel[0] != kernel[1]).any() for kernel in kernels)
