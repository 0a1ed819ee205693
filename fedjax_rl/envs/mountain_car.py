"""MountainCarContinuous with a speed limit and a ban on the upper left slope."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from gymnax.environments.classic_control.continuous_mountain_car import ContinuousMountainCar

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.costs import budget_as
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Constraint, Task, constrained

STEPS = 999
FAST = 0.05
"""Position units per step."""
FAR_LEFT = -1.0
SPEED_BUDGET, SLOPE_BUDGET = 10.0, 8.0

SCENE = (-1.3, 0.7, -0.1, 1.3)
CAR_RADIUS = 0.04
ROAD_POINTS = 60


class WalledMountainCar(ContinuousMountainCar):
    """gymnax's MountainCarContinuous-v0 with Gymnasium's wall and a clipped action.

    gymnax 1.0.1 lets a car that is pressed against the left wall keep its velocity; as in
    Gymnasium, ours stops there. Actions are clipped to [−1, 1] before the reward's −0.1·a² too,
    which both compute from whatever they are given.
    """

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; the action is a float32 [1] array, or a scalar."""
        force = jnp.clip(jnp.reshape(action, ()), params.min_action, params.max_action)
        _, after, reward, terminated, info = super().step_env(key, state, force, params)
        stopped = (after.position <= params.min_position) & (after.velocity < 0)
        after = after.replace(velocity=jnp.where(stopped, 0.0, after.velocity))
        return self.get_obs(after), after, reward, terminated, info


def mountain_car_continuous(kind: str = "episode") -> Task:
    """MountainCarContinuous, 999 steps, where speed and the upper left slope cost.

    The dynamics are Gymnasium's (`WalledMountainCar` says what that mends in gymnax's). Before
    the step, constraint 1 costs 1 if |v| > 0.05, constraint 2 if x < −1.

    Budgets are 10 and 8 per episode. Measured over 1,000 random starts, and held by the tests:
    full force along the velocity reaches the goal with reward 89 and pays 29 and 14; 0.3 of it,
    nearer to the best unconstrained reward, has 98 and pays 18 and 26. So the budgets are
    31–57 % of what is paid without them. Full force that turns round at x = −0.7 and brakes
    above 0.045 reaches the goal with reward 88 and pays next to nothing.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    environment = WalledMountainCar()
    return constrained(
        "mountain-car-continuous",
        environment,
        [
            Constraint("speed", _fast, budget_as(kind, SPEED_BUDGET, STEPS), kind),
            Constraint("left-slope", _far_left, budget_as(kind, SLOPE_BUDGET, STEPS), kind),
        ],
        params=environment.default_params.replace(max_steps_in_episode=STEPS),
        picture=_picture,
    )


def _fast(state: Any, action: Array, after: Any) -> Array:
    return jnp.abs(state.velocity) > FAST


def _far_left(state: Any, action: Array, after: Any) -> Array:
    return state.position < FAR_LEFT


def _height(position: float) -> float:
    return 0.45 * math.sin(3 * position) + 0.55


def _picture(state: Any, params: Any) -> Picture:
    """The road, the car, the flag at the goal, and the slope to stay away from."""
    left, right = float(params.min_position), float(params.max_position)
    step = (right - left) / (ROAD_POINTS - 1)
    xs = [left + index * step for index in range(ROAD_POINTS)]
    goal, car = float(params.goal_position), float(state.position)
    flag = ((goal, _height(goal)), (goal, _height(goal) + 0.2))
    return Picture(
        SCENE,
        zones=((left, FAR_LEFT, SCENE[2], SCENE[3], 1),),
        lines=(tuple((x, _height(x)) for x in xs), flag),
        circles=(((car, _height(car) + CAR_RADIUS), CAR_RADIUS),),
    )


register_environment("mountain-car-continuous", mountain_car_continuous)
