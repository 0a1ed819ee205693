"""CRPO: constraint-rectified policy optimisation, without multipliers."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Exchange, Learner, Report, Time
from fedjax_rl.checks import not_negative
from fedjax_rl.cmdp.evaluate import Lagrangian, TabularPolicy, evaluate_exactly
from fedjax_rl.cmdp.sample import Evaluation
from fedjax_rl.learners.tabular.agent import Agent, TabularSettings
from fedjax_rl.learners.tabular.npg import NPGInfo, natural_step, npg


class CRPOSettings(NamedTuple):
    """Settings of learner crpo.

    Attributes:
        tolerance: how far above its budget a cost may be before the learner acts.
    """

    tolerance: Annotated[
        float, not_negative, "How far above its budget a cost may be, in its own units."
    ] = 0.0


class CRPOLocal(NamedTuple):
    """The local part of the state of CRPO, which never leaves the agent.

    Attributes:
        worst: [K], 1 at the agent's most violated cost, all zero when it has none.
        violators: share of agents that reported a violation in this round.
    """

    worst: jax.Array
    violators: jax.Array


def crpo(evaluation: Evaluation = evaluate_exactly) -> Learner:
    """Federated CRPO (arXiv 2011.05869): reward steps while all is well, else cost steps.

    Whether every V_cj ≤ d_j + tolerance is a global fact: before its local steps each agent
    reveals one bit, and all learn the share of agents that are violated. If it is zero, a round
    climbs A_r; otherwise the violated agents, k of them, each go down their worst cost with
    weight 1/k. Both are steps of η/N, as in FedNPG:

        θ_i ← θ_i + η/(1 − γ) · A_r/N            if nobody is violated
        θ_i ← θ_i − η/(1 − γ) · A_c(worst)/k     if agent i is

    What counts in the end are the policies that satisfied every budget; averages are over them.

    Args:
        evaluation: `evaluate_exactly`, or `evaluate_by_sampling(rollouts)`.

    Examples:
        The uniform policy has cost 1 and breaks the budget of ½; after a step down the cost the
        next one goes up the reward, to where it came from.

        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.runs import fednpg
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> run = fednpg(coin, learner="crpo", step_size=1.0, rounds=2)
        >>> run.history["cost/constraint-0"].round(3).tolist()
        [1.0, 0.238, 1.0]
    """
    base = npg(evaluation)

    def init(
        key: jax.Array, agent: Agent, hparams: TabularSettings
    ) -> tuple[TabularPolicy, CRPOLocal]:
        policy, _ = base.init(key, agent, hparams)
        zeros = jnp.zeros_like(agent.budgets)
        return policy, CRPOLocal(zeros, jnp.zeros(()))

    def send(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: CRPOLocal,
        agent: Agent,
        hparams: TabularSettings,
    ) -> tuple[jax.Array, jax.Array]:
        # Costs alone are asked for: there is nothing to ascend before all have answered.
        nothing = Lagrangian(jnp.zeros(()), jnp.zeros_like(agent.budgets), agent.costs)
        violation = evaluation(key, policy, nothing, hparams.model).cost_estimate - agent.budgets
        beyond = jnp.where(agent.watches, violation - hparams.own.tolerance, -jnp.inf)
        violated = jnp.max(beyond) > 0.0
        worst = (jnp.arange(beyond.shape[0]) == jnp.argmax(beyond)) & violated
        return violated.astype(violation.dtype), worst.astype(violation.dtype)

    def receive(local: CRPOLocal, worst: jax.Array, violators: jax.Array) -> CRPOLocal:
        return local._replace(worst=worst, violators=violators)

    def step(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: CRPOLocal,
        agent: Agent,
        hparams: TabularSettings,
    ) -> tuple[TabularPolicy, CRPOLocal, NPGInfo]:
        anyone = local.violators > 0.0
        # Over 1 where nobody is violated: of 1/0 the step below would make ∞ · 0, NaN.
        one_over_violated = agent.reward_weight / jnp.where(anyone, local.violators, 1.0)
        lagrangian = Lagrangian(
            jnp.where(anyone, 0.0, agent.reward_weight),
            one_over_violated * local.worst,
            agent.costs,
        )
        estimate = evaluation(key, policy, lagrangian, hparams.model)
        info = NPGInfo(estimate.value, estimate.cost_estimate, estimate.environment_steps)
        return natural_step(policy, estimate, hparams), local, info

    def report(policy: TabularPolicy, local: CRPOLocal) -> Report:
        return Report(policy, jnp.zeros_like(local.worst))

    def counts(costs: jax.Array, budgets: jax.Array, hparams: TabularSettings) -> jax.Array:
        return jnp.all(costs <= budgets + hparams.own.tolerance)

    return base._replace(
        init=init,
        step=step,
        report=report,
        exchanges=(Exchange(send, receive),),
        counts=counts,
        settings=CRPOSettings,
        multipliers=False,
    )
