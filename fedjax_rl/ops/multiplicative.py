"""Multiplicative weights: a dual step whose gains fit any scale of rewards and costs."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.ops.duals import TINY, DualSettings, DualState

LATELY = 0.1
"""Share of a new number in a slow mean, which says what has changed lately: in some ten rounds."""
PATIENCE = 2.0
"""How many times as far as it fell lately a cost has time to fall, before more is asked of it."""
MOST = 3.0
"""Times the range of the reward, what all costs may take at most: where rewards are linear in
costs, as much as a policy far beyond its budgets needs to come back."""


class Worth(NamedTuple):
    """What a cost may be worth, which gives the multiplicative rule its units.

    Attributes:
        unit: R / |d| [K], how far above the least return the policy is, per budget.
        reward_range: G [K], the range of rewards seen, in the unit of R.
        weights: w [K], the agent's share of each constraint; 0 on padding.
        climb: u [K] in [0, 1], the share of R that was gained lately.
        others: scalar, Σ w λ |J| / G of all other agents.
    """

    unit: jax.Array
    reward_range: jax.Array
    weights: jax.Array
    climb: jax.Array
    others: jax.Array


def multiplicative(
    state: DualState,
    cost_estimate: jax.Array,
    budgets: jax.Array,
    worth: Worth,
    settings: DualSettings,
) -> DualState:
    """Multiplicative weights with a proportional factor, whose penalty never exceeds its worth.

        e = (J − d) / max(|J|, |d|), times 1 − u where it is above 0,
        e' = e (1 − min(1, 2 (J̄ − J) / (J − d))₊) where it is above 0, J̄ a slow mean of J
        I ← max(I e^{K_I e'}, ε (1 − u) R/|d|),   λ = I e^{K_P e}
        λ, I ← κ λ, κ I   with   κ = min(1, (ρ_j + [(1 − ρ_j) e]₊) / (Σ w λ |J| / G))

    Exponentiated gradient ascent (Kivinen and Warmuth 1997) moves λ by factors: from a small
    start it finds the scale that a task needs, of which no gain has to know, and the reward is
    learned before costs weigh: as long as it climbs, by the share u of its range lately, costs
    wait. R is what the policy earns above the least seen, so that one that has lost it all learns
    the reward again. The proportional factor is what damps λ, and so does e', of which as much is
    left out as the fall of J lately would take care of, given twice that time: a policy needs
    rounds to follow. The sum, over all agents, is what the policy pays for costs out of the range
    G of rewards seen. Below 1, giving all of that up does not pay, and λ is not wound up further. A
    budget that stays broken insists: ρ_j rises slowly from ρ, by e', to 3 at most, and falls back
    when it is kept.

    Args:
        state: multipliers, I and smoothed costs before.
        cost_estimate: J [K].
        budgets: d [K].
        worth: R / |d|, G, w, u and the penalty of the other agents.
        settings: gains, smoothing, ε, ρ and λ_max.
    """
    chex.assert_rank(cost_estimate, 1)
    chex.assert_equal_shape([state.multipliers, cost_estimate, budgets, *worth[:4]])
    risen = raised(state, cost_estimate, budgets, worth, settings)
    shared = penalty(risen.multipliers, risen.smoothed, worth) + worth.others
    floor = floor_of(worth, settings)
    insistence = jnp.maximum(state.insistence + settings.insistence * risen.lasting, 0.0)
    most = jnp.maximum(MOST, settings.penalty_share)
    share = jnp.minimum(settings.penalty_share * jnp.exp(insistence), most)
    insistence = jnp.log(share / settings.penalty_share)
    allowed = share + jnp.maximum((1.0 - share) * risen.error, 0.0)
    shrink = jnp.minimum(1.0, allowed / jnp.maximum(shared, TINY))
    # What is kept shrinks as well (anti-windup), and neither falls below the floor: a budget
    # that is broken is never worth nothing.
    integral = jnp.clip(shrink * risen.integral, floor, settings.cap)
    multipliers = jnp.clip(shrink * risen.multipliers, floor, settings.cap)
    seen = jnp.ones_like(state.seen)
    return DualState(multipliers, integral, risen.smoothed, risen.slow, seen, insistence)


class Raised(NamedTuple):
    """The multiplicative rule before the penalty is held to its worth, [K] each.

    Attributes:
        multipliers: λ.
        integral: I.
        smoothed: J.
        slow: J smoothed for longer.
        error: e.
        lasting: what of e the fall of J does not take care of.
    """

    multipliers: jax.Array
    integral: jax.Array
    smoothed: jax.Array
    slow: jax.Array
    error: jax.Array
    lasting: jax.Array


def raised(
    state: DualState,
    cost_estimate: jax.Array,
    budgets: jax.Array,
    worth: Worth,
    settings: DualSettings,
) -> Raised:
    """λ, I, J smoothed and e [K] of `multiplicative`, before the penalty is held to its worth.

    Args:
        state: multipliers, I and smoothed costs before.
        cost_estimate: J [K].
        budgets: d [K].
        worth: R / |d| and u.
        settings: gains, smoothing and ε.
    """
    chex.assert_rank(cost_estimate, 1)
    chex.assert_equal_shape([state.multipliers, cost_estimate, budgets, worth.unit])
    before = jnp.where(state.seen, state.smoothed, cost_estimate)
    smoothed = settings.smoothing * before + (1.0 - settings.smoothing) * cost_estimate
    # Of the larger of both, so that a cost far beyond its budget does not count without bound,
    # and a budget of 0 counts at all.
    larger = jnp.maximum(jnp.abs(smoothed), jnp.abs(budgets))
    error = (smoothed - budgets) / jnp.maximum(larger, TINY)
    error -= worth.climb * jnp.maximum(error, 0.0)
    slow = jnp.where(state.seen, state.slow, smoothed)
    slow += LATELY * (smoothed - slow)
    # Where it falls fast enough to be within its budget soon, more would be too much.
    falling = (slow - smoothed) / jnp.maximum(smoothed - budgets, TINY)
    lasting = error - jnp.clip(PATIENCE * falling, 0.0, 1.0) * jnp.maximum(error, 0.0)
    integral = jnp.maximum(state.integral, floor_of(worth, settings))
    integral *= jnp.exp(settings.integral * lasting)
    multipliers = integral * jnp.exp(settings.proportional * error)
    return Raised(multipliers, integral, smoothed, slow, error, lasting)


def floor_of(worth: Worth, settings: DualSettings) -> jax.Array:
    """ε (1 − u) R / |d| [K], the least multiplier.

    Args:
        worth: R / |d| and u.
        settings: ε.
    """
    return settings.floor * (1.0 - worth.climb) * worth.unit


def penalty(multipliers: jax.Array, costs: jax.Array, worth: Worth) -> jax.Array:
    """Σ_j w_j λ_j |J_j| / G_j, a scalar: what is paid for costs, in ranges of the reward.

    Args:
        multipliers: λ [K].
        costs: J [K].
        worth: w and G.
    """
    paid = worth.weights * multipliers * jnp.abs(costs)
    return (paid / jnp.maximum(worth.reward_range, TINY)).sum()
