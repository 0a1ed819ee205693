"""CartPole with forbidden bands along the rail (arXiv 2405.03236)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gymnax.environments.classic_control.cartpole import CartPole

from fedjax_rl.algorithm import Array, Pytree, register_environment
from fedjax_rl.envs.costs import Interval, budget_as, indicator
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Constraint, CostFunction, Task, constrained

STEPS = 200
BUDGET = 20.0
BANDS: tuple[tuple[Interval, ...], ...] = (
    ((-2.4, -2.3), (-1.3, -1.2), (-0.1, 0.0), (1.1, 1.2), (2.2, 2.3)),
    ((-2.3, -2.2), (-1.2, -1.1), (0.0, 0.1), (1.2, 1.3), (2.3, 2.4)),
)
"""Closed intervals of the cart's position, in metres, for each constraint."""

SCENE = (-2.7, 2.7, -0.5, 1.4)
CART_WIDTH, CART_HEIGHT = 0.4, 0.2


def cartpole_pos2(kind: str = "episode") -> Task:
    """CartPole, 200 steps, with two position costs whose bands lie side by side.

    The dynamics and the reward, 1 per step, are those of gymnax's CartPole-v1. A step costs 1
    of constraint j while the cart is in one of the closed bands ``BANDS[j]`` before the step;
    budgets are 20 per episode. The cart starts where both constraints' bands meet
    (arXiv 2405.03236, Pos2).

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    environment = CartPole()
    return constrained(
        "cartpole-pos2",
        environment,
        position_constraints(BANDS, budget_as(kind, BUDGET, STEPS), kind),
        params=environment.default_params.replace(max_steps_in_episode=STEPS),
        derive=derive,
        picture=picture_of(BANDS),
    )


def position_constraints(
    bands: Sequence[Sequence[Interval]], budget: float, kind: str
) -> list[Constraint]:
    """One constraint per set of bands, on the position of the cart before the step."""
    return [
        Constraint(f"position-{index}", _position_cost(intervals), budget, kind)
        for index, intervals in enumerate(bands, start=1)
    ]


def _position_cost(intervals: Sequence[Interval]) -> CostFunction:
    def cost(state: Any, action: Array, after: Any) -> Array:
        return indicator(state.x, intervals)

    return cost


def derive(params: Pytree) -> Pytree:
    """Parameters with the total mass (kg) and the pole's mass times its half length (kg m)."""
    return params.replace(
        total_mass=params.masscart + params.masspole,
        polemass_length=params.masspole * params.length,
    )


def picture_of(bands: Sequence[Sequence[Interval]]) -> Callable[[Any, Any], Picture]:
    """How a cart-pole with these bands is drawn, in metres; the pole is twice ``length``."""
    _, _, bottom, top = SCENE
    zones = tuple(
        (low, high, bottom, top, index)
        for index, intervals in enumerate(bands)
        for low, high in intervals
    )

    def picture(state: Any, params: Any) -> Picture:
        cart, angle = float(state.x), float(state.theta)
        pole = 2 * float(params.length)
        tip = (cart + pole * math.sin(angle), pole * math.cos(angle))
        left, right = cart - CART_WIDTH / 2, cart + CART_WIDTH / 2
        rail_end = float(params.x_threshold)
        rail = ((-rail_end, -CART_HEIGHT), (rail_end, -CART_HEIGHT))
        body = (
            (left, -CART_HEIGHT),
            (left, 0.0),
            (right, 0.0),
            (right, -CART_HEIGHT),
            (left, -CART_HEIGHT),
        )
        return Picture(SCENE, zones, lines=(rail, body, ((cart, 0.0), tip)))

    return picture


register_environment("cartpole-pos2", cartpole_pos2)
