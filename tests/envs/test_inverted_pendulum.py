"""Our closed form of MuJoCo's InvertedPendulum, against MuJoCo itself."""

from __future__ import annotations

import pathlib
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from fedjax_rl.envs.inverted_pendulum import (
    SUBSTEPS,
    Motion,
    PendulumParams,
    advance,
    inverted_pendulum_adj3,
)
from fedjax_rl.envs.task import Task, vary
from fedjax_rl.precision import precision
from tests.envs.balancing import (
    check_a_balanced_episode_is_cut_after_500_steps,
    check_starts_are_uniform,
)
from tests.quick import quick_compilation  # noqa: F401

KEY = jax.random.key(0)
PARAMS = PendulumParams()
ASSETS = pathlib.Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
FASTEST = np.array([2.4, 0.2, 15.0, 9.0])
"""What the docstring bounds: m, rad, m/s, rad/s of states within an episode."""


@pytest.fixture(scope="module")
def task() -> Task:
    return inverted_pendulum_adj3()


def model_with_a_rail_of(metres: float) -> Any:
    """Gymnasium's model, with another range of the slider."""
    text = (ASSETS / "inverted_pendulum.xml").read_text()
    short = 'name="slider" pos="0 0 0" range="-1 1"'
    assert text.count(short) == 1
    return mujoco.MjModel.from_xml_string(
        text.replace(short, f'name="slider" pos="0 0 0" range="-{metres} {metres}"')
    )


def mujoco_after(model: Any, starts: Any, controls: Any) -> np.ndarray:
    """States [B, 4] after one action each, from states [B, 4] and controls [B]."""
    data, after = mujoco.MjData(model), []
    for start, control in zip(np.float64(starts), np.float64(controls), strict=True):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:], data.ctrl[:] = start[:2], start[2:], control
        mujoco.mj_step(model, data, nstep=SUBSTEPS)
        after.append(np.concatenate([data.qpos, data.qvel]))
    return np.array(after)


@jax.jit
def ours_after(starts: Any, controls: Any) -> Any:
    def one(start: Any, control: Any) -> Any:
        return jnp.stack(advance(Motion(*start), control, PARAMS))

    return jax.vmap(one)(starts, controls)


def states_and_controls(number: type, count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Anywhere within an episode, with controls beyond the bounds, too: both clip."""
    random = np.random.default_rng(0)
    starts = random.uniform(-1, 1, (count, 4)) * FASTEST
    return starts.astype(number), random.uniform(-4, 4, count).astype(number)


def test_the_constants_are_those_of_the_model() -> None:
    model = model_with_a_rail_of(3.1)
    np.testing.assert_allclose(model.body_mass[1:], [PARAMS.masscart, PARAMS.masspole], rtol=1e-12)
    assert np.allclose([PARAMS.masscart, PARAMS.masspole], [10.472, 5.019], atol=1e-3)
    np.testing.assert_allclose(model.body_inertia[2, :2], PARAMS.pole_inertia, rtol=1e-12)
    centre = PARAMS.length * np.array([np.sin(PARAMS.lean), 0, np.cos(PARAMS.lean)])
    np.testing.assert_allclose(model.body_ipos[2], centre, atol=1e-15)
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4


@pytest.mark.parametrize(("number", "most"), [(np.float64, 1e-8), (np.float32, 1e-4)])
def test_one_action_is_mujoco_s(number: type, most: float) -> None:
    """Its slider has the range that the docstring allows, and its stops never act."""
    starts, controls = states_and_controls(number)
    with precision(number is np.float64):
        ours = np.asarray(ours_after(starts, controls))
    assert ours.dtype == number
    expected = mujoco_after(model_with_a_rail_of(3.1), starts, controls)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=most)
    assert np.abs(expected - starts).max(0).min() > 0.1
    # A rail that ends where episodes do would push back within the action that leaves it.
    stopped = mujoco_after(model_with_a_rail_of(2.4), starts, controls)
    assert np.abs(ours - stopped).max(1)[np.abs(expected[:, 0]) > 2.45].min() > 1e-3


@pytest.mark.parametrize(("number", "most"), [(np.float64, 1e-8), (np.float32, 1e-4)])
def test_two_hundred_actions_are_mujoco_s(number: type, most: float) -> None:
    """Along an episode, restored every ten actions: errors grow by exp(4.1 t)."""
    model = model_with_a_rail_of(3.1)
    random = np.random.default_rng(1)
    state = random.uniform(-0.01, 0.01, (1, 4))
    worst = 0.0
    for step in range(200):
        if step % 10 == 0:
            ours = state.astype(number)
            state = np.float64(ours)
        # Upright by feedback, shaken by noise.
        control = state @ [0.1, 3.0, 0.2, 0.4] + 0.2 * random.normal(size=1)
        with precision(number is np.float64):
            ours = np.asarray(ours_after(ours, control.astype(number)))
        state = mujoco_after(model, state, control.astype(number))
        worst = max(worst, np.abs(ours - state).max())
    assert worst < most
    assert np.abs(state[0, 1]) < 0.2 and np.abs(state[0, 0]) < 2.4


def test_observations_are_in_mujoco_s_order(task: Task) -> None:
    start, control = (0.3, -0.1, 0.7, -0.9), 0.6
    observation, after, *_ = task.environment.step(
        KEY, state_at(task, *start), jnp.array([control]), task.params
    )
    expected = mujoco_after(model_with_a_rail_of(3.1), [start], [control])[0]
    np.testing.assert_allclose(observation, expected, atol=1e-5)
    np.testing.assert_array_equal(observation, [after.x, after.theta, after.x_dot, after.theta_dot])


def test_the_action_is_one_number_in_a_box(task: Task) -> None:
    space = task.environment.action_space(task.params)
    assert space.shape == (1,) and (space.low, space.high) == (-3, 3)
    assert task.environment.num_actions == 1


def state_at(task: Task, x: float, theta: float, x_dot: float, theta_dot: float) -> Any:
    _, state = task.environment.reset(KEY, task.params)
    numbers = {"x": x, "theta": theta, "x_dot": x_dot, "theta_dot": theta_dot}
    return state.replace(**{name: jnp.float32(value) for name, value in numbers.items()})


@pytest.mark.parametrize("side", [-1, 1])
def test_leaving_the_rail_costs_a_reward(task: Task, side: int) -> None:
    near_the_end = state_at(task, side * 2.39, 0, side * 1.0, 0)
    *_, reward, terminated, truncated, info = task.environment.step(
        KEY, near_the_end, jnp.zeros(1), task.params
    )
    assert abs(info["final_observation"][0] - side * 2.43) < 0.01
    assert reward == -1 and terminated and not truncated


def test_the_rail_reaches_to_its_end(task: Task) -> None:
    *_, reward, terminated, _, _ = task.environment.step(
        KEY, state_at(task, 2.35, 0, 1.0, 0), jnp.zeros(1), task.params
    )
    assert reward == 1 and not terminated


@pytest.mark.parametrize(
    ("theta_dot", "ended"), [(0.3, False), (0.6, True), (-0.3, False), (-0.6, True)]
)
def test_a_fall_ends_without_a_fine(task: Task, theta_dot: float, ended: bool) -> None:
    """As in InvertedPendulum-v2; v5 does not pay for the step that falls."""
    start = state_at(task, 0, np.sign(theta_dot) * 0.18, 0, theta_dot)
    *_, reward, terminated, truncated, info = task.environment.step(
        KEY, start, jnp.zeros(1), task.params
    )
    assert bool(terminated) is ended is bool(np.abs(info["final_observation"][1]) > 0.2)
    assert reward == 1 and not truncated


def test_falling_off_the_end_of_the_rail_is_fined(task: Task) -> None:
    start = state_at(task, 2.39, 0.19, 1.0, 2.0)
    _, _, reward, terminated, *_ = task.environment.step(KEY, start, jnp.zeros(1), task.params)
    assert reward == -1 and terminated


def test_a_balanced_episode_is_cut_after_500_steps(task: Task) -> None:
    check_a_balanced_episode_is_cut_after_500_steps(task, [0.1, 3.0, 0.2, 0.4])


def test_starts_are_uniform(task: Task) -> None:
    check_starts_are_uniform(task, 0.01)


def test_a_longer_pole_is_another_pole(task: Task) -> None:
    """With its moment of inertia: a pole of 0.8 m built by MuJoCo, of the same mass."""
    params = jax.tree.map(lambda leaf: leaf[0], vary(task, {"length": [0.4]}, 1))
    text = (ASSETS / "inverted_pendulum.xml").read_text()
    longer = text.replace("0 0 0 0.001 0 0.6", "0 0 0 0 0 0.8").replace(
        'size="0.049 0.3"', f'size="0.049" mass="{PARAMS.masspole}"'
    )
    model = mujoco.MjModel.from_xml_string(longer)
    start = (0.1, 0.1, 0.2, -0.5)
    observation, *_ = task.environment.step(
        KEY, state_at(task, *start), jnp.ones(1), params.replace(lean=np.float32(0))
    )
    expected = mujoco_after(model, [start], [1.0])[0]
    np.testing.assert_allclose(observation, expected, atol=1e-5)
    as_ever, *_ = task.environment.step(
        KEY, state_at(task, *start), jnp.ones(1), task.params.replace(lean=np.float32(0))
    )
    assert np.abs(as_ever - expected).max() > 1e-2
