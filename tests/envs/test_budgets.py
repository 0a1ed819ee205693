"""What the docstrings say of the tasks' own budgets: measured on scripted controllers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fedjax_rl.envs  # noqa: F401  registers the tasks
from fedjax_rl.algorithm import environments
from fedjax_rl.envs.task import Task

pytestmark = pytest.mark.slow

EPISODES = 500


class Played(NamedTuple):
    reward: float
    costs: np.ndarray
    terminated: float
    last_states: Any


def play(task: Task, controller: Callable[[Any], Any]) -> Played:
    """Means over episodes of a controller (state) -> action."""

    def advance(carry: Any, key: Any) -> Any:
        state, alive = carry
        _, after, reward, terminated, info = task.environment.step_env(
            key, state, controller(state), task.params
        )
        paid = (alive * reward, alive * info["cost"], alive * terminated)
        return (after, alive * (1 - terminated)), paid

    def episode(key: Any) -> Any:
        key_reset, key_steps = jax.random.split(key)
        _, state = task.environment.reset_env(key_reset, task.params)
        (last, _), paid = jax.lax.scan(
            advance, (state, jnp.float32(1)), jax.random.split(key_steps, task.time_limit)
        )
        return jax.tree.map(lambda leaf: leaf.sum(0), paid), last

    (rewards, costs, ends), last = jax.jit(jax.vmap(episode))(
        jax.random.split(jax.random.key(0), EPISODES)
    )
    return Played(float(rewards.mean()), np.asarray(costs.mean(0)), float(ends.mean()), last)


def share(task: Task, played: Played) -> np.ndarray:
    return task.budgets / played.costs


def along(velocity: Any) -> Any:
    return jnp.where(velocity >= 0, 1.0, -1.0)


def pump(most: float) -> Callable[[Any], Any]:
    """Adds the energy that is missing, then balances."""

    def controller(state: Any) -> Any:
        angle = (state.theta + jnp.pi) % (2 * jnp.pi) - jnp.pi
        missing = 5.0 - (state.theta_dot**2 / 6 + 5 * jnp.cos(angle))
        swing = 10.0 * along(state.theta_dot) * missing
        balance = -12.0 * angle - 3.0 * state.theta_dot
        torque = jnp.where(jnp.abs(angle) < 0.35, balance, swing)
        return jnp.clip(torque, -most, most)[None]

    return controller


def test_pumping_a_pendulum() -> None:
    task = environments.make("pendulum")
    hard, gentle = play(task, pump(2.0)), play(task, pump(1.0))
    np.testing.assert_allclose(hard.costs, [10.5, 20.7], rtol=0.1)
    np.testing.assert_allclose(gentle.costs, [15.8, 0.0], rtol=0.1)
    assert np.all(jnp.cos(hard.last_states.theta) > 0.9)


ANGLES, SPEEDS, TORQUES = 121, 97, 17


def planned_pendulum(task: Task, prices: list[float]) -> tuple[float, np.ndarray, float]:
    """Dynamic programming on a grid for reward − prices · costs: reward, costs, share upright."""
    angles = jnp.linspace(-jnp.pi, jnp.pi, ANGLES + 1)[:-1]
    speeds = jnp.linspace(-8.0, 8.0, SPEEDS)
    torques = jnp.linspace(-2.0, 2.0, TORQUES)
    key = jax.random.key(0)
    _, example = task.environment.reset_env(key, task.params)

    def transition(angle: Any, speed: Any, torque: Any) -> Any:
        state = example.replace(theta=angle, theta_dot=speed)
        _, after, reward, _, info = task.environment.step_env(key, state, torque[None], task.params)
        return after.theta, after.theta_dot, reward, info["cost"]

    def interpolated(values: Any, angle: Any, speed: Any) -> Any:
        row = ((angle + jnp.pi) / (2 * jnp.pi) * ANGLES) % ANGLES
        column = jnp.clip((speed + 8.0) / 16.0 * (SPEEDS - 1), 0, SPEEDS - 1)
        closed = jnp.concatenate([values, values[:1]])
        return jax.scipy.ndimage.map_coordinates(closed, [row, column], order=1, mode="nearest")

    def best_action(values: Any, angle: Any, speed: Any) -> Any:
        def of_torque(torque: Any) -> Any:
            after = transition(angle, speed, torque)
            return after, after[2] - after[3] @ jnp.array(prices) + interpolated(values, *after[:2])

        after, worth = jax.vmap(of_torque)(torques)
        best = jnp.argmax(worth)
        return jax.tree.map(lambda leaf: leaf[best], after), worth[best]

    @jax.jit
    def plan_and_play() -> Any:
        grid = jnp.meshgrid(angles, speeds, indexing="ij")

        def backwards(values: Any, _: Any) -> Any:
            _, worth = jax.vmap(jax.vmap(best_action, (None, 0, 0)), (None, 0, 0))(values, *grid)
            return worth, values

        nothing = jnp.zeros((ANGLES, SPEEDS))
        _, plan = jax.lax.scan(backwards, nothing, None, task.time_limit, reverse=True)

        def forwards(state: Any, values: Any) -> Any:
            after, _ = jax.vmap(best_action, (None, 0, 0))(values, *state)
            return after[:2], after[2:]

        keys = jax.random.split(key, EPISODES)
        _, starts = jax.vmap(task.environment.reset_env, (0, None))(keys, task.params)
        (last, _), paid = jax.lax.scan(forwards, (starts.theta, starts.theta_dot), plan)
        return last, *jax.tree.map(lambda leaf: leaf.sum(0).mean(0), paid)

    last, reward, costs = plan_and_play()
    return float(reward), np.asarray(costs), float(jnp.mean(jnp.cos(last) > 0.9))


def test_the_best_swing_up_of_a_pendulum() -> None:
    task = environments.make("pendulum")
    reward, costs, upright = planned_pendulum(task, [0.0, 0.0])
    assert reward == pytest.approx(-135, abs=5) and upright == 1
    np.testing.assert_allclose(costs, [9.3, 17.4], rtol=0.1)
    assert np.all(costs > task.budgets)
    reward, costs, upright = planned_pendulum(task, [10.0, 3.0])
    assert reward == pytest.approx(-139, abs=5) and upright == 1
    assert np.all(costs <= task.budgets)
    _, costs, _ = planned_pendulum(task, [100.0, 0.0])
    assert costs[0] > 6.5


def test_driving_a_mountain_car() -> None:
    task = environments.make("mountain-car-continuous")
    fast = play(task, lambda state: along(state.velocity)[None])
    thrifty = play(task, lambda state: 0.3 * along(state.velocity)[None])
    for played, reward, costs in ((fast, 89, [29, 14]), (thrifty, 98, [18.4, 25.6])):
        assert played.terminated == 1
        assert played.reward == pytest.approx(reward, abs=1)
        np.testing.assert_allclose(played.costs, costs, rtol=0.1)
        assert np.all((share(task, played) > 0.28) & (share(task, played) < 0.6))


def test_a_mountain_car_can_keep_to_its_budgets() -> None:
    task = environments.make("mountain-car-continuous")

    def careful(state: Any) -> Any:
        turning = (state.velocity < 0) & (state.position < -0.7)
        force = jnp.where(turning, 1.0, along(state.velocity))
        braking = jnp.abs(state.velocity) > 0.045
        return jnp.where(braking, -along(state.velocity), force)[None]

    played = play(task, careful)
    assert played.terminated == 1
    assert played.reward == pytest.approx(88, abs=1)
    assert np.all(played.costs < 1)


GOAL = (0.7, 0.7)


def drive(top_speed: float, *way: tuple[float, float]) -> Callable[[Any], Any]:
    """Heads for the first point of the way that does not lie behind, then for the goal."""

    def controller(state: Any) -> Any:
        target = jnp.array(GOAL)
        for point in reversed(way):
            before = state.position.sum() < sum(point) - 0.05
            target = jnp.where(before, jnp.array(point), target)
        ahead = target - state.position
        remaining = jnp.linalg.norm(jnp.array(GOAL) - state.position)
        speed = jnp.minimum(top_speed, jnp.sqrt(1.4 * remaining))
        wanted = speed * ahead / (jnp.linalg.norm(ahead) + 1e-6)
        return jnp.clip((wanted - state.velocity) / 0.05, -1.0, 1.0)

    return controller


def test_driving_a_point_robot() -> None:
    task = environments.make("point-robot")
    straight = play(task, drive(1.0))
    assert straight.reward == pytest.approx(9.7, abs=0.2)
    np.testing.assert_allclose(straight.costs, [10.2, 12.2, 37.0], rtol=0.1)
    assert np.all((share(task, straight) > 0.3) & (share(task, straight) < 0.6))
    weaving = play(task, drive(0.58, (-0.48, 0.05), (0.05, 0.05), (0.55, 0.05)))
    assert weaving.reward == pytest.approx(7.4, abs=0.2)
    np.testing.assert_allclose(weaving.costs, [0, 0, 1.4], atol=0.5)
