"""The parts of an agent's local step: it acts, says what it improves, and goes on from there."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
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
from fedjax_rl.learners.deep.merging import step_lengths
from fedjax_rl.learners.deep.multipliers import (
    dual_step,
    lagrangian_weights,
    multipliers_of,
    satisfied_after,
)
from fedjax_rl.learners.deep.pace import adapted, rates_of
from fedjax_rl.learners.deep.reward_range import sizes, updated, worth_of
from fedjax_rl.learners.deep.rollout import collect
from fedjax_rl.learners.deep.state import (
    DeepInfo,
    DeepLocal,
    DeepShared,
    Experience,
    Improvement,
    Objective,
    Parameters,
)
from fedjax_rl.ops.duals import caps


def acted(
    design: Design,
    key: jax.Array,
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> Experience:
    """A rollout of the policy, and what critics and budgets say of it.

    Args:
        design: task and networks.
        key: of the rollout.
        shared: what was merged last.
        local: the agent's own.
        agent: its constraints [K] and environment.
        hparams: traced settings.
    """
    rollout, environments = collect(
        key, policy_of(design, shared), local.environments, agent.params, design
    )
    values = values_of(design, shared, local, rollout)
    estimates = estimate(rollout, values, agent, hparams)
    rewards = updated(
        local.rewards,
        rollout,
        estimates.targets[..., 0],
        jnp.asarray(hparams.discount),
        discounted=any(kind != "episode" for kind in design.task.kinds),
    )
    return Experience(
        rollout=rollout,
        environments=environments,
        estimates=estimates,
        cost_estimate=estimate_costs(rollout, values, agent, design),
        rewards=rewards,
        caps=caps(hparams.duals, sizes(rewards, agent), agent.budgets),
    )


def objective_of(
    design: Design,
    experience: Experience,
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> Objective:
    """The agent's Lagrangian, of the multipliers that its own costs have just moved.

    Args:
        design: task and networks.
        experience: of the policy to be improved.
        shared: how observations are normalised.
        local: the agent's own.
        agent: its constraints [K].
        hparams: traced settings.
    """
    rule, estimates = design.choices.duals, experience.estimates
    costs = experience.cost_estimate
    others = jnp.zeros(()) if local.others is None else local.others
    worth = worth_of(experience.rewards, agent, others)
    # λ before θ: the policy is improved on the Lagrangian that its own costs have just moved.
    duals = dual_step(rule, local.duals, costs, experience.caps, worth, agent, hparams)
    weights = lagrangian_weights(duals, costs, local.all_satisfied, agent, hparams)
    # CRPO's weights are one or nothing; divided by their sum, nothing would be NaN.
    divisor = jnp.ones(()) if duals is None else weights.sum()
    returns, scale = rescaled(local.returns, estimates.targets)
    batch, deviation = batch_of(
        design, shared, experience.rollout, estimates, weights / divisor, scale
    )
    return Objective(duals, weights, divisor * deviation, batch, returns)


def concluded(
    experience: Experience,
    objective: Objective,
    improved: tuple[Parameters, Pytree, Improvement],
    shared: DeepShared,
    local: DeepLocal,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[DeepShared, DeepLocal, DeepInfo]:
    """The agent after a local step, and what is reported of it.

    Args:
        experience: what it acted on.
        objective: what was improved.
        improved: parameters, optimiser and diagnostics.
        shared: before the step.
        local: likewise.
        agent: its constraints [K].
        hparams: traced settings.
    """
    parameters, optimizer, improvement = improved
    rollout, duals, scale = experience.rollout, objective.duals, objective.scale
    multipliers = multipliers_of(len(agent.budgets), duals)
    info = DeepInfo(
        episodes=rollout.episodes,
        episode_sums=rollout.episode_sums,
        step_costs=rollout.signals[..., 1:].mean((0, 1)),
        multipliers=multipliers,
        at_cap=(multipliers >= experience.caps).sum(),
        environment_steps=jnp.int32(rollout.terminated.size),
        improvement=improvement,
    )
    shared = shared._replace(actor=parameters.actor, observations=observed(shared, rollout))
    if shared.lengths is not None:
        lengths = step_lengths(experience.estimates, objective.weights, scale, agent)
        shared = shared._replace(lengths=lengths)
    if shared.travelled is not None:
        rate, steps = rates_of(local, hparams).policy, optimizer.count - local.optimizer.count
        shared = shared._replace(travelled=shared.travelled + rate * steps)
    local = local._replace(
        cost_critic=parameters.cost_critic,
        optimizer=optimizer,
        duals=duals,
        # A step that is shorter for its pace counts as if it were not.
        objective_scale=scale / (1.0 if local.pace is None else local.pace),
        satisfied=satisfied_after(local.satisfied, experience.cost_estimate, agent, hparams),
        returns=objective.returns,
        rewards=experience.rewards,
        environments=experience.environments,
        updates=local.updates + 1,
        pace=None if local.pace is None else adapted(local.pace, improvement.kl, hparams),
    )
    if shared.critic is None:
        return shared, local._replace(critic=parameters.critic), info
    return shared._replace(critic=parameters.critic), local, info


def parameters_of(shared: DeepShared, local: DeepLocal) -> Parameters:
    """The networks that an agent improves, merged ones and its own."""
    return Parameters(shared.actor, critic_of(shared, local), local.cost_critic)
