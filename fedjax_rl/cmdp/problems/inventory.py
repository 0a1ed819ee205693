"""Stochastic inventory control, where a shop asks for service and a haulier for few trips."""

from __future__ import annotations

import math

import numpy as np

from fedjax_rl.checks import check_count, checked, not_negative, positive
from fedjax_rl.cmdp.model import CMDP, from_arrays

BUDGETS = (4.0, 3.5)


def inventory(
    capacity: int = 8,
    demand: float = 2.0,
    order_cost: float = 4.0,
    unit_cost: float = 2.0,
    holding_cost: float = 1.0,
    scale: float = 1.0,
    discount: float = 0.9,
) -> CMDP:
    """Inventory with lost sales (after Puterman 1994, section 3.2) and a service constraint.

    With s units in stock one orders a ≤ C − s more, which come at once; then a Poisson demand D
    is met from y = s + a as far as that goes. The reward is minus what it costs: K for an order,
    c for each of its units, h for each of the y units held, all times a scale. Timing, costs and
    their values are Puterman's; that sales do not count as revenue but unmet demand as a cost,
    E[(D − y)⁺], of which the shop allows so much, is ours, and so is the haulier, for whom an
    order costs 1. Without the shop nothing is ever ordered.

    Args:
        capacity: C, units; there are C + 1 states and as many actions.
        demand: mean of D, units in a period.
        order_cost: K.
        unit_cost: c.
        holding_cost: h.
        scale: what rewards are multiplied with, and with them the multipliers.
        discount: γ in [0, 1); budgets do not follow it.

    Raises:
        InvalidInput: no capacity, a negative cost, or a demand or scale that is not positive.
    """
    check_count("capacity", capacity, least=1)
    checked("demand", demand, positive)
    checked("scale", scale, positive)
    prices = {"order_cost": order_cost, "unit_cost": unit_cost, "holding_cost": holding_cost}
    for field, value in prices.items():
        checked(field, value, not_negative)

    size = capacity + 1
    stock, order = np.arange(size)[:, None], np.arange(size)[None, :]
    possible = stock + order <= capacity
    filled = np.minimum(stock + order, capacity)
    sold, unmet = _sales(capacity, demand)
    transition = np.zeros((size, size, size))
    for held in range(size):
        transition[filled == held, : held + 1] = sold[held, held::-1]
    ordered = np.broadcast_to(order > 0, possible.shape)
    expense = order_cost * ordered + unit_cost * order + holding_cost * filled
    return from_arrays(
        transition,
        np.where(possible, -scale * expense, 0.0),
        np.where(possible, np.stack([unmet[filled], ordered]), 0.0),
        BUDGETS,
        np.eye(size)[0],
        discount,
        support=possible,
        constraint_names=["shop", "haulier"],
    )


def _sales(capacity: int, demand: float) -> tuple[np.ndarray, np.ndarray]:
    """P(min(D, y) = k), [C + 1, C + 1] by y and k, and E[(D − y)⁺], [C + 1], for Poisson D."""
    units = range(capacity + 1)
    logarithms = [k * math.log(demand) - demand - math.lgamma(k + 1) for k in units]
    probability = np.exp(logarithms)
    sold = np.tril(np.tile(probability, (capacity + 1, 1)), -1)
    # All demand of y or more sells y: no tail is cut off.
    sold[np.diag_indices(capacity + 1)] = 1.0 - sold.sum(1)
    return sold, demand - sold @ np.arange(capacity + 1)
