"""Acrobot that keeps swinging: no goal ends it, and the torque costs something."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from gymnax.environments.classic_control.acrobot import Acrobot

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.costs import budget_as
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Constraint, CostFunction, Task, constrained

STEPS = 500
HIGH = 0.7
"""The height of the tip, in metres above the fixed joint, that earns the full reward."""
NEGATIVE, POSITIVE = 0, 2
"""Actions: a torque of −1 or +1 N m on the joint between the links; action 1 is none."""

SCENE = (-2.3, 2.3, -2.3, 2.3)
JOINT_RADIUS = 0.06


class SwingingAcrobot(Acrobot):
    """gymnax's Acrobot-v1 without a goal, rewarded for every step spent high (arXiv 2405.03236).

    With h = −cos θ₁ − cos(θ₁ + θ₂) of the state *after* the step (before any reset), as
    Acrobot-v1 does with its own reward,

        r = 1 if h > 0.7, and 0.001·(h − 0.7) otherwise.

    Nothing but the time limit of 500 steps ends an episode.
    """

    @property
    def name(self) -> str:
        return "Acrobot-swinging"

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; see the class."""
        observation, after, _, terminated, info = super().step_env(key, state, action, params)
        height = tip_height(after)
        reward = jnp.where(height > HIGH, 1.0, 0.001 * (height - HIGH))
        return observation, after, reward, terminated, info

    def is_terminated(self, state: Any, params: Any) -> Array:
        """False: no state ends an episode, only the time limit does."""
        return jnp.array(False)


def tip_height(state: Any) -> Array:
    """Height of the free end above the fixed joint, in metres, for links of 1 m."""
    angle = state.joint_angle1
    return -jnp.cos(angle) - jnp.cos(angle + state.joint_angle2)


def acrobot_theta1_2(kind: str = "episode") -> Task:
    """Acrobot, 500 steps, where pushing against the swing of the inner link costs.

    Before the step, constraint 1 costs 1 if θ̇₁ < 0 and the action is 2 (+1 N m), constraint 2
    if θ̇₁ > 0 and the action is 0 (−1 N m); budgets are 50 per episode (arXiv 2405.03236,
    Theta1-2).

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """

    def backwards(state: Any) -> Array:
        return state.velocity_1 < 0

    def forwards(state: Any) -> Array:
        return state.velocity_1 > 0

    return _task(
        "acrobot-theta1-2",
        {
            "push-backwards": _cost(backwards, POSITIVE),
            "push-forwards": _cost(forwards, NEGATIVE),
        },
        budget_as(kind, 50.0, STEPS),
        kind,
    )


def acrobot_easier_empty_left_bottom(kind: str = "episode") -> Task:
    """Acrobot, 500 steps, where torque costs while the inner link is at the bottom left.

    Before the step, with θ₁ wrapped to (−π, π], constraint 1 costs 1 if θ₁ ∈ [−π/2, 0] and the
    action is 0 (−1 N m), constraint 2 if the action is 2 (+1 N m); budgets are 40 per episode
    (arXiv 2405.03236, EasierEmptyleftbottom).

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """

    def left_bottom(state: Any) -> Array:
        angle = _wrapped(state.joint_angle1)
        return (-jnp.pi / 2 <= angle) & (angle <= 0)

    return _task(
        "acrobot-easier-empty-left-bottom",
        {
            "negative-torque": _cost(left_bottom, NEGATIVE),
            "positive-torque": _cost(left_bottom, POSITIVE),
        },
        budget_as(kind, 40.0, STEPS),
        kind,
        zones=((-1.0, 0.0, -1.0, 0.0, 0), (-1.0, 0.0, -1.0, 0.0, 1)),
    )


def _cost(where: Callable[[Any], Array], costly: int) -> CostFunction:
    def cost(state: Any, action: Array, after: Any) -> Array:
        return jnp.asarray(where(state) & (action == costly), jnp.float32)

    return cost


def _wrapped(angle: Array) -> Array:
    # An angle that is wrapped already passes unrounded: the edges of an interval matter.
    turned = jnp.pi - jnp.mod(jnp.pi - angle, 2 * jnp.pi)
    return jnp.where(jnp.abs(angle) <= jnp.pi, angle, turned)


def _task(
    name: str,
    costs: dict[str, CostFunction],
    budget: float,
    kind: str,
    zones: tuple[tuple[float, float, float, float, int], ...] = (),
) -> Task:
    def picture(state: Any, params: Any) -> Picture:
        return _picture(state, zones)

    environment = SwingingAcrobot()
    return constrained(
        name,
        environment,
        [Constraint(constraint, cost, budget, kind) for constraint, cost in costs.items()],
        params=environment.default_params.replace(max_steps_in_episode=STEPS),
        picture=picture,
    )


def _picture(state: Any, zones: tuple[tuple[float, float, float, float, int], ...]) -> Picture:
    """Two links of 1 m and the height to reach; zones are where the inner link's end is."""
    inner, outer = float(state.joint_angle1), float(state.joint_angle1 + state.joint_angle2)
    elbow = (math.sin(inner), -math.cos(inner))
    tip = (elbow[0] + math.sin(outer), elbow[1] - math.cos(outer))
    goal = ((SCENE[0], HIGH), (SCENE[1], HIGH))
    return Picture(
        SCENE,
        zones,
        lines=(goal, ((0.0, 0.0), elbow, tip)),
        circles=(((0.0, 0.0), JOINT_RADIUS), (elbow, JOINT_RADIUS)),
    )


register_environment("acrobot-theta1-2", acrobot_theta1_2)
register_environment("acrobot-easier-empty-left-bottom", acrobot_easier_empty_left_bottom)
