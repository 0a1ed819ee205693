"""Dual steps: rules that move multipliers by the estimated costs of a policy."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array


class DualState(NamedTuple):
    """Multipliers of K constraints and what their controller remembers.

    Attributes:
        multipliers: λ [K], in reward per cost.
        integral: I [K], sum of violations, clipped.
        smoothed: J [K], smoothed estimate of the cost.
        seen: [K] booleans, whether there was an estimate yet.
    """

    multipliers: jax.Array
    integral: jax.Array
    smoothed: jax.Array
    seen: jax.Array


class DualSettings(NamedTuple):
    """Traced settings of both rules: the cap is of either, every other one of the rule it names.

    Attributes:
        step_size: η_λ of the projected gradient, scalar.
        proportional, integral, derivative: K_P, K_I, K_D of the PID rule, scalars.
        smoothing: of the PID rule, share of the old cost kept in the smoothed one, in [0, 1).
        cap: λ_max, scalar or [K], in reward per cost.
        cap_in_returns: λ_max in returns per budget, scalar; 0 for ``cap`` alone. See `caps`.
    """

    step_size: Array
    proportional: Array
    integral: Array
    derivative: Array
    smoothing: Array
    cap: Array
    cap_in_returns: Array


def caps(settings: DualSettings, size: jax.Array, budgets: jax.Array) -> jax.Array:
    """[K], λ_max of each constraint: max(cap, cap_in_returns · R / |d_j|).

    At an optimum no multiplier is above what its constraint costs, λ*_j d_j ≤ V* − V_r of a
    policy without cost (concavity of the optimal value in d), so that R / d_j, with R the size
    of returns, is the unit in which one number bounds multipliers of every task. ``cap`` is the
    floor that lets multipliers act before any reward was seen.

    Args:
        settings: both bounds.
        size: R, scalar, of returns of the reward.
        budgets: d [K]; where d_j = 0 the cost's own unit takes its place.
    """
    chex.assert_rank([size, budgets], [0, 1])
    units = jnp.where(budgets == 0, 1.0, jnp.abs(budgets))
    return jnp.maximum(settings.cap, settings.cap_in_returns * size / units)


def no_multipliers(slots: int) -> DualState:
    """λ = 0 and nothing remembered."""
    zeros = jnp.zeros(slots)
    return DualState(zeros, zeros, zeros, jnp.zeros(slots, bool))


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
    return DualState(multipliers, state.integral, cost_estimate, jnp.ones_like(state.seen))


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
    multipliers = jnp.clip(raised, 0.0, settings.cap)
    return DualState(multipliers, integral, smoothed, jnp.ones_like(state.seen))
