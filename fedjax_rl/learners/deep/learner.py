"""The local step that deep learners share: act, estimate, move the multipliers, improve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Learner, Pytree, Report, Time
from fedjax_rl.learners.deep.advantages import estimate, estimate_costs
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.batch import (
    batch_of,
    critic_of,
    observed,
    policy_of,
    rescaled,
    values_of,
)
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.merging import (
    adopt,
    measures_length,
    message,
    objective_scale,
    step_lengths,
)
from fedjax_rl.learners.deep.multipliers import (
    PENALTY,
    VIOLATION,
    dual_step,
    lagrangian_weights,
    satisfied_after,
)
from fedjax_rl.learners.deep.pace import adapted, rates_of
from fedjax_rl.learners.deep.reward_range import no_rewards, sizes, updated, worth_of
from fedjax_rl.learners.deep.rollout import begin, collect
from fedjax_rl.learners.deep.state import (
    Batch,
    DeepInfo,
    DeepLocal,
    DeepShared,
    Improvement,
    Parameters,
    Rates,
)
from fedjax_rl.ops import moments as running
from fedjax_rl.ops.duals import DualState, caps, no_multipliers

Improve = Callable[
    [Any, Parameters, Pytree, Batch, Rates, DeepSettings],
    tuple[Parameters, Pytree, Improvement],
]
"""(key, parameters, optimizer, batch, rates, hparams) -> improved."""

EXCHANGES = {"crpo": (VIOLATION,), "multiplicative": (PENALTY,)}
"""What agents say of their constraints ahead of a round, for each rule that needs it."""


def deep_learner(design: Design, improve: Improve) -> Learner:
    """A learner of rollouts: everything but how networks are improved from a batch.

    One local step of agent i acts with its policy, estimates its own costs, moves its
    multipliers and then improves its policy on its own Lagrangian (arXiv 2405.03236).

    Args:
        design: task and networks.
        improve: the policy and critic step.

    Returns:
        A learner that shares its actor (and reward critic, and moments of observations), sends
        ``parameters`` and keeps its multipliers, cost critic and optimiser.
    """
    choices = design.choices
    return Learner(
        init=partial(initial, design),
        step=partial(local_step, design, improve),
        message=message,
        adopt=adopt,
        report=partial(report, design),
        message_kind="parameters",
        exchanges=EXCHANGES.get(choices.duals, ()),
        weight=objective_scale if choices.weigh_merge else None,
    )


def initial(
    design: Design, key: jax.Array, agent: DeepAgent, hparams: DeepSettings
) -> tuple[DeepShared, DeepLocal]:
    """Networks, λ = 0 [K] where there are multipliers, and B environments that begin.

    Args:
        design: task and networks.
        key: of the networks and environments.
        agent: its environment's parameters.
        hparams: not read.
    """
    key_actor, key_critic, key_costs, key_environments = jax.random.split(key, 4)
    critic = design.critic.init(key_critic)
    cost_critic = design.cost_critic.init(key_costs) if design.slots else None
    parameters = Parameters(design.actor.init(key_actor), critic, cost_critic)
    moments = running.no_moments(design.features)
    normalizes, shares = design.choices.normalize_observations, design.choices.share_critic
    rectifies = design.choices.duals == "crpo"
    shared = DeepShared(
        actor=parameters.actor,
        critic=critic if shares else None,
        observations=moments if normalizes else None,
        origin=moments.mean if normalizes else None,
        lengths=jnp.zeros(3) if measures_length(design.choices) else None,
    )
    local = DeepLocal(
        critic=None if shares else critic,
        cost_critic=cost_critic,
        optimizer=optax.scale_by_adam(eps=1e-5).init(parameters),
        duals=None if rectifies else no_multipliers(design.slots),
        objective_scale=jnp.ones(()),
        satisfied=jnp.ones((), bool) if rectifies else None,
        all_satisfied=jnp.ones((), bool) if rectifies else None,
        returns=running.no_moments(1 + design.slots) if design.choices.scale_returns else None,
        rewards=no_rewards(),
        others=jnp.zeros(()) if design.choices.duals == "multiplicative" else None,
        environments=begin(key_environments, agent.params, design),
        updates=jnp.zeros((), jnp.int32),
        pace=jnp.ones(()) if design.choices.adapts_pace else None,
    )
    return shared, local


def local_step(
    design: Design,
    improve: Improve,
    key: jax.Array,
    time: Time,
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[DeepShared, DeepLocal, DeepInfo]:
    """Acts, estimates the agent's K costs, moves λ, improves the policy on its Lagrangian.

    Args:
        design: task and networks.
        improve: the policy and critic step.
        key: of this step.
        time: round and local step.
        shared: what was merged last.
        local: the agent's own.
        agent: its constraints [K] and environment.
        hparams: traced settings.
    """
    rule = design.choices.duals
    key_rollout, key_improve = jax.random.split(key)
    rollout, environments = collect(
        key_rollout, policy_of(design, shared), local.environments, agent.params, design
    )
    values = values_of(design, shared, local, rollout)
    cost_estimate = estimate_costs(rollout, values, agent, design)
    estimates = estimate(rollout, values, agent, hparams)
    rewards = updated(local.rewards, rollout, estimates.targets[..., 0])
    most = caps(hparams.duals, sizes(rewards, agent), agent.budgets)
    worth = worth_of(rewards, agent, jnp.zeros(()) if local.others is None else local.others)
    # λ before θ: the policy is improved on the Lagrangian that its own costs have just moved.
    duals = dual_step(rule, local.duals, cost_estimate, most, worth, agent, hparams)
    weights = lagrangian_weights(duals, cost_estimate, local.all_satisfied, agent, hparams)
    # CRPO's weights are one or nothing; divided by their sum, nothing would be NaN.
    divisor = jnp.ones(()) if duals is None else weights.sum()
    returns, scale = rescaled(local.returns, estimates.targets)
    batch, deviation = batch_of(design, shared, rollout, estimates, weights / divisor, scale)
    parameters, optimizer, improvement = improve(
        key_improve,
        Parameters(shared.actor, critic_of(shared, local), local.cost_critic),
        local.optimizer,
        batch,
        rates_of(local, hparams),
        hparams,
    )
    multipliers = multipliers_of(design, duals)
    info = DeepInfo(
        episodes=rollout.episodes,
        episode_sums=rollout.episode_sums,
        step_costs=rollout.signals[..., 1:].mean((0, 1)),
        multipliers=multipliers,
        at_cap=(multipliers >= most).sum(),
        environment_steps=jnp.int32(design.choices.rollout * design.choices.envs),
        improvement=improvement,
    )
    shared = shared._replace(actor=parameters.actor, observations=observed(shared, rollout))
    scale_of_objective = divisor * deviation
    if shared.lengths is not None:
        lengths = step_lengths(estimates, weights, scale_of_objective, agent)
        shared = shared._replace(lengths=lengths)
    local = local._replace(
        cost_critic=parameters.cost_critic,
        optimizer=optimizer,
        duals=duals,
        # A step that is shorter for its pace counts as if it were not.
        objective_scale=scale_of_objective / (1.0 if local.pace is None else local.pace),
        satisfied=satisfied_after(local.satisfied, cost_estimate, agent, hparams),
        returns=returns,
        rewards=rewards,
        environments=environments,
        updates=local.updates + 1,
        pace=None if local.pace is None else adapted(local.pace, improvement.kl, hparams),
    )
    if shared.critic is None:
        return shared, local._replace(critic=parameters.critic), info
    return shared._replace(critic=parameters.critic), local, info


def multipliers_of(design: Design, duals: DualState | None) -> jax.Array:
    """λ [K], zeros where there are none.

    Args:
        design: for K.
        duals: of the agent; None under CRPO.
    """
    return jnp.zeros(design.slots) if duals is None else duals.multipliers


def report(design: Design, shared: DeepShared, local: DeepLocal) -> Report:
    """The networks that are merged, and λ_ij [K].

    Args:
        design: for K.
        shared: what was merged last.
        local: the agent's own.
    """
    return Report(shared, multipliers_of(design, local.duals))
