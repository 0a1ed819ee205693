"""OPG-PD: optimistic projected primal–dual, whose last iterate converges."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Learner, Report, Time
from fedjax_rl.cmdp.evaluate import (
    NO_SUPPORT,
    Lagrangian,
    TabularPolicy,
    evaluate_exactly,
    evaluated,
    uniform_logits,
)
from fedjax_rl.cmdp.sample import Evaluation
from fedjax_rl.learners.tabular.agent import Agent, TabularSettings
from fedjax_rl.learners.tabular.npg import NPGInfo, dual_step
from fedjax_rl.ops.projection import onto_simplex


class OptimisticShared(NamedTuple):
    """The shared part of the state, which a merge replaces.

    Attributes:
        policy: π_t, the policy that is evaluated and reported.
        anchor: [S, A], π̂_t, which the optimistic step starts from.
        point: [S, A], π̂_t + η Q_t before it is projected; the message.
    """

    policy: TabularPolicy
    anchor: jax.Array
    point: jax.Array


class OptimisticLocal(NamedTuple):
    """The local part of the state, which never leaves the agent.

    Attributes:
        multipliers: [K], λ_t.
        anchor: [K], λ̂_t.
    """

    multipliers: jax.Array
    anchor: jax.Array


def optimistic(evaluation: Evaluation = evaluate_exactly) -> Learner:
    """Optimistic projected primal–dual, OPG-PD (arXiv 2306.11700).

    With Q_t and g_t = V_c(ρ) − d evaluated at (π_t, λ_t) and Π the Euclidean projection, on the
    simplex of each state and on [0, λ_max],

        π̂_{t+1} = Π(π̂_t + η Q_t)       π_{t+1} = Π(π̂_{t+1} + η Q_t)
        λ̂_{t+1} = Π(λ̂_t + η_λ g_t)     λ_{t+1} = Π(λ̂_{t+1} + η_λ g_t)

    A mean of projections is not the projection of a mean. So agents send the unprojected point
    π̂_t + η Q_{i,t} and project after the merge, which also tells them η Q_t: one round is then
    exactly the centralised step at η/N. With several local steps there would be no such point,
    hence one is all it takes. Advantages stand for Q: a constant per state does not move Π.

    Args:
        evaluation: `evaluate_exactly`, or `evaluate_by_sampling(rollouts)`.

    Returns:
        A learner that sends ``points`` and merges after every step.

    Examples:
        The last policy is the optimal one, which takes action 1 with probability d (1 − γ) = ¼.

        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.runs import fednpg
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> run = fednpg(coin, learner="optimistic", step_size=0.5, dual_step_size=0.5, rounds=1000)
        >>> run.outcome.last_policy.round(3).tolist(), run.outcome.multipliers.round(3).tolist()
        ([[0.75, 0.25]], [[1.0]])
    """

    def init(
        key: jax.Array, agent: Agent, hparams: TabularSettings
    ) -> tuple[OptimisticShared, OptimisticLocal]:
        policy = evaluated(uniform_logits(hparams.model.support), hparams.model)
        zeros = jnp.zeros_like(agent.budgets)
        anchor = policy.probabilities
        point = jnp.where(hparams.model.support, anchor, NO_SUPPORT)
        return OptimisticShared(policy, anchor, point), OptimisticLocal(zeros, zeros)

    def step(
        key: jax.Array,
        time: Time,
        shared: OptimisticShared,
        local: OptimisticLocal,
        agent: Agent,
        hparams: TabularSettings,
    ) -> tuple[OptimisticShared, OptimisticLocal, NPGInfo]:
        lagrangian = Lagrangian(agent.reward_weight, agent.weights * local.multipliers, agent.costs)
        estimate = evaluation(key, shared.policy, lagrangian, hparams.model)
        point = jnp.where(
            hparams.model.support,
            shared.anchor + hparams.step_size * estimate.advantage,
            NO_SUPPORT,
        )
        violation = estimate.cost_estimate - agent.budgets
        anchor = dual_step(local.anchor, violation, agent, hparams)
        multipliers = dual_step(anchor, violation, agent, hparams)
        info = NPGInfo(estimate.value, estimate.cost_estimate, estimate.environment_steps)
        return shared._replace(point=point), OptimisticLocal(multipliers, anchor), info

    def message(shared: OptimisticShared) -> jax.Array:
        return shared.point

    def adopt(
        shared: OptimisticShared, merged: jax.Array, hparams: TabularSettings
    ) -> OptimisticShared:
        project = jax.vmap(onto_simplex)
        anchor = project(merged)
        policy = project(anchor + merged - shared.anchor)
        # A projection reaches 0 exactly, and logits of −∞ are not finite.
        logits = jnp.maximum(jnp.log(policy), NO_SUPPORT)
        return OptimisticShared(evaluated(logits, hparams.model), anchor, merged)

    def report(shared: OptimisticShared, local: OptimisticLocal) -> Report:
        return Report(shared.policy, local.multipliers)

    return Learner(
        init,
        step,
        message,
        adopt,
        report,
        message_kind="points",
        merges_every_step=True,
        float64=True,
    )
