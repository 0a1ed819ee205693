"""Multipliers that rise and fall by hand-computed amounts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.duals import (
    DualSettings,
    caps,
    no_multipliers,
    pid,
    projected_gradient,
)

pytestmark = pytest.mark.timeout(60)

ONE = jnp.ones(1)


def settings(**changes):
    plain = {
        "step_size": 0.1,
        "proportional": 0.0,
        "integral": 0.0,
        "derivative": 0.0,
        "smoothing": 0.0,
        "cap": 10.0,
        "cap_in_returns": 0.0,
        "floor": 0.01,
        "penalty_share": 1.0,
        "insistence": 0.02,
    }
    return DualSettings(**{name: jnp.float32(value) for name, value in (plain | changes).items()})


def followed(rule, costs, budget, own_settings, scale=1.0):
    """λ after each of a sequence of costs of one constraint."""
    state = no_multipliers(1)
    multipliers, states = [], []
    for cost in costs:
        state = rule(state, jnp.array([cost]), jnp.array([budget]), scale * ONE, own_settings)
        multipliers.append(float(state.multipliers[0]))
        states.append(state)
    return multipliers, states


@pytest.mark.parametrize("rule", [projected_gradient, pid])
def test_nothing_is_held_against_anybody_at_first(rule):
    start = no_multipliers(3)
    np.testing.assert_array_equal(start.multipliers, 0)
    assert start.seen.shape == (3,) and not start.seen.any()
    after = rule(start, jnp.ones(3), jnp.full(3, 5.0), jnp.ones(3), settings(proportional=1.0))
    np.testing.assert_array_equal(after.multipliers, 0)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, after)


def test_projected_gradient_by_hand():
    multipliers, states = followed(
        projected_gradient, [25, 30, 10, 0, 21], 20.0, settings(step_size=0.1)
    )
    np.testing.assert_allclose(multipliers, [0.5, 1.5, 0.5, 0.0, 0.1], rtol=1e-6)
    assert float(states[-1].smoothed[0]) == 21


def test_projected_gradient_stops_at_the_cap_and_comes_back_from_it():
    multipliers, _ = followed(projected_gradient, [120, 120, 15], 20.0, settings(cap=12.0))
    np.testing.assert_allclose(multipliers, [10.0, 12.0, 11.5], rtol=1e-6)


def test_the_scale_counts_violations_in_budgets():
    multipliers, _ = followed(projected_gradient, [25, 30], 20.0, settings(), scale=1 / 20)
    np.testing.assert_allclose(multipliers, [0.025, 0.075], rtol=1e-6)


def test_constraints_do_not_mix():
    state = no_multipliers(3)
    costs, budgets = jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 1.0, 1.0])
    for rule in (projected_gradient, pid):
        own_settings = settings(step_size=1.0, integral=1.0)
        state = rule(no_multipliers(3), costs, budgets, jnp.array([1.0, 1.0, 0.5]), own_settings)
        np.testing.assert_allclose(state.multipliers, [0, 1, 1])


def test_pid_by_hand_over_four_steps():
    """K_P = 0.5, K_I = 0.1, K_D = 0.2, d = 10, no smoothing, λ_max = 5.

    Δ = 4, 6, −2, 30;  I = 4, 10, 8, 38;  rise = 0, 2, 0, 32
    λ = 2 + 0.4, 3 + 1 + 0.4, −1 + 0.8 → 0, 15 + 3.8 + 6.4 → 5
    """
    own_settings = settings(proportional=0.5, integral=0.1, derivative=0.2, cap=5.0)
    multipliers, states = followed(pid, [14, 16, 8, 40], 10.0, own_settings)
    np.testing.assert_allclose(multipliers, [2.4, 4.4, 0.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose([state.integral[0] for state in states], [4, 10, 8, 38])


def test_the_integral_does_not_wind_up():
    """It is kept in [0, λ_max / K_I] = [0, 20], so that λ falls as soon as costs do."""
    own_settings = settings(integral=0.5)
    multipliers, states = followed(pid, [110, 110, 6, 0, 0, 12], 10.0, own_settings)
    np.testing.assert_allclose(
        [state.integral[0] for state in states], [20, 20, 16, 6, 0, 2], rtol=1e-6
    )
    np.testing.assert_allclose(multipliers, [10, 10, 8, 3, 0, 1], rtol=1e-6)


def test_smoothing_starts_at_the_first_cost_that_was_measured():
    """J = 20, 0.75·20 + 0.25·40 = 25, 0.75·25 + 0.25·9 = 21; not from zero."""
    own_settings = settings(proportional=1.0, derivative=2.0, smoothing=0.75, cap=100.0)
    multipliers, states = followed(pid, [20, 40, 9], 18.0, own_settings)
    np.testing.assert_allclose([state.smoothed[0] for state in states], [20, 25, 21])
    np.testing.assert_allclose(multipliers, [2, 7 + 2 * 5, 3], rtol=1e-6)


def test_a_first_cost_is_no_rise():
    multipliers, _ = followed(pid, [30, 31], 10.0, settings(derivative=1.0))
    assert multipliers == [0.0, 1.0]


def test_every_constraint_has_a_first_measurement_of_its_own():
    """A cost per step is known at once, one per episode only when an episode has ended."""
    own_settings = settings(derivative=1.0, smoothing=0.5)
    cost, budget = jnp.array([4.0, 30.0]), jnp.array([5.0, 50.0])
    first = pid(no_multipliers(2), cost, budget, jnp.ones(2), own_settings)
    partly = jax.tree.map(
        lambda new, old: jnp.where(jnp.array([True, False]), new, old), first, no_multipliers(2)
    )
    second = pid(partly, jnp.array([4.0, 30.0]), budget, jnp.ones(2), own_settings)
    np.testing.assert_array_equal(second.smoothed, [4, 30])
    np.testing.assert_array_equal(second.multipliers, 0)


def test_without_an_integral_gain_nothing_is_divided_by_zero():
    multipliers, states = followed(pid, [30, 5], 10.0, settings(proportional=0.1))
    np.testing.assert_allclose(multipliers, [2.0, 0.0])
    assert np.isfinite(states[-1].integral).all()


@pytest.mark.parametrize("rule", [projected_gradient, pid])
def test_agents_may_be_mapped(rule):
    costs = jnp.array([[5.0, 25.0], [30.0, 1.0]])
    own_settings = settings(integral=0.1)
    together = jax.vmap(rule, (None, 0, None, None, None))(
        no_multipliers(2), costs, jnp.full(2, 20.0), jnp.ones(2), own_settings
    )
    alone = [
        rule(no_multipliers(2), cost, jnp.full(2, 20.0), jnp.ones(2), own_settings)
        for cost in costs
    ]
    chex.assert_trees_all_close(
        together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), rtol=1e-6
    )


def test_caps_count_in_returns_per_budget_and_have_a_floor():
    """R = 80: 10·80/20 = 40; 10·80/1600 = 0.5, below the floor; d = 0 counts in its own unit."""
    own_settings = settings(cap=10.0, cap_in_returns=10.0)
    budgets = jnp.array([20.0, 1600.0, 0.0, -20.0])
    found = caps(own_settings, jnp.full(4, 80.0), budgets)
    np.testing.assert_allclose(found, [40.0, 10.0, 800.0, 40.0])
    np.testing.assert_allclose(caps(settings(cap=3.0), jnp.full(4, 80.0), budgets), 3.0)


@pytest.mark.parametrize("rule", [projected_gradient, pid])
def test_every_constraint_may_have_a_cap_of_its_own(rule):
    own_settings = settings(step_size=1.0, proportional=1.0, cap=3.0)._replace(
        cap=jnp.array([3.0, 7.0])
    )
    state = rule(no_multipliers(2), jnp.full(2, 90.0), jnp.full(2, 20.0), jnp.ones(2), own_settings)
    np.testing.assert_allclose(state.multipliers, [3.0, 7.0])
