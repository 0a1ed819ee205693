"""Pendulum swing-up with a limit on speed and one on torque."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from gymnax.environments.classic_control.pendulum import Pendulum

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.costs import budget_as
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Constraint, Task, constrained

STEPS = 200
FAST = 4.0
"""rad/s."""
STRONG = 1.0
"""N m."""
SPEED_BUDGET, TORQUE_BUDGET = 8.5, 9.0

SCENE = (-1.4, 1.4, -1.4, 1.4)
PIVOT_RADIUS = 0.05


class ScalarPendulum(Pendulum):
    """gymnax's Pendulum-v1 with the action as a scalar inside, as the state's torque is."""

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; the action is a float32 [1] array, or a scalar."""
        return super().step_env(key, state, jnp.reshape(action, ()), params)


def pendulum(kind: str = "episode") -> Task:
    """Pendulum swing-up, 200 steps, where speed and torque beyond a limit cost.

    The dynamics and the reward are those of gymnax's Pendulum-v1. Before the step, constraint 1
    costs 1 if |θ̇| > 4 rad/s, constraint 2 if the torque |u| > 1 N m (the action's, of which the
    environment uses at most 2).

    Budgets are 8.5 and 9 per episode. Measured over 1,000 random starts, and held by the tests:
    the best swing-up (dynamic programming on a grid) has reward −135 and pays 9 and 17; one that
    weighs both costs too swings up every time with reward −139, paying 8.3 and 8.1. A controller
    that pumps energy with at most 2 N m pays 10.5 and 21; with at most 1 N m, as an agent might
    that sees only the torque, 16 and 0. Speed has less slack than torque, for no swing-up from
    rest stays below 4 rad/s: fewer than about 7 steps of it mean leaving the pendulum down.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    environment = ScalarPendulum()
    return constrained(
        "pendulum",
        environment,
        [
            Constraint("speed", _fast, budget_as(kind, SPEED_BUDGET, STEPS), kind),
            Constraint("torque", _strong, budget_as(kind, TORQUE_BUDGET, STEPS), kind),
        ],
        params=environment.default_params.replace(max_steps_in_episode=STEPS),
        picture=_picture,
    )


def _fast(state: Any, action: Array, after: Any) -> Array:
    return jnp.abs(state.theta_dot) > FAST


def _strong(state: Any, action: Array, after: Any) -> Array:
    return jnp.abs(action) > STRONG


def _picture(state: Any, params: Any) -> Picture:
    """The rod and the upright position to reach, in metres; θ = 0 is upright."""
    length, angle = float(params.l), float(state.theta)
    tip = (length * math.sin(angle), length * math.cos(angle))
    return Picture(
        SCENE,
        lines=(((0.0, length), (0.0, length + 2 * PIVOT_RADIUS)), ((0.0, 0.0), tip)),
        circles=(((0.0, 0.0), PIVOT_RADIUS),),
    )


register_environment("pendulum", pendulum)
