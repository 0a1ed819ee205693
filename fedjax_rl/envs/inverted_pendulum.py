"""A cart-pole with a continuous force and forbidden bands along the rail."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole, EnvParams

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.cartpole import derive, picture_of, position_constraints
from fedjax_rl.envs.costs import Interval, budget_as
from fedjax_rl.envs.task import Task, constrained

STEPS = 500
BUDGET = 15.0
ANGLE_LIMIT = 0.2
BANDS: tuple[tuple[Interval, ...], ...] = (
    ((-2.4, -1.7), (-0.2, 0.0), (0.8, 1.2)),
    ((-1.6, -1.2), (-0.6, -0.2), (0.2, 0.6), (1.2, 1.6)),
    ((-1.2, -0.8), (0.0, 0.2), (1.7, 2.4)),
)
"""Closed intervals of the cart's position, in metres, for each constraint."""


class InvertedPendulum(CartPole):
    """CartPole's equations, masses, length and Euler steps of 0.02 s, under a continuous force.

    It is our own environment, a stand-in for MuJoCo's InvertedPendulum-v2 without MuJoCo. The
    differences to that one: a cart of 1 kg and a thin pole of 0.1 kg, 1 m long, on a rail
    without friction (there, bodies of uniform density with a pole of 0.6 m, joints damped);
    force 10·a newtons for a clipped to [−1, 1] (there 100·a, |a| ≤ 3); explicit Euler at 0.02 s
    (there Runge–Kutta, 0.04 s between actions); a rail of ±2.4 m whose end ends the episode
    (there ±1 m with stops); start uniform in ±0.05 in all four coordinates (there ±0.01);
    500 steps (there 1000); observations (x, ẋ, θ, θ̇) in CartPole's order (there x, θ, ẋ, θ̇).
    As there, an angle beyond 0.2 rad ends the episode.

    The reward is 1 for a step, or −1 for one after which |x| > 2.4, whatever the angle.
    """

    @property
    def name(self) -> str:
        return "InvertedPendulum-fedjax"

    @property
    def num_actions(self) -> int:
        return 1

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(theta_threshold_radians=ANGLE_LIMIT, max_steps_in_episode=STEPS)

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; the action is a float32 [1] array, or a scalar."""
        # CartPole's force is force_mag · (2·action − 1).
        push = (1.0 + jnp.clip(jnp.reshape(action, ()), -1.0, 1.0)) / 2
        observation, after, _, terminated, info = super().step_env(key, state, push, params)
        reward = jnp.where(jnp.abs(after.x) > params.x_threshold, -1.0, 1.0)
        return observation, after, reward, terminated, info

    def action_space(self, params: Any = None) -> spaces.Box:
        """The force in units of ``force_mag`` newtons."""
        return spaces.Box(-1.0, 1.0, (1,), jnp.float32)


def inverted_pendulum_adj3(kind: str = "episode") -> Task:
    """A cart-pole under a continuous force, 500 steps, with three adjacent position costs.

    A step costs 1 of constraint j while the cart is in one of the closed bands ``BANDS[j]``
    before the step; budgets are 15 per episode (arXiv 2405.03236, ADJ3). The environment is
    ours: `InvertedPendulum` says how it differs from MuJoCo's.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    return constrained(
        "inverted-pendulum-adj3",
        InvertedPendulum(),
        position_constraints(BANDS, budget_as(kind, BUDGET, STEPS), kind),
        derive=derive,
        picture=picture_of(BANDS),
    )


register_environment("inverted-pendulum-adj3", inverted_pendulum_adj3)
