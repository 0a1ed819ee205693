"""Our steps against Gymnasium's, one transition at a time.

Two float precisions drift apart along an episode, and Acrobot's are chaotic. So every transition
starts afresh: ours is taken along a random trajectory of 1,000 steps (reset where an episode
ends), or from 1,000 states all over the space; then Gymnasium's environment is put into the same
state before the step, and must arrive at the same state after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fedjax_rl.envs  # noqa: F401  registers the tasks
from fedjax_rl.algorithm import environments
from fedjax_rl.envs.task import Task
from tests.quick import quick_compilation  # noqa: F401

STEPS = 1000


class Case(NamedTuple):
    """How a task and its original compare.

    Attributes:
        original: the identifier in Gymnasium.
        fields: of our state, in the order of Gymnasium's.
        angles: which of them count modulo 2π.
        same_reward: whether rewards and endings are meant to agree too.
        bounds: of states all over the space.
    """

    original: str
    fields: tuple[str, ...]
    angles: tuple[bool, ...]
    same_reward: bool
    bounds: tuple[float, ...]


CASES = {
    "cartpole-pos2": Case(
        "CartPole-v1",
        ("x", "x_dot", "theta", "theta_dot"),
        (False, False, False, False),
        True,
        (2.4, 3.0, 0.2, 3.0),
    ),
    "acrobot-theta1-2": Case(
        "Acrobot-v1",
        ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
        (True, True, False, False),
        False,
        (np.pi, np.pi, 6.0, 9.0),
    ),
    "pendulum": Case("Pendulum-v1", ("theta", "theta_dot"), (False, False), True, (2 * np.pi, 8.0)),
    "mountain-car-continuous": Case(
        "MountainCarContinuous-v0", ("position", "velocity"), (False, False), True, (1.2, 0.07)
    ),
}


class Transitions(NamedTuple):
    before: Any
    actions: Any
    after: Any
    rewards: Any
    terminated: Any


def stepper(task: Task) -> Callable[[Any, Any], Transitions]:
    def step(state: Any, key: Any) -> Transitions:
        key_action, key_step = jax.random.split(key)
        action = task.environment.action_space(task.params).sample(key_action)
        # Beyond the bounds too, where there are bounds: both clip.
        action = 1.5 * action if action.ndim else action
        _, after, reward, terminated, _ = task.environment.step_env(
            key_step, state, action, task.params
        )
        return Transitions(state, action, after, reward, terminated)

    return step


def along_a_trajectory(task: Task) -> Transitions:
    step = stepper(task)

    def advance(state: Any, key: Any) -> Any:
        key_step, key_reset = jax.random.split(key)
        taken = step(state, key_step)
        ended = taken.terminated | task.environment.is_truncated(taken.after, task.params)
        _, fresh = task.environment.reset_env(key_reset, task.params)
        return jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, taken.after), taken

    _, start = task.environment.reset(jax.random.key(0), task.params)
    return jax.jit(lambda keys: jax.lax.scan(advance, start, keys)[1])(
        jax.random.split(jax.random.key(1), STEPS)
    )


def all_over_the_space(task: Task, case: Case) -> Transitions:
    _, example = task.environment.reset(jax.random.key(0), task.params)
    places = np.random.default_rng(2).uniform(-1, 1, (STEPS, len(case.bounds)))
    places = (places * case.bounds).astype(np.float32)
    if "position" in case.fields:
        places[:, 0] = np.clip(places[:, 0], -1.2, 0.6)
    columns = dict(zip(case.fields, places.T, strict=True))
    states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (STEPS, *leaf.shape)), example)
    states = states.replace(**{name: jnp.asarray(column) for name, column in columns.items()})
    keys = jax.random.split(jax.random.key(3), STEPS)
    return jax.jit(jax.vmap(stepper(task)))(states, keys)


def rows(state: Any, case: Case) -> np.ndarray:
    return np.stack([np.asarray(getattr(state, name), np.float64) for name in case.fields], axis=1)


def gymnasium_steps(taken: Transitions, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    original = gymnasium.make(case.original).unwrapped
    original.reset(seed=0)
    after, rewards, terminated = [], [], []
    for state, action in zip(rows(taken.before, case), np.asarray(taken.actions), strict=True):
        original.state = state.copy()
        original.steps_beyond_terminated = None
        _, reward, ended, _, _ = original.step(int(action) if action.ndim == 0 else action)
        after.append(np.asarray(original.state, np.float64))
        rewards.append(reward)
        terminated.append(ended)
    return np.stack(after), np.array(rewards, np.float64), np.array(terminated)


def assert_agree(taken: Transitions, case: Case) -> None:
    after, rewards, terminated = gymnasium_steps(taken, case)
    difference = rows(taken.after, case) - after
    turned = (difference + np.pi) % (2 * np.pi) - np.pi
    difference = np.where(case.angles, turned, difference)
    assert difference.shape == (STEPS, len(case.fields))
    np.testing.assert_allclose(difference, 0, atol=1e-4)
    # A step that changed nothing would agree with itself.
    assert np.ptp(after, axis=0).min() > 0.01
    if case.same_reward:
        if case.original == "MountainCarContinuous-v0":
            # Gymnasium charges for the action before clipping it.
            actions = np.asarray(taken.actions)[:, 0]
            rewards = rewards + 0.1 * (actions**2 - np.clip(actions, -1, 1) ** 2)
        np.testing.assert_array_equal(terminated, taken.terminated)
        np.testing.assert_allclose(taken.rewards, rewards, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_random_trajectory(name: str) -> None:
    assert_agree(along_a_trajectory(environments.make(name)), CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_states_all_over_the_space(name: str) -> None:
    task = environments.make(name)
    taken = all_over_the_space(task, CASES[name])
    if name == "mountain-car-continuous":
        taken = without_the_finished(taken, task)
    assert_agree(taken, CASES[name])


def without_the_finished(taken: Transitions, task: Task) -> Transitions:
    """With states beyond the goal, where no episode gets, moved to the foot of the left wall."""
    finished = taken.before.position >= task.params.goal_position
    before = taken.before.replace(
        position=jnp.where(finished, -1.19, taken.before.position),
        velocity=jnp.where(finished, -jnp.abs(taken.before.velocity), taken.before.velocity),
    )
    step = jax.vmap(task.environment.step_env, (None, 0, 0, None))
    _, after, reward, terminated, _ = step(jax.random.key(0), before, taken.actions, task.params)
    return Transitions(before, taken.actions, after, reward, terminated)


def test_the_left_wall_stops_a_car() -> None:
    """The defect of gymnax 1.0.1 that our wrapper mends."""
    task = environments.make("mountain-car-continuous")
    _, state = task.environment.reset(jax.random.key(0), task.params)
    falling = state.replace(position=jnp.float32(-1.19), velocity=jnp.float32(-0.05))
    observation, after, *_ = task.environment.step_env(
        jax.random.key(0), falling, jnp.zeros(1), task.params
    )
    assert after.position == np.float32(-1.2) and after.velocity == 0
    np.testing.assert_array_equal(observation, [after.position, 0])


def test_acrobot_is_rewarded_for_the_state_it_reaches() -> None:
    task = environments.make("acrobot-theta1-2")
    taken = all_over_the_space(task, CASES["acrobot-theta1-2"])
    first, second = (
        np.asarray(angle, np.float64)
        for angle in rows(taken.after, CASES["acrobot-theta1-2"]).T[:2]
    )
    height = -np.cos(first) - np.cos(first + second)
    clear = np.abs(height - 0.7) > 1e-5
    expected = np.where(height > 0.7, 1.0, 0.001 * (height - 0.7))
    np.testing.assert_allclose(np.asarray(taken.rewards)[clear], expected[clear], atol=1e-6)
    assert 0.1 < np.mean(expected == 1.0) < 0.6
    assert not np.any(taken.terminated)
