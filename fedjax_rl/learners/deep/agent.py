"""The data of a deep agent: its own constraints, and settings common to all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.cmdp.access import split_weights
from fedjax_rl.cmdp.model import BoolArray
from fedjax_rl.envs.task import Task
from fedjax_rl.ops.duals import DualSettings


class DeepAgent(NamedTuple):
    """One agent's share of L_i = weight·J_r − Σ_{j∈Γ_i} w_ij λ_ij (J_cj − d_j).

    K is the largest number of constraints any agent watches; shorter rows are padded with slots
    that are not watched. Stacked over agents, every leaf has a leading axis N.

    Attributes:
        reward_weight: scalar, 1/N in a federation.
        weights: [K], w_ij.
        budgets: [K], d_j.
        dual_scale: [K], factor on J − d.
        watches: [K] booleans, false on padding.
        constraint: [K] indices j, 0 on padding.
        per_step: [K] booleans, budgets of the mean cost per step.
        bootstraps: [K] booleans, costs that go on after a time limit.
        discount: [K], γ of each cost.
        params: the environment's parameters.
    """

    reward_weight: Array
    weights: Array
    budgets: Array
    dual_scale: Array
    watches: Array
    constraint: Array
    per_step: Array
    bootstraps: Array
    discount: Array
    params: Pytree


class DeepSettings(NamedTuple):
    """Traced settings of a deep learner, all scalars; all may be swept.

    Attributes:
        learning_rate: Adam's, at the start.
        learning_rate_decay: share of it that is gone after ``total_updates``, in [0, 1].
        total_updates: local steps in the whole run.
        clip: ε of the clipped surrogate.
        discount: γ of the reward.
        gae_decay: λ of the reward's advantages.
        cost_gae_decay: λ of the costs' advantages.
        entropy_weight: of the entropy bonus.
        kl_target: mean KL divergence at which the policy's learning rate aims, nats.
        kl_limit: mean KL divergence at which an update stops, nats.
        gradient_norm: largest norm of each network's gradient.
        duals: settings of the multipliers.
        margin: share of each budget below it at which multipliers aim.
        tolerance: how far above its budget a cost may be for CRPO, in units of 1/dual_scale.
        radius: δ, largest mean KL divergence of a natural step, nats.
        damping: added to the Fisher matrix's diagonal.
    """

    learning_rate: Array
    learning_rate_decay: Array
    total_updates: Array
    clip: Array
    discount: Array
    gae_decay: Array
    cost_gae_decay: Array
    entropy_weight: Array
    kl_target: Array
    kl_limit: Array
    gradient_norm: Array
    duals: DualSettings
    margin: Array
    tolerance: Array
    radius: Array
    damping: Array


def deep_agents(
    task: Task,
    access: BoolArray,
    params: Pytree,
    *,
    alone: bool = False,
    relative: bool = True,
) -> DeepAgent:
    """The N agents of an access matrix Γ [N, M]: reward weight 1/N, w_ij = 1/|owners of j|.

    Args:
        task: whose constraints they share.
        access: [N, M] booleans. Rows may be empty, and K is 0 when all are.
        params: of the environment, leading axis N.
        alone: agents that never communicate: full weight on the reward and their own costs.
        relative: whether violations count in budgets: dual_scale = 1/d (1 where d = 0).

    Returns:
        `DeepAgent` with leading axis N.
    """
    num_agents = len(access)
    width = int(access.sum(1).max())
    constraint = np.argsort(~access, axis=1, kind="stable")[:, :width].astype(np.int32)
    watches = np.take_along_axis(access, constraint, axis=1)
    constraint = np.where(watches, constraint, 0).astype(np.int32)
    weights = access.astype(np.float64) if alone else split_weights(access)
    sizes = np.abs(task.budgets)
    scale = np.where(sizes > 0, 1.0 / np.where(sizes > 0, sizes, 1.0), 1.0)
    kinds = np.array(task.kinds)

    def own(values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        return np.where(watches, values[constraint], 0).astype(dtype)

    return DeepAgent(
        reward_weight=np.full(num_agents, 1.0 if alone else 1.0 / num_agents, np.float32),
        weights=np.where(watches, np.take_along_axis(weights, constraint, 1), 0.0).astype(
            np.float32
        ),
        budgets=own(task.budgets),
        dual_scale=own(scale if relative else np.ones_like(scale)),
        watches=watches,
        constraint=constraint,
        per_step=own(kinds == "step", bool),
        bootstraps=own(kinds != "episode", bool),
        discount=own(np.where(kinds == "episode", 1.0, task.cost_discount)),
        params=params,
    )
