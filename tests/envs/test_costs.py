"""Every task's costs, restated one state at a time in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fedjax_rl.envs  # noqa: F401  registers the tasks
from fedjax_rl.algorithm import environments
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.slow

COUNT = 2000
EDGE_SHARE = 4

Restated = Callable[[dict[str, Any], Any], list[bool]]


def single(number: float) -> float:
    """The float32 that stands for a number in the environment."""
    return float(np.float32(number))


def between(value: float, *edges: float) -> bool:
    """Whether a value lies in one of the closed intervals (edge 0, edge 1), (edge 2, edge 3) …"""
    return any(
        single(low) <= value <= single(high)
        for low, high in zip(edges[::2], edges[1::2], strict=True)
    )


def cartpole(state: dict[str, Any], action: Any) -> list[bool]:
    x = state["x"]
    return [
        between(x, -2.4, -2.3, -1.3, -1.2, -0.1, 0.0, 1.1, 1.2, 2.2, 2.3),
        between(x, -2.3, -2.2, -1.2, -1.1, 0.0, 0.1, 1.2, 1.3, 2.3, 2.4),
    ]


def adjoining_bands(state: dict[str, Any], action: Any) -> list[bool]:
    x = state["x"]
    return [
        between(x, -2.4, -1.7, -0.2, 0.0, 0.8, 1.2),
        between(x, -1.6, -1.2, -0.6, -0.2, 0.2, 0.6, 1.2, 1.6),
        between(x, -1.2, -0.8, 0.0, 0.2, 1.7, 2.4),
    ]


def acrobot_speed(state: dict[str, Any], action: Any) -> list[bool]:
    speed = state["velocity_1"]
    return [speed < 0 and action == 2, speed > 0 and action == 0]


def acrobot_corner(state: dict[str, Any], action: Any) -> list[bool]:
    angle = state["joint_angle1"]
    while angle > math.pi + 1e-6:
        angle -= 2 * math.pi
    while angle < -math.pi - 1e-6:
        angle += 2 * math.pi
    inside = single(-math.pi / 2) <= angle <= 0
    return [inside and action == 0, inside and action == 2]


def pendulum(state: dict[str, Any], action: Any) -> list[bool]:
    return [abs(state["theta_dot"]) > 4, abs(action[0]) > 1]


def mountain_car(state: dict[str, Any], action: Any) -> list[bool]:
    return [abs(state["velocity"]) > single(0.05), state["position"] < -1]


def point_robot(state: dict[str, Any], action: Any) -> list[bool]:
    (x, y), (v, w) = state["position"], state["velocity"]
    return [
        between(x, -0.4, 0.0) and between(y, -0.7, 0.0),
        between(x, 0.1, 0.5) and between(y, 0.1, 0.8),
        v * v + w * w > single(0.6) ** 2,
    ]


ELSEWHERE = ("fedjax_rl.envs.finite", "fedjax_rl.envs.known")
"""Tasks whose values are known, which tests of their own hold to them."""

RAIL = [step / 10 for step in range(-24, 25)]
QUARTERS = [-math.pi, -math.pi / 2, 0.0, math.pi / 2, math.pi]

# For each task: its restatement, and for each field of the state the largest size and the edges.
CASES: dict[str, tuple[Restated, dict[str, tuple[float, list[float]]]]] = {
    "cartpole-pos2": (cartpole, {"x": (2.6, RAIL)}),
    "cartpole-force-adj3": (adjoining_bands, {"x": (2.6, RAIL)}),
    "inverted-pendulum-adj3": (adjoining_bands, {"x": (2.6, RAIL)}),
    "acrobot-theta1-2": (acrobot_speed, {"velocity_1": (12.0, [0.0, 1e-6, -1e-6])}),
    "acrobot-easier-empty-left-bottom": (acrobot_corner, {"joint_angle1": (9.0, QUARTERS)}),
    "pendulum": (pendulum, {"theta_dot": (8.0, [4.0, -4.0, 4.000001, -4.000001])}),
    "mountain-car-continuous": (
        mountain_car,
        {"velocity": (0.07, [0.05, -0.05, 0.0500001]), "position": (1.2, [-1.0, -1.000001])},
    ),
    "point-robot": (
        point_robot,
        {
            "position": (1.0, [-0.7, -0.4, 0.0, 0.1, 0.5, 0.8]),
            "velocity": (0.9, [0.0, 0.599, 0.601]),
        },
    ),
}


def test_every_registered_task_has_a_restatement() -> None:
    ours = [
        name
        for name in environments
        if environments.resolve(name).__module__.startswith("fedjax_rl.envs.")
        and not environments.resolve(name).__module__.startswith(ELSEWHERE)
    ]
    assert set(ours) == set(CASES), "restate a new task's costs in CASES"


@pytest.mark.parametrize("name", CASES)
def test_costs_are_those_of_the_paper(name: str) -> None:
    restated, fields = CASES[name]
    task = environments.make(name)
    random = np.random.default_rng(7)
    key_reset, key_action, key_step = jax.random.split(jax.random.key(0), 3)
    _, example = task.environment.reset(key_reset, task.params)
    states = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (COUNT, *leaf.shape)), example
    )
    columns = {}
    for field, (size, edges) in fields.items():
        shape = getattr(states, field).shape
        anywhere = random.uniform(-size, size, shape)
        on_an_edge = random.choice(edges, shape)
        columns[field] = np.where(
            random.integers(EDGE_SHARE, size=shape) == 0, on_an_edge, anywhere
        ).astype(np.float32)
    states = states.replace(**columns)
    space = task.environment.action_space(task.params)
    actions = jax.vmap(space.sample)(jax.random.split(key_action, COUNT))
    if actions.ndim > 1:
        actions = actions.at[:20].set(1.0).at[20:40].set(-1.0)

    step = jax.jit(jax.vmap(task.environment.step, in_axes=(None, 0, 0, None)))
    *_, info = step(key_step, states, actions, task.params)
    costs = np.asarray(info["cost"])

    expected = [
        restated(
            {field: column[index].tolist() for field, column in columns.items()},
            np.asarray(actions[index]).tolist(),
        )
        for index in range(COUNT)
    ]
    np.testing.assert_array_equal(costs, np.array(expected, np.float32))
    shares = costs.mean(0)
    assert np.all((shares > 0.03) & (shares < 0.97)), shares


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("cartpole-pos2", 0.0, [1, 1]),
        ("cartpole-pos2", -2.3, [1, 1]),
        ("cartpole-pos2", -0.1, [1, 0]),
        ("cartpole-pos2", 0.1, [0, 1]),
        ("cartpole-pos2", 0.101, [0, 0]),
        ("cartpole-pos2", 2.4, [0, 1]),
        ("cartpole-pos2", 2.401, [0, 0]),
        ("inverted-pendulum-adj3", 0.0, [1, 0, 1]),
        ("inverted-pendulum-adj3", -1.2, [0, 1, 1]),
        ("inverted-pendulum-adj3", 1.2, [1, 1, 0]),
        ("inverted-pendulum-adj3", -1.65, [0, 0, 0]),
        ("inverted-pendulum-adj3", 0.7, [0, 0, 0]),
        ("inverted-pendulum-adj3", 2.0, [0, 0, 1]),
        ("inverted-pendulum-adj3", -2.0, [1, 0, 0]),
    ],
)
def test_places_on_the_rail(name: str, x: float, expected: list[int]) -> None:
    task = environments.make(name)
    _, state = task.environment.reset(jax.random.key(0), task.params)
    state = state.replace(x=jnp.float32(x))
    paid = [float(cost(state, jnp.int32(0), None)) for cost in task.environment.costs]
    assert paid == expected
