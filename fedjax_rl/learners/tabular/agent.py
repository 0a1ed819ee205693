"""The data of an agent of a finite problem: its own costs, and settings common to all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.cmdp.access import split_weights
from fedjax_rl.cmdp.dynamics import Model
from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray


class TabularSettings(NamedTuple):
    """Traced settings of a tabular learner; all may be swept.

    Attributes:
        step_size: η, scalar.
        dual_step_size: η_λ, scalar; multiplied by each constraint's ``dual_scale``.
        multiplier_cap: λ_max, scalar, in the problem's own units.
        model: what every agent knows of the problem.
        own: what a learner has of its own, of the type of its ``settings``.
    """

    step_size: Array
    dual_step_size: Array
    multiplier_cap: Array
    model: Model
    own: Pytree = ()


class Agent(NamedTuple):
    """One agent's share of L_i = weight·V_r − Σ_{j∈Γ_i} w_ij λ_ij (V_cj − d_j).

    K is the largest number of constraints any agent watches; shorter rows are padded with zero
    costs that are not watched. Stacked over agents, every field has a leading axis N.

    Attributes:
        reward_weight: scalar, 1/N in a federation.
        weights: [K], w_ij.
        costs: [K, S, A], in the problem's own units.
        budgets: [K], d_j.
        dual_scale: [K], factor on η_λ, the rescaling to unit range.
        watches: [K] booleans, false on padding.
        constraint: [K] indices j, 0 on padding.
    """

    reward_weight: Array
    weights: Array
    costs: Array
    budgets: Array
    dual_scale: Array
    watches: Array
    constraint: Array


def federated_agents(
    problem: CMDP, access: BoolArray, dual_scale: FloatArray | None = None
) -> Agent:
    """The N agents of an access matrix Γ [N, M]: reward weight 1/N, w_ij = 1/|owners of j|.

    Args:
        problem: the finite problem.
        access: [N, M] booleans; every constraint has an owner.
        dual_scale: [M], ones unless given.

    Returns:
        `Agent` with leading axis N on every field; memory grows with N, not with N·M.
    """
    return _agents(problem, access, split_weights(access), 1.0 / len(access), dual_scale)


def lone_agents(problem: CMDP, access: BoolArray, dual_scale: FloatArray | None = None) -> Agent:
    """Agents that never communicate: each has full weight on the reward and its own costs.

    Args:
        problem: the finite problem.
        access: Γ [N, M] booleans.
        dual_scale: [M], ones unless given.

    Returns:
        `Agent` with leading axis N on every field.
    """
    return _agents(problem, access, access.astype(np.float64), 1.0, dual_scale)


def _agents(
    problem: CMDP,
    access: BoolArray,
    weights: FloatArray,
    reward_weight: float,
    dual_scale: FloatArray | None,
) -> Agent:
    width = max(1, int(access.sum(1).max()))
    constraint = np.argsort(~access, axis=1, kind="stable")[:, :width]
    watches = np.take_along_axis(access, constraint, axis=1)
    constraint = np.where(watches, constraint, 0)
    scale = np.ones(problem.num_constraints) if dual_scale is None else dual_scale

    def own(values: FloatArray) -> FloatArray:
        padding = watches.reshape(watches.shape + (1,) * (values.ndim - 1))
        return np.where(padding, values[constraint], 0.0)

    return Agent(
        reward_weight=np.full(len(access), reward_weight),
        weights=np.where(watches, np.take_along_axis(weights, constraint, axis=1), 0.0),
        costs=own(problem.costs),
        budgets=own(problem.budgets),
        dual_scale=own(scale),
        watches=watches,
        constraint=constraint,
    )


def effective_multipliers(
    agents: Agent,
    multipliers: FloatArray,
    num_constraints: int,
    merge_weights: FloatArray | None = None,
) -> FloatArray:
    """λ_j = Σ_i w_ij λ_ij, what counts of a constraint with several owners.

    With merge weights p_i the fixed point moves to where λ_j = N Σ_i p_i w_ij λ_ij.

    Args:
        agents: stacked agents, K slots each.
        multipliers: [..., N, K].
        num_constraints: M.
        merge_weights: p [N], summing to one; equal unless given.

    Returns:
        [..., M].
    """
    weighted = np.asarray(agents.weights) * multipliers
    if merge_weights is not None:
        weighted = len(merge_weights) * merge_weights[:, None] * weighted
    effective = np.zeros((*weighted.shape[:-2], num_constraints))
    slots: Any = (..., np.asarray(agents.constraint))
    np.add.at(effective, slots, weighted)
    return effective
