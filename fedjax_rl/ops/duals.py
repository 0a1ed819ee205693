"""Dual steps: rules that move multipliers by the estimated costs of a policy."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array

TINY = 1e-12
"""Keeps quotients finite."""


class DualState(NamedTuple):
    """Multipliers of K constraints and what their controller remembers.

    Attributes:
        multipliers: λ [K], in reward per cost.
        integral: I [K]; of the PID rule the sum of violations, clipped, of the multiplicative
            one λ without its proportional factor.
        smoothed: J [K], smoothed estimate of the cost.
        slow: of the multiplicative rule, J [K] smoothed for longer.
        seen: [K] booleans, whether there was an estimate yet.
        insistence: log(ρ_j / ρ) [K] of the multiplicative rule, which grows while budgets stay
            broken.
    """

    multipliers: jax.Array
    integral: jax.Array
    smoothed: jax.Array
    slow: jax.Array
    seen: jax.Array
    insistence: jax.Array


class DualSettings(NamedTuple):
    """Traced settings of all rules: the cap is of each, every other one of those it names.

    Attributes:
        step_size: η_λ of the projected gradient, scalar.
        proportional, integral: K_P, K_I of the PID and the multiplicative rule, scalars.
        derivative: K_D of the PID rule, scalar.
        smoothing: of the PID and the multiplicative rule, share of the old cost kept in the
            smoothed one, in [0, 1).
        cap: λ_max, scalar or [K], in reward per cost.
        cap_in_returns: λ_max in returns per budget, scalar; 0 for ``cap`` alone. See `caps`.
        floor: of the multiplicative rule, ε, the least λ in returns per budget, scalar.
        penalty_share: of the multiplicative rule, ρ, the largest penalty in ranges of the reward.
        insistence: of the multiplicative rule, rate at which ρ_j grows while a budget is broken.
    """

    step_size: Array
    proportional: Array
    integral: Array
    derivative: Array
    smoothing: Array
    cap: Array
    cap_in_returns: Array
    floor: Array
    penalty_share: Array
    insistence: Array


def in_budgets(budgets: jax.Array) -> jax.Array:
    """|d| [K], or 1 where d = 0: there the cost's own unit takes its place."""
    return jnp.where(budgets == 0, 1.0, jnp.abs(budgets))


def caps(settings: DualSettings, size: jax.Array, budgets: jax.Array) -> jax.Array:
    """[K], λ_max of each constraint: max(cap, cap_in_returns · R / |d_j|).

    At an optimum no multiplier is above what its constraint costs, λ*_j d_j ≤ V* − V_r of a
    policy without cost (concavity of the optimal value in d), so that R / d_j, with R the size
    of returns, is the unit in which one number bounds multipliers of every task. ``cap`` is the
    floor that lets multipliers act before any reward was seen.

    Args:
        settings: both bounds.
        size: R [K], of returns of the reward.
        budgets: d [K].
    """
    chex.assert_rank([size, budgets], 1)
    chex.assert_equal_shape([size, budgets])
    return jnp.maximum(settings.cap, settings.cap_in_returns * size / in_budgets(budgets))


def no_multipliers(slots: int) -> DualState:
    """λ = 0 and nothing remembered."""
    zeros = jnp.zeros(slots)
    return DualState(zeros, zeros, zeros, zeros, jnp.zeros(slots, bool), zeros)


def projected_gradient(
    state: DualState,
    cost_estimate: jax.Array,
    budgets: jax.Array,
    scale: jax.Array,
    settings: DualSettings,
) -> DualState:
    """λ ← clip(λ + η_λ s (J − d), 0, λ_max), s the scale (arXiv 2405.03236).

    Args:
        state: multipliers before.
        cost_estimate: J [K].
        budgets: d [K].
        scale: [K], factor on J − d: 1, or 1/d for relative violations.
        settings: η_λ and λ_max.
    """
    chex.assert_rank(cost_estimate, 1)
    chex.assert_equal_shape([state.multipliers, cost_estimate, budgets, scale])
    violation = cost_estimate - budgets
    raised = state.multipliers + settings.step_size * scale * violation
    multipliers = jnp.clip(raised, 0.0, settings.cap)
    seen = jnp.ones_like(state.seen)
    return state._replace(multipliers=multipliers, smoothed=cost_estimate, seen=seen)


def pid(
    state: DualState,
    cost_estimate: jax.Array,
    budgets: jax.Array,
    scale: jax.Array,
    settings: DualSettings,
) -> DualState:
    """A PID controller of the violation (Stooke et al. 2020, arXiv 2007.03964, algorithm 2).

        Δ = s (J − d),  I ← clip(I + Δ, 0, λ_max / K_I),
        λ = clip(K_P Δ + K_I I + K_D s [J − J_before]₊, 0, λ_max)

    with the scale s and J smoothed: J ← a J_before + (1 − a) J.

    Args:
        state: multipliers, integral and smoothed costs before.
        cost_estimate: J [K].
        budgets: d [K].
        scale: [K], factor on every cost and budget.
        settings: gains, smoothing and λ_max.
    """
    chex.assert_rank(cost_estimate, 1)
    chex.assert_equal_shape([state.multipliers, cost_estimate, budgets, scale])
    before = jnp.where(state.seen, state.smoothed, cost_estimate)
    smoothed = settings.smoothing * before + (1.0 - settings.smoothing) * cost_estimate
    violation = scale * (smoothed - budgets)
    rise = scale * jnp.maximum(smoothed - before, 0.0)
    largest = settings.cap / jnp.maximum(settings.integral, 1e-12)
    integral = jnp.clip(state.integral + violation, 0.0, largest)
    raised = (
        settings.proportional * violation
        + settings.integral * integral
        + settings.derivative * rise
    )
    return state._replace(
        multipliers=jnp.clip(raised, 0.0, settings.cap),
        integral=integral,
        smoothed=smoothed,
        seen=jnp.ones_like(state.seen),
    )
