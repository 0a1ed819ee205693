"""Between which rewards an agent's policy has been, which is the unit of multipliers."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.learners.deep.agent import DeepAgent
from fedjax_rl.learners.deep.rollout import Rollout
from fedjax_rl.ops.duals import TINY, in_budgets
from fedjax_rl.ops.multiplicative import LATELY, Worth
from fedjax_rl.ops.returns import generalized_advantages

SMOOTHING = 0.5
"""Share of the old return kept in the smoothed one: one rollout has few episodes."""
SPREAD = 0.1
"""Of the deviation of returns within a rollout: the least R, before anything was gained, so that
the reward is learned before costs weigh."""


class RewardRange(NamedTuple):
    """Smoothed returns of the rollouts so far, and the least and the best of them.

    Two kinds, [2]: the mean return of finished episodes, to which costs per episode compare, and
    the mean discounted return of a step, to which all others do.

    Attributes:
        smoothed: [2].
        slow: [2], smoothed for longer.
        least: [2].
        best: [2].
        seen: [2] booleans, whether there was any.
        spread: scalar, deviation of discounted returns within the last rollout.
    """

    smoothed: jax.Array
    slow: jax.Array
    least: jax.Array
    best: jax.Array
    seen: jax.Array
    spread: jax.Array


def no_rewards() -> RewardRange:
    """Before the first rollout."""
    nothing = jnp.zeros(2)
    return RewardRange(nothing, nothing, nothing, nothing, jnp.zeros(2, bool), jnp.zeros(()))


def updated(
    before: RewardRange,
    rollout: Rollout,
    targets: jax.Array,
    discount: jax.Array,
    *,
    discounted: bool = True,
) -> RewardRange:
    """The range with one more rollout.

    What was gained is counted in rewards that were seen, and goes on at their mean where a time
    limit or the rollout cuts them: what a critic expects beyond rises as it learns, and nobody has
    gained that.

    Args:
        before: so far.
        rollout: its finished episodes, and rewards [T, B].
        targets: [T, B], estimates of discounted returns of the reward.
        discount: γ, scalar.
        discounted: static, whether any cost compares to discounted returns; else none are counted.
    """
    chex.assert_rank([targets, discount], [2, 0])
    episodes = jnp.maximum(rollout.episodes, 1)
    later = discounted_return(rollout, discount) if discounted else jnp.zeros(())
    now = jnp.stack([rollout.episode_sums[0] / episodes, later])
    known = jnp.stack([rollout.episodes > 0, jnp.ones((), bool)])
    mixed = SMOOTHING * before.smoothed + (1.0 - SMOOTHING) * now
    smoothed = jnp.where(known, jnp.where(before.seen, mixed, now), before.smoothed)
    first = known & ~before.seen
    return RewardRange(
        smoothed=smoothed,
        slow=jnp.where(first, smoothed, before.slow + LATELY * (smoothed - before.slow)),
        least=jnp.where(first, smoothed, jnp.minimum(before.least, smoothed)),
        best=jnp.where(first, smoothed, jnp.maximum(before.best, smoothed)),
        seen=before.seen | known,
        spread=targets.std(),
    )


def discounted_return(rollout: Rollout, discount: jax.Array) -> jax.Array:
    """The mean over all steps of the rewards that followed, a scalar.

    Args:
        rollout: rewards [T, B].
        discount: γ, scalar.
    """
    rewards = rollout.signals[..., :1]
    # Of γ = 1, with which episodes end by themselves, what is cut has no value that is known.
    onward = jnp.where(discount < 1.0, rewards.mean() / jnp.maximum(1.0 - discount, TINY), 0.0)
    cut = rollout.truncated.at[-1].set(True) & ~rollout.terminated
    following = jnp.where(cut, onward, 0.0)[..., None]
    nothing, ended = jnp.zeros_like(rewards), rollout.terminated | rollout.truncated
    seen = generalized_advantages(rewards, nothing, following, ended, discount[None], jnp.ones(1))
    return seen.mean()


def sizes(rewards: RewardRange, agent: DeepAgent) -> jax.Array:
    """R [K], the range of returns that each cost compares to.

    Args:
        rewards: seen so far.
        agent: the kind of each budget.
    """
    reached = jnp.maximum(rewards.best - rewards.least, SPREAD * rewards.spread)
    return _of_kind(reached, agent)


def held(rewards: RewardRange, agent: DeepAgent) -> jax.Array:
    """What is left [K] of R: how far above the least return the policy is now.

    Args:
        rewards: seen so far.
        agent: the kind of each budget.
    """
    return _of_kind(jnp.maximum(rewards.smoothed - rewards.least, SPREAD * rewards.spread), agent)


def climb(rewards: RewardRange) -> jax.Array:
    """The share u [2] in [0, 1] of the range of returns that was gained lately.

    Args:
        rewards: seen so far.
    """
    gained = jnp.maximum(rewards.smoothed - rewards.slow, 0.0)
    return gained / jnp.maximum(rewards.best - rewards.least, TINY)


def worth_of(rewards: RewardRange, agent: DeepAgent, others: jax.Array) -> Worth:
    """What the agent's K costs may be worth: see `ops.multiplicative`.

    The first policy may earn as much as any that keeps the budgets. So the range is no less than
    the returns of one rollout differ among each other: that much can be lost at any rate.

    Args:
        rewards: seen so far.
        agent: budgets [K], their kinds, and w_ij.
        others: scalar, the penalty that all other agents pay.
    """
    return Worth(
        unit=held(rewards, agent) / in_budgets(agent.budgets),
        reward_range=_of_kind(jnp.maximum(rewards.best - rewards.least, rewards.spread), agent),
        weights=jnp.where(agent.watches, agent.weights, 0.0),
        climb=_of_kind(climb(rewards), agent),
        others=others,
    )


def _of_kind(values: jax.Array, agent: DeepAgent) -> jax.Array:
    per_episode = ~(agent.per_step | agent.bootstraps)
    return jnp.where(per_episode, values[0], values[1])
