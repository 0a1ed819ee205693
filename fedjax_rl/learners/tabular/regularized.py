"""RPG-PD: a regularised Lagrangian whose saddle point the last iterate reaches."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Learner, Time
from fedjax_rl.checks import not_negative
from fedjax_rl.cmdp.evaluate import Lagrangian, TabularPolicy, evaluate_exactly
from fedjax_rl.cmdp.sample import Evaluation
from fedjax_rl.learners.tabular.agent import Agent, TabularSettings
from fedjax_rl.learners.tabular.npg import NPGInfo, NPGLocal, dual_step, natural_step, npg


class RegularizedSettings(NamedTuple):
    """Settings of learner regularized.

    Attributes:
        regularization: τ, weight of entropy and of ½λ².
    """

    regularization: Annotated[float, not_negative, "τ, in the problem's own units of reward."] = 0.0


def regularized(evaluation: Evaluation = evaluate_exactly) -> Learner:
    """NPG on a Lagrangian with entropy and ½ τ λ² added, RPG-PD (arXiv 2306.11700).

    Agent i takes its share τ/N of the entropy, which enters as the bonus −(τ/N) log π in its
    signal, and its own quadratic terms:

        θ_i  ← θ_i + η/(1 − γ) · A of ( r/N − Σ_j w_ij λ_ij c_j − (τ/N) log π )
        λ_ij ← clip( λ_ij + η_λ (V_cj(ρ) − d_j − τ λ_ij), 0, λ_max )

    The last iterate settles at a point whose distance from the optimum is O(τ); τ is
    ``regularization``, in the problem's own units of reward.

    Args:
        evaluation: `evaluate_exactly`, or `evaluate_by_sampling(rollouts)`.

    Examples:
        At a point of rest of τ = ½ it holds that ½ log(p / (1 − p)) = 1 − λ and ½ λ = V_c − d, with
        V_c = 2p for the probability p of action 1: p = ½ and λ = 1 for d = ½.

        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.runs import fednpg
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> steps = {"step_size": 0.1, "dual_step_size": 0.1, "rounds": 1000}
        >>> run = fednpg(coin, learner="regularized", regularization=0.5, **steps)
        >>> run.outcome.last_policy.round(6).tolist(), run.outcome.multipliers.round(6).tolist()
        ([[0.5, 0.5]], [[1.0]])
    """

    def step(
        key: jax.Array,
        time: Time,
        policy: TabularPolicy,
        local: NPGLocal,
        agent: Agent,
        hparams: TabularSettings,
    ) -> tuple[TabularPolicy, NPGLocal, NPGInfo]:
        model = hparams.model
        entropy_weight = hparams.own.regularization * agent.reward_weight
        log_policy = jax.nn.log_softmax(policy.logits)
        bonus = jnp.where(model.support, -entropy_weight * log_policy, 0.0)
        lagrangian = Lagrangian(
            agent.reward_weight, agent.weights * local.multipliers, agent.costs, bonus
        )
        estimate = evaluation(key, policy, lagrangian, model)
        violation = estimate.cost_estimate - agent.budgets
        regularized = violation - hparams.own.regularization * local.multipliers
        multipliers = dual_step(local.multipliers, regularized, agent, hparams)
        info = NPGInfo(estimate.value, estimate.cost_estimate, estimate.environment_steps)
        return natural_step(policy, estimate, hparams), NPGLocal(multipliers), info

    return npg(evaluation)._replace(step=step, settings=RegularizedSettings)
