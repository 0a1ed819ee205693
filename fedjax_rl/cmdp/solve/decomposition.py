"""Dantzig–Wolfe decomposition on the M multipliers (Dantzig & Wolfe 1960).

The master program mixes deterministic policies, each a column (V_r, V_c1, …, V_cM):

    max Σ_k w_k V_r^k   s.t.  Σ_k w_k V_cj^k ≤ d_j,  Σ_k w_k = 1,  w ≥ 0

Its duals λ price the next column, the best policy for r − Σ_j λ_j c_j. Every pricing bounds V*
from above by g(λ) = max_π V_{r−λc} + λ·d, the master from below, so the answer carries its own
certificate. The Slater slack is found first in the same way (reward −Σ_j μ_j c_j, μ in the
simplex): its columns make the main master feasible from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.cmdp.solve.evaluation import state_visits
from fedjax_rl.cmdp.solve.highs import minimise
from fedjax_rl.cmdp.solve.policy_iteration import PricedPolicy, first_policy, price
from fedjax_rl.cmdp.solve.process import Process, bellman_operator_of_actions

GAP_TOLERANCE = 1e-10
"""Upper minus lower bound at which to stop, over the larger of 1 and the bound."""
MAX_COLUMNS = 2000


class Mixture(NamedTuple):
    """An optimum over mixtures of deterministic policies, in the units of the process.

    Attributes:
        columns: every policy priced so far, those of earlier stages first.
        weights: [number of columns], of the best mixture; sums to one.
        lower: what the mixture attains.
        upper: the least dual bound; upper − lower is the certified gap.
        multipliers: [M], the duals of the budgets that gave `upper`.
    """

    columns: tuple[PricedPolicy, ...]
    weights: FloatArray
    lower: float
    upper: float
    multipliers: FloatArray

    @property
    def values(self) -> FloatArray:
        """[1 + M], V_r and V_c of the mixture."""
        return self.weights @ np.stack([column.values for column in self.columns])


class _Master(NamedTuple):
    """weights [n] and objective of the mixture, duals [M] of the budgets."""

    weights: FloatArray
    objective: float
    multipliers: FloatArray


def solve_slack(process: Process) -> Mixture:
    """The Slater slack: max ξ s.t. Σ_k w_k V_cj^k + u_j ξ ≤ d_j over mixtures.

    The bounds are in units of `slack_scale`; see `Process.slack_weights` for u.
    """
    weights = np.append(0.0, -process.slack_weights)
    start = price(process, weights, first_policy(process, weights)).policy
    return _generate(process, (start,), _slack_master, reward_weight=0.0)


def solve_decomposition(process: Process, slack: Mixture) -> Mixture:
    """The largest V_r over mixtures within the budgets, from the columns of the Slater problem.

    Args:
        process: the problem in the solvers' units.
        slack: result of `solve_slack`, whose slack must not be negative beyond rounding.

    Raises:
        ProgramFailure: status 2 if the budgets cannot be met.
    """
    reward_only = np.append(1.0, np.zeros(len(process.budgets)))
    start = _best_start(slack.columns, reward_only)
    unconstrained = price(process, reward_only, start).policy
    columns = (
        slack.columns
        if _known(slack.columns, unconstrained)
        else (
            *slack.columns,
            unconstrained,
        )
    )
    return _generate(process, columns, _reward_master, reward_weight=1.0)


def mixed_occupancy(process: Process, mixture: Mixture) -> FloatArray:
    """Σ_k w_k q_k, [S, A]: the occupancy that attains the mixture's values."""
    occupancy = np.zeros(process.support.shape)
    states = np.arange(len(occupancy))
    for column, weight in zip(mixture.columns, mixture.weights, strict=True):
        if weight > 0:
            operator = bellman_operator_of_actions(process, column.actions)
            occupancy[states, column.actions] += weight * state_visits(process, operator)
    return occupancy


def _generate(
    process: Process,
    columns: tuple[PricedPolicy, ...],
    master: Callable[[Process, FloatArray], _Master],
    reward_weight: float,
) -> Mixture:
    """Column generation until the gap closes or pricing finds nothing new."""
    upper, multipliers = np.inf, np.zeros(len(process.budgets))
    while True:
        mixed = master(process, np.stack([column.values for column in columns]))
        weights = np.append(reward_weight, -mixed.multipliers)
        priced = price(process, weights, _best_start(columns, weights))
        bound = priced.upper + float(mixed.multipliers @ process.budgets)
        if bound < upper:
            upper, multipliers = bound, mixed.multipliers
        closed = upper - mixed.objective <= GAP_TOLERANCE * max(1.0, abs(upper))
        if closed or _known(columns, priced.policy) or len(columns) >= MAX_COLUMNS:
            return Mixture(columns, mixed.weights, mixed.objective, upper, multipliers)
        columns = (*columns, priced.policy)


def _reward_master(process: Process, values: FloatArray) -> _Master:
    result = minimise(
        -values[:, 0],
        upper=(values[:, 1:].T, process.budgets),
        equal=(np.ones((1, len(values))), np.ones(1)),
    )
    weights = _distribution(result.x)
    multipliers = np.maximum(-result.ineqlin.marginals, 0.0)
    return _Master(weights, float(weights @ values[:, 0]), multipliers)


def _slack_master(process: Process, values: FloatArray) -> _Master:
    count = len(values)
    bounds = np.tile([0.0, np.inf], (count + 1, 1))
    bounds[-1, 0] = -np.inf
    result = minimise(
        np.append(np.zeros(count), -1.0),
        upper=(
            np.concatenate([values[:, 1:].T, process.slack_weights[:, None]], axis=1),
            process.budgets,
        ),
        equal=(np.append(np.ones(count), 0.0)[None], np.ones(1)),
        bounds=bounds,
    )
    weights = _distribution(result.x[:-1])
    slack = ((process.budgets - weights @ values[:, 1:]) / process.slack_weights).min()
    multipliers = np.maximum(-result.ineqlin.marginals, 0.0)
    return _Master(weights, float(slack), multipliers / (multipliers @ process.slack_weights))


def _distribution(weights: FloatArray) -> FloatArray:
    clipped = np.maximum(weights, 0.0)
    return clipped / clipped.sum()


def _best_start(columns: tuple[PricedPolicy, ...], weights: FloatArray) -> PricedPolicy:
    return max(columns, key=lambda column: float(weights @ column.values))


def _known(columns: tuple[PricedPolicy, ...], policy: PricedPolicy) -> bool:
    return any(np.array_equal(column.actions, policy.actions) for column in columns)
