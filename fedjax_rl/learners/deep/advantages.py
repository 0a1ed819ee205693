"""From a rollout to advantages, targets of the critics, and what the costs came to."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.rollout import Rollout
from fedjax_rl.ops.returns import following_values, generalized_advantages


class Values(NamedTuple):
    """The critics' values of a rollout; signal 0 is the reward, the others the K costs.

    Attributes:
        now: [T, B, 1 + K], of the observation before each step.
        last: [B, 1 + K], of the observation after the last step.
        final: [L, B, 1 + K], of the observations in which a time limit cut.
    """

    now: jax.Array
    last: jax.Array
    final: jax.Array


class Estimates(NamedTuple):
    """Advantages and targets; signal 0 is the reward, the others the K costs.

    Attributes:
        advantages: [T, B, 1 + K].
        targets: [T, B, 1 + K], of the values.
    """

    advantages: jax.Array
    targets: jax.Array


class CostEstimate(NamedTuple):
    """Estimates of the agent's K costs J_cj under its policy, from a rollout.

    Attributes:
        value: J_c [K], in the unit of each budget.
        known: [K] booleans; a cost per episode is unknown when no episode ended.
    """

    value: jax.Array
    known: jax.Array


def estimate(
    rollout: Rollout, values: Values, agent: DeepAgent, hparams: DeepSettings
) -> Estimates:
    """Generalised advantages of the reward and of every watched cost, in one pass.

    A cost whose budget is per step has advantages of its discounted sum times 1 − γ, which is
    in the unit of a mean per step.

    Args:
        rollout: T steps of B environments.
        values: V of reward and costs, [T, B, 1 + K] at the steps.
        agent: which costs it watches, and how each is discounted.
        hparams: γ of the reward, λ of reward and costs.
    """
    chex.assert_rank([values.now, values.last, values.final], [3, 2, 3])
    chex.assert_rank(agent.budgets, 1)
    signals = jnp.concatenate([rollout.signals[..., :1], costs_of(rollout, agent)], axis=-1)
    discount = jnp.concatenate([hparams.discount[None], agent.discount])
    decay = jnp.append(
        hparams.gae_decay, jnp.broadcast_to(hparams.cost_gae_decay, agent.discount.shape)
    )
    bootstraps = jnp.concatenate([jnp.ones(1, bool), agent.bootstraps])
    following = following_values(
        values.now, values.last, values.final, rollout.terminated, rollout.truncated, bootstraps
    )
    ended = rollout.terminated | rollout.truncated
    advantages = generalized_advantages(signals, values.now, following, ended, discount, decay)
    return Estimates(advantages, advantages + values.now)


def costs_of(rollout: Rollout, agent: DeepAgent) -> jax.Array:
    """[T, B, K], the costs of each step that the agent watches; zero on padding.

    Costs with a budget per step are scaled by 1 − γ.
    """
    chex.assert_rank([rollout.signals, agent.budgets], [3, 1])
    watched = rollout.signals[..., 1 + agent.constraint]
    scale = jnp.where(agent.per_step, 1.0 - agent.discount, 1.0)
    return jnp.where(agent.watches, scale * watched, 0.0)


def estimate_costs(
    rollout: Rollout, values: Values, agent: DeepAgent, design: Design
) -> CostEstimate:
    """Mean cost of the episodes that ended, or mean cost per step, as each budget has it.

    A discounted sum that a time limit cut goes on with the critic's value of the final
    observation.

    Args:
        rollout: T steps of B environments.
        values: of the critics, for what a time limit cut off.
        agent: which K costs it watches, and the kind of each budget.
        design: task and time limit.
    """
    chex.assert_rank([rollout.signals, rollout.episode_sums], [3, 1])
    chex.assert_rank([values.final, agent.budgets], [3, 1])
    episodes = jnp.maximum(rollout.episodes, 1)
    episode_costs = rollout.episode_sums[1:][agent.constraint]
    limit = design.task.time_limit
    if limit is not None and "discounted" in design.task.kinds:
        after = agent.discount**limit * _at_limits(rollout, values.final[..., 1:])
        discounted = agent.bootstraps & ~agent.per_step
        episode_costs = episode_costs + jnp.where(discounted, after, 0.0)
    step_costs = rollout.signals[..., 1 + agent.constraint].mean((0, 1))
    value = jnp.where(agent.per_step, step_costs, episode_costs / episodes)
    return CostEstimate(value, agent.watches & (agent.per_step | (rollout.episodes > 0)))


def _at_limits(rollout: Rollout, final: jax.Array) -> jax.Array:
    """[K], sum of values over the final observations that were reached."""
    reached = rollout.truncated.sum(0) > jnp.arange(len(final))[:, None]
    return jnp.where(reached[..., None], final, 0.0).sum((0, 1))
