"""Our cart-pole with a continuous force, against steps written out in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.envs.cartpole_force import cartpole_force_adj3
from fedjax_rl.envs.task import Task, vary
from tests.envs.balancing import (
    check_a_balanced_episode_is_cut_after_500_steps,
    check_starts_are_uniform,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def task() -> Task:
    return cartpole_force_adj3()


def state_at(task: Task, x: float, x_dot: float, theta: float, theta_dot: float) -> Any:
    _, state = task.environment.reset(KEY, task.params)
    numbers = {"x": x, "x_dot": x_dot, "theta": theta, "theta_dot": theta_dot}
    return state.replace(**{name: jnp.float32(value) for name, value in numbers.items()})


def euler(
    x: float, x_dot: float, theta: float, theta_dot: float, force: float, half: float = 0.5
) -> list[float]:
    """Barto, Sutton & Anderson's cart-pole without friction: 1 kg, 0.1 kg, a 1 m pole, 0.02 s."""
    push = (force + 0.1 * half * theta_dot**2 * np.sin(theta)) / 1.1
    turn = (9.8 * np.sin(theta) - np.cos(theta) * push) / (
        half * (4 / 3 - 0.1 * np.cos(theta) ** 2 / 1.1)
    )
    pull = push - 0.1 * half * turn * np.cos(theta) / 1.1
    return [
        x + 0.02 * x_dot,
        x_dot + 0.02 * pull,
        theta + 0.02 * theta_dot,
        theta_dot + 0.02 * turn,
    ]


@pytest.mark.parametrize(
    ("action", "force"),
    [(0.0, 0.0), (0.37, 3.7), (-0.8, -8.0), (1.0, 10.0), (2.5, 10.0), (-7.0, -10.0)],
)
def test_one_euler_step_by_hand(task: Task, action: float, force: float) -> None:
    start = (0.3, -0.7, 0.12, 0.9)
    observation, after, reward, terminated, truncated, _ = task.environment.step(
        KEY, state_at(task, *start), jnp.array([action], jnp.float32), task.params
    )
    expected = euler(*start, force)
    np.testing.assert_allclose(observation, expected, atol=1e-5)
    np.testing.assert_allclose(
        [after.x, after.x_dot, after.theta, after.theta_dot], expected, atol=1e-5
    )
    assert reward == 1 and not terminated and not truncated


def test_at_rest_a_push_moves_the_cart_and_tips_the_pole(task: Task) -> None:
    """At θ = 0 the equations come to ẍ = F/1.1 · (1 + 3/41) and θ̈ = −F · 60/41."""
    _, after, *_ = task.environment.step(KEY, state_at(task, 0, 0, 0, 0), jnp.ones(1), task.params)
    assert after.x_dot == pytest.approx(0.02 * 10 / 1.1 * (1 + 3 / 41), rel=1e-5)
    assert after.theta_dot == pytest.approx(-0.02 * 10 * 60 / 41, rel=1e-5)


@pytest.mark.parametrize("side", [-1, 1])
def test_leaving_the_rail_costs_a_reward(task: Task, side: int) -> None:
    near_the_end = state_at(task, side * 2.39, side * 1.0, 0, 0)
    *_, reward, terminated, truncated, info = task.environment.step(
        KEY, near_the_end, jnp.zeros(1), task.params
    )
    assert info["final_observation"][0] == pytest.approx(side * 2.41)
    assert reward == -1 and terminated and not truncated


def test_the_rail_reaches_to_its_end(task: Task) -> None:
    *_, reward, terminated, _, _ = task.environment.step(
        KEY, state_at(task, 2.37, 1.0, 0, 0), jnp.zeros(1), task.params
    )
    assert reward == 1 and not terminated


@pytest.mark.parametrize(
    ("theta_dot", "ended"), [(0.9, False), (1.1, True), (-0.9, False), (-1.1, True)]
)
def test_a_fall_ends_without_a_fine(task: Task, theta_dot: float, ended: bool) -> None:
    """From 0.18 rad on, ±0.02 · θ̇ leads to either side of 0.2 rad; CartPole allows 0.209."""
    start = state_at(task, 0, 0, np.sign(theta_dot) * 0.18, theta_dot)
    *_, reward, terminated, truncated, _ = task.environment.step(
        KEY, start, jnp.zeros(1), task.params
    )
    assert bool(terminated) is ended
    assert reward == 1 and not truncated


def test_falling_off_the_end_of_the_rail_is_fined(task: Task) -> None:
    start = state_at(task, 2.39, 1.0, 0.19, 2.0)
    _, _, reward, terminated, *_ = task.environment.step(KEY, start, jnp.zeros(1), task.params)
    assert reward == -1 and terminated


def test_a_balanced_episode_is_cut_after_500_steps(task: Task) -> None:
    check_a_balanced_episode_is_cut_after_500_steps(task, [0.1, 0.2, 4.0, 0.7])


def test_starts_are_uniform(task: Task) -> None:
    check_starts_are_uniform(task, 0.05)


def test_the_action_is_one_number_in_a_box(task: Task) -> None:
    space = task.environment.action_space(task.params)
    assert space.shape == (1,) and (space.low, space.high) == (-1, 1)
    assert task.environment.num_actions == 1


def test_a_longer_pole_is_another_pole(task: Task) -> None:
    params = jax.tree.map(lambda leaf: leaf[0], vary(task, {"length": [0.8]}, 1))
    start = (0.1, 0.2, 0.1, -0.5)
    observation, *_ = task.environment.step(KEY, state_at(task, *start), jnp.ones(1), params)
    np.testing.assert_allclose(observation, euler(*start, 10.0, half=0.8), atol=1e-5)
