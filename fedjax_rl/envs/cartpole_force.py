"""A cart-pole with a continuous force and forbidden bands along the rail."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole, EnvParams

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.cartpole import derive, picture_of, position_constraints
from fedjax_rl.envs.costs import budget_as
from fedjax_rl.envs.inverted_pendulum import ADJ3, ADJ3_BUDGET
from fedjax_rl.envs.task import Task, constrained

STEPS = 500
ANGLE_LIMIT = 0.2
"""rad."""


class ForcedCartPole(CartPole):
    """CartPole's equations, masses, length and Euler steps of 0.02 s, under a continuous force.

    The force is 10·a newtons for a clipped to [−1, 1]; an angle beyond 0.2 rad or a cart beyond
    ±2.4 m ends the episode. It is our own environment. MuJoCo's pendulum, which has 15 times
    its mass and 30 times its force, is `fedjax_rl.envs.inverted_pendulum`.

    The reward is 1 for a step, or −1 for one after which |x| > 2.4, whatever the angle.
    """

    @property
    def name(self) -> str:
        return "CartPole-force-fedjax"

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


def cartpole_force_adj3(kind: str = "episode") -> Task:
    """A cart-pole under a continuous force, 500 steps, with three adjacent position costs.

    A step costs 1 of constraint j while the cart is in one of the closed bands of `ADJ3`
    before the step; budgets are 15 per episode. Bands and budgets are those of arXiv
    2405.03236, ADJ3, the dynamics are ours: with 10 N, the way to the nearest gap between
    bands costs a little more than every budget.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    return constrained(
        "cartpole-force-adj3",
        ForcedCartPole(),
        position_constraints(ADJ3, budget_as(kind, ADJ3_BUDGET, STEPS), kind),
        derive=derive,
        picture=picture_of(ADJ3),
    )


register_environment("cartpole-force-adj3", cartpole_force_adj3)
