"""Episodes of policies whose every step can be told in advance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.envs.finite import LARGEST_DISCOUNT
from fedjax_rl.envs.task import NO_LIMIT, vary
from fedjax_rl.learners.deep import evaluation
from fedjax_rl.learners.deep.evaluation import evaluate, play
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.ops.moments import Moments
from tests.learners.deep.harness import Slope, always, designed, scripted, strip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KINDS = ("episode", "episode", "step", "episode", "discounted")
"""Costs 0, 2 and 4 are 1 + the place before a step; 1 and 3 are strides."""
KEY = jax.random.key(0)
POLICY = DeepShared({}, {}, None, None, None)


def played(
    logits, episodes=2, mode=False, varied=None, shared=POLICY, task=None, agents=1, **choices
):
    task = strip(*KINDS) if task is None else task
    design = scripted(designed(task, task.num_constraints, **choices), logits)
    params = vary(task, varied or {}, agents)
    return play(KEY, shared, params, design, episodes, mode=mode)


@pytest.mark.parametrize("mode", [True, False])
def test_an_episode_that_reaches_its_goal(mode):
    episodes = played(always(1), mode=mode)
    np.testing.assert_array_equal(episodes.length, 3)
    np.testing.assert_allclose(episodes.reward, 2 + 3 + 4)
    expected = [1 + 2 + 3, 3, (1 + 2 + 3) / 3, 3, 1 + 2 / 2 + 3 / 4]
    np.testing.assert_allclose(episodes.costs, [expected] * 2, rtol=1e-6)


def test_an_episode_that_meets_its_time_limit():
    episodes = played(always(0))
    np.testing.assert_array_equal(episodes.length, 4)
    np.testing.assert_allclose(episodes.reward, 4)
    expected = [4, 0, 1, 0, 1 + 1 / 2 + 1 / 4 + 1 / 8]
    np.testing.assert_allclose(episodes.costs, [expected] * 2, rtol=1e-6)


def test_dynamics_are_dealt_among_the_episodes():
    episodes = played(always(1), episodes=5, agents=2, varied={"stride": [1.0, 3.0]})
    np.testing.assert_array_equal(episodes.length, [3, 1, 3, 1, 3])
    np.testing.assert_allclose(episodes.reward, [9, 4, 9, 4, 9])
    np.testing.assert_allclose(episodes.costs[:, 1], [3, 3, 3, 3, 3])
    np.testing.assert_allclose(episodes.costs[:, 2], [2, 1, 2, 1, 2])


def test_an_episode_that_is_over_pays_nothing_while_others_go_on():
    """Agent 1 needs a hundred strides, which the others need not wait for in their sums."""
    task = strip(*KINDS, max_steps_in_episode=30)
    slow = {"stride": [1.0, 0.01]}
    episodes = played(always(1), episodes=2, agents=2, varied=slow, task=task)
    np.testing.assert_array_equal(episodes.length, [3, 30])
    np.testing.assert_allclose(episodes.reward[0], 9)
    np.testing.assert_allclose(episodes.reward[1], 30 + 0.01 * 30 * 31 / 2, rtol=1e-5)


def test_episodes_that_are_given_up_are_counted(monkeypatch):
    """Agent 0 reaches its goal in three strides; agent 1 stays where it is, for ever."""
    monkeypatch.setattr(evaluation, "STEPS_AT_MOST", 50)
    task = strip(*KINDS, max_steps_in_episode=NO_LIMIT)
    agents = {"agents": 2, "varied": {"stride": [1.0, 0.0]}, "task": task}
    episodes = played(always(1), episodes=4, **agents)
    np.testing.assert_array_equal(episodes.length, [3, 50, 3, 50])
    np.testing.assert_array_equal(episodes.unfinished, [False, True, False, True])
    design = scripted(designed(task, task.num_constraints), always(1))
    seen = evaluate(KEY, POLICY, vary(task, {"stride": [1.0, 0.0]}, 2), design, 4)
    assert seen.unfinished == seen.mode_unfinished == 0.5


def test_time_limits_and_goals_end_episodes():
    assert not played(always(0)).unfinished.any()
    assert not played(always(1)).unfinished.any()


def test_whoever_looks_less_often_sees_the_same(monkeypatch):
    """As an accelerator does: the steps after the longest episode count for nothing."""
    task = strip(*KINDS, max_steps_in_episode=30)
    slow = {"agents": 2, "varied": {"stride": [1.0, 0.01]}, "task": task}
    often = played(always(1), **slow)
    steps = evaluation.STEPS_PER_LOOK_ON_ACCELERATOR
    monkeypatch.setattr(evaluation, "STEPS_PER_LOOK", {"cpu": steps})
    jax.tree.map(np.testing.assert_array_equal, played(always(1), **slow), often)
    assert 30 % steps and evaluation.STEPS_AT_MOST % steps == 0


def test_no_episode_of_a_finite_problem_is_given_up():
    assert LARGEST_DISCOUNT**evaluation.STEPS_AT_MOST < 1e-20


def test_the_policy_as_it_is_and_its_mode():
    """Strides with probability 0.7; a mode is always the stride."""
    task = strip(*KINDS, goal=np.inf)
    chance = jnp.log(jnp.array([0.3, 0.7]))

    def logits(seen):
        return jnp.broadcast_to(chance, (*seen.shape[:-1], 2))

    episodes = 4000
    sampled = played(logits, episodes, mode=False, task=task)
    certain = played(logits, episodes, mode=True, task=task)
    np.testing.assert_allclose(certain.reward, 2 + 3 + 4 + 5)
    # Strides so far: 4 + 0.7 (1 + 2 + 3 + 4) on average, with variance 0.21 (1 + 4 + 9 + 16).
    spread = np.sqrt(0.21 * 30 / episodes)
    assert abs(float(sampled.reward.mean()) - 11.0) < 5 * spread
    strides = np.asarray(sampled.costs[:, 1])
    assert abs(strides.mean() - 2.8) < 5 * np.sqrt(4 * 0.21 / episodes)
    assert abs(strides.var() - 4 * 0.21) < 0.1, "every step and episode draws for itself"


def test_evaluation_is_the_mean_of_both():
    task = strip(*KINDS)
    design = designed(task, 5)

    def rests_unless_it_draws(seen):
        return jnp.broadcast_to(jnp.log(jnp.array([0.6, 0.4])), (*seen.shape[:-1], 2))

    design = scripted(design, rests_unless_it_draws)
    params = vary(task, {"stride": [1.0, 0.5]}, 2)
    seen = evaluate(KEY, POLICY, params, design, 6)
    again = evaluate(KEY, POLICY, params, design, 6)
    other = evaluate(jax.random.key(1), POLICY, params, design, 6)
    assert seen.mode_reward == 4
    np.testing.assert_allclose(seen.mode_costs, [4, 0, 1, 0, 1.875], rtol=1e-6)
    assert seen.reward > 4 and (seen.costs[:2] > seen.mode_costs[:2]).all()
    jax.tree.map(np.testing.assert_array_equal, seen, again)
    assert seen.reward != other.reward


def test_evaluation_sees_observations_as_the_policy_does():
    """It strides while the normalised place is below 0, that is below 1.5 places."""
    moments = Moments(jnp.float32(8.0), jnp.array([1.5, 0.0]), jnp.array([8.0, 8.0]) * 0.25)
    shared = POLICY._replace(observations=moments, origin=moments.mean)

    def logits(seen):
        return jnp.stack([jnp.zeros_like(seen[..., 0]), -50 * seen[..., 0]], -1)

    episodes = played(logits, shared=shared, mode=True, scale_observations="all")
    np.testing.assert_array_equal(episodes.length, 4)
    np.testing.assert_allclose(episodes.costs[:, 1], 2.0)
    without = played(logits, mode=True)
    np.testing.assert_allclose(without.costs[:, 1], 0.0)


def test_vectors_are_clipped_to_their_bounds():
    task = strip("episode", "episode", environment=Slope, goal=np.inf)

    def far_ahead(seen):
        mean, log_deviation = jnp.full((*seen.shape[:-1], 1), 7.0), jnp.full(seen.shape[:-1], -9.0)
        return jnp.concatenate([mean, log_deviation[..., None]], -1)

    for mode in (True, False):
        episodes = played(far_ahead, task=task, mode=mode)
        np.testing.assert_allclose(episodes.costs[:, 1], 4.0)
