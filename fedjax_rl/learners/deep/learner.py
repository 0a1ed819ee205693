"""The local step that deep learners share: act, estimate, move the multipliers, improve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Learner, Pytree, Report, Time
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.merging import adopt, measures_length, message, objective_scale
from fedjax_rl.learners.deep.multipliers import PENALTY, VIOLATION, multipliers_of
from fedjax_rl.learners.deep.pace import rates_of
from fedjax_rl.learners.deep.preconditioner import divisors
from fedjax_rl.learners.deep.reward_range import no_rewards
from fedjax_rl.learners.deep.rollout import begin
from fedjax_rl.learners.deep.stages import acted, concluded, objective_of, parameters_of
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
from fedjax_rl.ops.duals import no_multipliers

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
    scales, shares = design.choices.scale_observations != "none", design.choices.share_critic
    rectifies, common = design.choices.duals == "crpo", design.choices.common_preconditioner
    adapted = parameters._replace(actor=None) if common else parameters
    shared = DeepShared(
        actor=parameters.actor,
        critic=critic if shares else None,
        observations=moments if scales else None,
        origin=moments.mean if scales else None,
        lengths=jnp.zeros(3) if measures_length(design.choices) else None,
        second_moment=jax.tree.map(jnp.zeros_like, parameters.actor) if common else None,
        travelled=jnp.zeros(()) if common else None,
    )
    local = DeepLocal(
        critic=None if shares else critic,
        cost_critic=cost_critic,
        optimizer=optax.scale_by_adam(eps=1e-5).init(adapted),
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
    key_rollout, key_improve = jax.random.split(key)
    experience = acted(design, key_rollout, shared, local, agent, hparams)
    objective = objective_of(design, experience, shared, local, agent, hparams)
    rates = rates_of(local, hparams)
    if shared.second_moment is not None:
        rates = rates._replace(divisors=divisors(shared.second_moment))
    improved = improve(
        key_improve,
        parameters_of(shared, local),
        local.optimizer,
        objective.batch,
        rates,
        hparams,
    )
    return concluded(experience, objective, improved, shared, local, agent, hparams)


def report(design: Design, shared: DeepShared, local: DeepLocal) -> Report:
    """The networks that are merged, and λ_ij [K].

    Args:
        design: for K.
        shared: what was merged last.
        local: the agent's own.
    """
    return Report(shared, multipliers_of(design.slots, local.duals))
