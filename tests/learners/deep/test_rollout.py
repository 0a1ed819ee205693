"""A rollout is what stepping the environment one step at a time would have seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.learners.deep.rollout import begin, collect
from tests.learners.deep.harness import designed, strip

pytestmark = pytest.mark.timeout(120)

LIMIT = 4
ENVS = 3
"""One walker rests and meets the time limit, one strides to the goal, one rests every other step:
it reaches the goal in the very step in which the limit is met."""


def walkers(observations, noise):
    pace = jnp.array([0, 1, 2])
    alternating = jnp.asarray(observations[:, 1], jnp.int32) != 1
    actions = jnp.where(pace == 2, alternating, pace).astype(jnp.int32)
    return jnp.stack([-actions, actions], -1).astype(jnp.float32), actions


def designs(rollout):
    task = strip("episode", "step", "discounted", max_steps_in_episode=LIMIT)
    return task, designed(task, 3, envs=ENVS, rollout=rollout, minibatches=1)


def stepped(task, rollout, environments):
    """The same by ``environment.step``, which resets by itself; lists of what was seen."""
    observations, states = np.asarray(environments.observation), environments.state
    sums, age = np.asarray(environments.episode_sums, np.float64).copy(), np.array(states.time)
    rows, finals = [], [[] for _ in range(ENVS)]
    totals, episodes = np.zeros(4), 0
    discounted = np.array([0, 0, 0, 1])
    for _ in range(rollout):
        _, actions = walkers(observations, None)
        left = 1.0 - age / LIMIT
        outcome = jax.vmap(task.environment.step, (0, 0, 0, None))(
            jax.random.split(jax.random.key(9), ENVS), states, actions, task.params
        )
        after, states, reward, terminated, truncated, info = outcome
        signals = np.column_stack([reward, info["cost"]])
        sums += signals * np.where(discounted, task.cost_discount ** age[:, None], 1.0)
        truncated = np.asarray(truncated & ~terminated)
        rows.append((observations, actions, signals, terminated, truncated, left))
        for env in range(ENVS):
            age[env] += 1
            if truncated[env]:
                finals[env].append(np.asarray(info["final_observation"][env]))
            if truncated[env] or terminated[env]:
                totals += sums[env]
                episodes += 1
                sums[env], age[env] = 0.0, 0
        observations = np.asarray(after)
    return [np.array(column) for column in zip(*rows, strict=True)], finals, totals, episodes, age


@pytest.mark.parametrize(("rollout", "cuts"), [(3, 1), (4, 1), (5, 2), (8, 2)])
def test_rollouts_equal_a_loop_of_single_steps(rollout, cuts):
    task, design = designs(rollout)
    assert design.cuts == cuts
    environments = begin(jax.random.key(0), task.params, design)
    compiled = jax.jit(lambda key, now: collect(key, walkers, now, task.params, design))
    # The second rollout begins in the middle of episodes: sums and ages go on.
    for attempt in range(3):
        expected = stepped(task, rollout, environments)
        seen, environments = compiled(jax.random.key(attempt), environments)
        columns, finals, totals, episodes, age = expected
        names = ("observations", "actions", "signals", "terminated", "truncated")
        for name, column in zip(names, columns[:-1], strict=True):
            np.testing.assert_allclose(getattr(seen, name), column, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(seen.time_left[:-1], columns[-1])
        np.testing.assert_allclose(seen.time_left[-1], 1.0 - age / LIMIT)
        np.testing.assert_array_equal(seen.last, environments.observation)
        np.testing.assert_array_equal(environments.state.time, age)
        np.testing.assert_array_equal(seen.last[:, 1], age)
        for env, cut_observations in enumerate(finals):
            for slot, observation in enumerate(cut_observations):
                np.testing.assert_array_equal(seen.final[slot, env], observation)
                assert observation[1] == LIMIT, "the observation at the limit, not after a reset"
        assert seen.episodes == episodes
        np.testing.assert_allclose(seen.episode_sums, totals, rtol=1e-6)
    if rollout > LIMIT:
        assert seen.terminated[:, 2].any() and not seen.truncated[:, 2].any()
        assert seen.truncated[:, 0].sum() >= 1 and not seen.terminated[:, 0].any()


def test_parameters_and_noise_are_those_of_the_draw():
    """Actions follow from the kept parameters and from noise that differs everywhere."""
    task, design = designs(8)
    heard = []

    def act(observations, noise):
        jax.debug.callback(lambda noise: heard.append(np.asarray(noise)), noise)
        parameters = jnp.stack([observations[:, 0], observations[:, 1]], -1)
        return parameters, design.distribution.sample(parameters, noise)

    environments = begin(jax.random.key(0), task.params, design)
    seen, _ = collect(jax.random.key(1), act, environments, task.params, design)
    np.testing.assert_array_equal(seen.parameters, seen.observations)
    assert len(heard) == 8 and len(np.unique(heard)) == np.size(heard)
    redrawn = design.distribution.sample(seen.parameters, jnp.stack(heard))
    np.testing.assert_array_equal(redrawn, seen.actions)
    assert {0, 1} == set(np.unique(seen.actions))


def test_every_episode_begins_in_a_state_of_its_own():
    task = strip("episode", max_steps_in_episode=2, spread=0.9)
    design = designed(task, 1, envs=ENVS, rollout=6, minibatches=1)
    environments = begin(jax.random.key(0), task.params, design)
    seen, _ = collect(jax.random.key(1), walkers, environments, task.params, design)
    starts = np.asarray(seen.observations)[::2, :, 0]
    assert len(np.unique(starts)) == starts.size
    other, _ = collect(jax.random.key(2), walkers, environments, task.params, design)
    later = np.asarray(other.observations)[2::2, :, 0]
    assert not np.isin(later, starts).any(), "the next rollout has other starts"
