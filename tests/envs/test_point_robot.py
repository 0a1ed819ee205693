"""The point robot, against steps worked out by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.envs.point_robot import point_robot
from fedjax_rl.envs.task import Task, vary
from tests.quick import quick_compilation  # noqa: F401

KEY = jax.random.key(0)
GOAL = np.array([0.7, 0.7])


@pytest.fixture(scope="module")
def task() -> Task:
    return point_robot()


def step_from(task: Task, position: Any, velocity: Any, action: Any, params: Any = None) -> Any:
    _, state = task.environment.reset(KEY, task.params)
    state = state.replace(
        position=jnp.asarray(position, jnp.float32), velocity=jnp.asarray(velocity, jnp.float32)
    )
    return task.environment.step(
        KEY, state, jnp.asarray(action, jnp.float32), task.params if params is None else params
    )


def test_one_step_by_hand(task: Task) -> None:
    observation, after, reward, terminated, truncated, _ = step_from(
        task, [0.1, -0.2], [0.3, 0.4], [0.5, -1.0]
    )
    # v⁺ = v + 0.05 a; x⁺ = x + 0.05 v⁺
    np.testing.assert_allclose(after.velocity, [0.325, 0.35], atol=1e-6)
    np.testing.assert_allclose(after.position, [0.11625, -0.1825], atol=1e-6)
    progress = np.hypot(0.6, 0.9) - np.hypot(0.58375, 0.8825)
    assert reward == pytest.approx(progress, abs=1e-6)
    np.testing.assert_allclose(
        observation, [0.11625, -0.1825, 0.325, 0.35, 0.58375, 0.8825], atol=1e-6
    )
    assert not terminated and not truncated


def test_commands_are_clipped(task: Task) -> None:
    _, wild, *_ = step_from(task, [0, 0], [0, 0], [9.0, -3.0])
    np.testing.assert_allclose(wild.velocity, [0.05, -0.05], atol=1e-7)


def test_the_top_speed_keeps_the_direction(task: Task) -> None:
    _, after, *_ = step_from(task, [0, 0], [0.8, 0.6], [1.0, 1.0])
    fast = np.array([0.85, 0.65])
    np.testing.assert_allclose(after.velocity, fast / np.linalg.norm(fast), atol=1e-6)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_wall_takes_the_velocity_across_it(task: Task, side: float) -> None:
    _, after, *_ = step_from(task, [side * 0.99, 0.2], [side * 0.5, 0.5], [0.0, 0.0])
    np.testing.assert_allclose(after.position, [side, 0.225], atol=1e-6)
    np.testing.assert_allclose(after.velocity, [0.0, 0.5], atol=1e-6)


def test_a_robot_at_rest_has_no_reward_and_no_nan(task: Task) -> None:
    observation, after, reward, *_ = step_from(task, [0, 0], [0, 0], [0, 0])
    assert reward == 0
    np.testing.assert_array_equal(after.position, 0)
    assert np.all(np.isfinite(observation))


def test_the_bonus_is_for_ending_a_step_inside_the_goal(task: Task) -> None:
    # The goal's edge is at x = 0.55: one step of 0.02 leads in or out of it.
    _, _, entering, *_ = step_from(task, [0.54, 0.7], [0.4, 0.0], [0, 0])
    _, _, leaving, *_ = step_from(task, [0.56, 0.7], [-0.4, 0.0], [0, 0])
    assert entering == pytest.approx(0.02 + 0.05, abs=1e-6)
    assert leaving == pytest.approx(-0.02, abs=1e-6)


def test_rewards_add_up_to_the_way_gone(task: Task) -> None:
    def advance(state: Any, key: Any) -> Any:
        action = jax.random.uniform(key, (2,), minval=-1.0, maxval=0.5)
        _, after, reward, *_ = task.environment.step_env(key, state, action, task.params)
        return after, (reward, after.position)

    _, state = task.environment.reset(KEY, task.params)
    last, (rewards, places) = jax.lax.scan(advance, state, jax.random.split(KEY, 150))
    assert np.linalg.norm(places - GOAL, axis=1).min() > 0.15
    way = np.linalg.norm(state.position - GOAL) - np.linalg.norm(last.position - GOAL)
    assert rewards.sum() == pytest.approx(way, abs=1e-5)
    assert np.abs(places).max() <= 1


def test_only_the_time_limit_ends_an_episode(task: Task) -> None:
    def advance(state: Any, key: Any) -> Any:
        _, after, _, terminated, truncated, _ = task.environment.step(
            key, state, GOAL - state.position, task.params
        )
        return after, (terminated, truncated)

    _, state = task.environment.reset(KEY, task.params)
    _, (terminated, truncated) = jax.lax.scan(advance, state, jax.random.split(KEY, 400))
    assert not terminated.any()
    assert np.flatnonzero(truncated).tolist() == [199, 399]


def test_starts_are_at_rest_at_the_bottom_left(task: Task) -> None:
    observations, states = jax.vmap(task.environment.reset, (0, None))(
        jax.random.split(KEY, 2000), task.params
    )
    assert -0.95 <= states.position.min() < -0.94
    assert -0.56 < states.position.max() <= -0.55
    np.testing.assert_array_equal(states.velocity, 0)
    np.testing.assert_allclose(observations[:, 4:], GOAL - states.position, atol=1e-6)
    # No one starts in a hazard, or above the speed limit.
    paid = jax.vmap(
        lambda state: jnp.stack([cost(state, None, None) for cost in task.environment.costs])
    )
    assert not paid(states).any()


def test_robots_may_differ(task: Task) -> None:
    varied = vary(task, {"acceleration": [0.5, 2.0], "goal_x": [0.7, -0.3]}, 2)
    for index, (acceleration, goal_x) in enumerate([(0.5, 0.7), (2.0, -0.3)]):
        params = jax.tree.map(lambda leaf, index=index: leaf[index], varied)
        observation, after, *_ = step_from(task, [0, 0], [0, 0], [1.0, 0.0], params)
        np.testing.assert_allclose(after.velocity, [0.05 * acceleration, 0], atol=1e-7)
        np.testing.assert_allclose(observation[4], goal_x - after.position[0], atol=1e-6)
