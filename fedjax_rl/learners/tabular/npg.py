"""The natural policy gradient learner of FedNPG: one agent on its own Lagrangian."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Learner, Report, Time
from fedjax_rl.cmdp.evaluate import (
    Estimate,
    Lagrangian,
    TabularPolicy,
    evaluate_exactly,
    evaluated,
    uniform_logits,
)
from fedjax_rl.cmdp.sample import Evaluation
from fedjax_rl.learners.tabular.agent import Agent, TabularSettings


class NPGLocal(NamedTuple):
    """The local part of the state of NPG, which never leaves the agent.

    Attributes:
        multipliers: [K], λ_ij in the problem's own units.
    """

    multipliers: jax.Array


class NPGInfo(NamedTuple):
    """Metrics of one local step.

    Attributes:
        value: scalar, V_r(ρ) of the agent's policy before the step.
        cost_estimate: [K], V_cj(ρ) likewise.
        environment_steps: transitions drawn from the environment.
    """

    value: jax.Array
    cost_estimate: jax.Array
    environment_steps: jax.Array


def npg(evaluation: Evaluation = evaluate_exactly) -> Learner:
    """Natural policy gradient ascent on L_i with a projected dual step (arXiv 2405.03236).

    With π = softmax(θ) the natural gradient has the closed form A/(1 − γ), and one local step
    of agent i, everything evaluated at the policy before the step, is

        θ_i  ← θ_i + η/(1 − γ) · ( A_r/N − Σ_{j∈Γ_i} w_ij λ_ij A_cj )
        λ_ij ← clip( λ_ij + η_λ (V_cj(ρ) − d_j), 0, λ_max )

    Args:
        evaluation: `evaluate_exactly`, or `evaluate_by_sampling(rollouts)`.

    Returns:
        A learner that shares its policy, sends ``logits`` and keeps its multipliers [K].

    Examples:
        One step of η = η_λ = 1 from the uniform policy, whose A_r is (−½, ½) and whose V_c is 1.

        >>> import jax
        >>> import numpy as np
        >>> from fedjax_rl.algorithm import Time
        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.cmdp.dynamics import model_of
        >>> from fedjax_rl.learners.tabular.agent import TabularSettings, federated_agents
        >>> from fedjax_rl.precision import precision
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> settings = TabularSettings(1.0, 1.0, multiplier_cap=10.0, model=model_of(coin))
        >>> agents = federated_agents(coin, np.array([[True]]))
        >>> agent = jax.tree.map(lambda leaf: leaf[0], agents)
        >>> learner, key = npg(), jax.random.key(0)
        >>> with precision(learner.float64):
        ...     policy, local = learner.init(key, agent, settings)
        ...     policy, local, _ = learner.step(key, Time(1, 0), policy, local, agent, settings)
        >>> policy.logits.round(6).tolist(), local.multipliers.round(6).tolist()
        ([[-1.0, 1.0]], [0.5])
    """

    def init(key: jax.Array, agent: Agent, hparams: TabularSettings) -> tuple:
        logits = uniform_logits(hparams.model.support)
        return evaluated(logits, hparams.model), NPGLocal(jnp.zeros_like(agent.budgets))

    def step(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: NPGLocal,
        agent: Agent,
        hparams: TabularSettings,
    ) -> tuple[TabularPolicy, NPGLocal, NPGInfo]:
        lagrangian = Lagrangian(agent.reward_weight, agent.weights * local.multipliers, agent.costs)
        estimate = evaluation(key, policy, lagrangian, hparams.model)
        # One evaluation for both: λ answers to the policy before the step, as in the paper.
        ascended = natural_step(policy, estimate, hparams)
        violation = estimate.cost_estimate - agent.budgets
        multipliers = dual_step(local.multipliers, violation, agent, hparams)
        info = NPGInfo(estimate.value, estimate.cost_estimate, estimate.environment_steps)
        return ascended, NPGLocal(multipliers), info

    def message(policy: TabularPolicy) -> jax.Array:
        return policy.logits

    def adopt(policy: TabularPolicy, merged: jax.Array, hparams: TabularSettings) -> TabularPolicy:
        return evaluated(merged, hparams.model)

    def report(policy: TabularPolicy, local: NPGLocal) -> Report:
        return Report(policy, local.multipliers)

    return Learner(init, step, message, adopt, report, message_kind="logits", float64=True)


def natural_step(
    policy: TabularPolicy, estimate: Estimate, hparams: TabularSettings
) -> TabularPolicy:
    """θ ← θ + η/(1 − γ) A on the support: the natural gradient of a softmax policy.

    Its closed form is that of arXiv 2405.03236.

    Args:
        policy: softmax(θ), θ [S, A].
        estimate: for the advantage A [S, A].
        hparams: η and the model, with γ and the support.
    """
    chex.assert_rank(policy.logits, 2)
    chex.assert_equal_shape([policy.logits, estimate.advantage])
    ascent = hparams.step_size / (1.0 - hparams.model.discount) * estimate.advantage
    logits = policy.logits + jnp.where(hparams.model.support, ascent, 0.0)
    return evaluated(logits, hparams.model)


def dual_step(
    multipliers: jax.Array, violation: jax.Array, agent: Agent, hparams: TabularSettings
) -> jax.Array:
    """λ ← clip(λ + η_λ violation, 0, λ_max) on the agent's K constraints; padding stays 0.

    Args:
        multipliers: [K].
        violation: [K], V_c(ρ) − d or what stands for it.
        agent: its scale of η_λ and which slots it watches.
        hparams: η_λ and λ_max.
    """
    chex.assert_rank(multipliers, 1)
    chex.assert_equal_shape([multipliers, violation, agent.dual_scale])
    raised = multipliers + hparams.dual_step_size * agent.dual_scale * violation
    return jnp.where(agent.watches, jnp.clip(raised, 0.0, hparams.multiplier_cap), 0.0)
