"""Multiplicative weights: by hand, in any unit, and held to what they are worth."""

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.duals import no_multipliers
from fedjax_rl.ops.multiplicative import MOST, Worth, multiplicative, penalty
from tests.ops.test_duals import settings
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)


def worth(budgets, *, size=100.0, gained=100.0, weights=1.0, climb=0.0, others=0.0):
    """R and G in the same unit for every constraint."""
    like = np.ones_like(budgets, np.float32)
    unit = size / np.where(np.asarray(budgets) == 0, 1.0, np.abs(budgets))
    numbers = (np.float32(unit), gained * like, weights * like, climb * like, np.float32(others))
    return Worth(*[jnp.asarray(number) for number in numbers])


def weighed(costs, budget, own_settings, **changes):
    """λ of one constraint after each of a sequence of costs, and the states."""
    states = [no_multipliers(1)]
    for cost in costs:
        states.append(
            multiplicative(
                states[-1],
                jnp.array([cost]),
                jnp.array([budget]),
                worth([budget], **changes),
                own_settings,
            )
        )
    return [float(state.multipliers[0]) for state in states[1:]], states[1:]


def test_multiplicative_weights_by_hand():
    """R/d = 100/20 = 5, so that λ begins at 0.01 · 5; errors are (40 − 20)/40 and (10 − 20)/20."""
    own = settings(integral=0.4, proportional=1.0, cap=1e3)
    multipliers, states = weighed([40.0, 40.0, 10.0], 20.0, own)
    kept = 0.05 * np.exp([0.2, 0.4, 0.2])
    np.testing.assert_allclose([state.integral[0] for state in states], kept, rtol=1e-5)
    moved = np.maximum(kept * np.exp([0.5, 0.5, -0.5]), 0.05)  # the last one is at its floor
    np.testing.assert_allclose(multipliers, moved, rtol=1e-5)


def test_a_multiplier_never_falls_below_its_floor():
    own = settings(integral=0.4, proportional=1.0)
    multipliers, states = weighed([0.0] * 20, 20.0, own)
    np.testing.assert_allclose(multipliers, 0.05, rtol=1e-6)
    np.testing.assert_allclose(states[-1].integral, 0.05, rtol=1e-6)


def test_multiplicative_weights_do_not_know_units():
    """Rewards × 100 and costs × 1,000 are the same problem: λ × 0.1, move for move."""
    own = settings(integral=0.3, proportional=1.0, smoothing=0.5, cap=1e6, penalty_share=0.3)
    costs = np.array([50.0, 70.0, 20.0, 5.0, 40.0] * 6)
    plain, _ = weighed(costs, 20.0, own)
    other, _ = weighed(1e3 * costs, 2e4, own, size=1e4, gained=1e4)
    np.testing.assert_allclose(other, 0.1 * np.array(plain), rtol=1e-4)
    assert max(plain) > 4 * min(plain)


def test_all_costs_together_take_no_more_than_their_share_of_the_gained_reward():
    """Of G = 50 all take ρ = 0.3; the agent scales its part down as every other one does."""
    own = settings(integral=1.0, cap=1e6, penalty_share=0.3)._replace(floor=jnp.float32(1e-6))
    budgets, costs = jnp.array([20.0, 10.0]), jnp.array([60.0, 40.0])
    state = no_multipliers(2)
    for _ in range(40):
        given = worth(budgets, gained=50.0)
        state = multiplicative(state, costs, budgets, given, own)._replace(insistence=jnp.zeros(2))
        paid = float(penalty(state.multipliers, costs, given))
    # Far beyond a budget more is allowed, ρ + (1 − ρ) e, with e = 2/3 and 3/4 here; and a little
    # for what the last step insisted on.
    low, high = (0.3 + 0.7 * error for error in (2 / 3, 3 / 4))
    assert low < paid < high + 0.7 * 0.2
    # Beside others who take nine times as much, it takes a tenth: all are scaled alike.
    crowded = worth(budgets, gained=50.0, others=9 * paid)
    shrunk = multiplicative(state, costs, budgets, crowded, own)
    share = float(penalty(shrunk.multipliers, costs, crowded)) / paid
    assert 0.1 < share < 0.2


def test_a_budget_that_stays_broken_insists():
    """Its share rises from ρ, slowly and past 1, and falls when it is kept."""
    own = settings(integral=0.5, cap=1e6, penalty_share=0.25)
    _, states = weighed([40.0] * 200, 20.0, own)
    log = np.array([float(state.insistence[0]) for state in states])
    np.testing.assert_allclose(log[:10], 0.01 * np.arange(1, 11), rtol=1e-4)
    shares = 0.25 * np.exp(log)
    allowed = shares + np.maximum((1 - shares) * 0.5, 0)
    paid = np.array([float(state.multipliers[0]) for state in states]) * 40.0 / 100.0
    np.testing.assert_allclose(paid[20:], allowed[20:], rtol=1e-4)
    assert allowed[-1] > 1
    kept = states[-1]
    for _ in range(200):
        kept = multiplicative(kept, jnp.array([10.0]), jnp.array([20.0]), worth([20.0]), own)
    assert float(kept.insistence[0]) < 1e-6


@pytest.mark.parametrize("costs, budget", [((0.0, 3.0), 0.0), ((-30.0, -5.0), -20.0)])
def test_budgets_of_zero_and_below_are_held(costs, budget):
    own = settings(integral=0.5, cap=1e6)
    good, bad = costs
    satisfied, _ = weighed([good] * 5, budget, own)
    broken, _ = weighed([bad] * 5, budget, own)
    assert np.isfinite(satisfied + broken).all()
    assert satisfied[-1] == satisfied[0], "at its floor"
    assert broken[-1] > 2 * broken[0]


def test_without_any_gained_reward_multipliers_stay_at_their_floor():
    own = settings(integral=0.5, proportional=1.0)
    multipliers, _ = weighed([100.0] * 5, 20.0, own, gained=0.0)
    np.testing.assert_allclose(multipliers, 0.05, rtol=1e-6)


def test_costs_wait_while_the_reward_climbs():
    """e = 1/2 counts 1/2, 1/8 and nothing at u = 0, 3/4 and 1, and e = −1/2 whatever u is."""
    own = settings(integral=1.0, proportional=2.0, cap=1e6, penalty_share=1e6)
    own = own._replace(floor=jnp.float32(0.01), insistence=jnp.float32(0.0))
    for climb, counted in ((0.0, 0.5), (0.75, 0.125), (1.0, 0.0)):
        (first,), _ = weighed([40.0], 20.0, own, climb=climb)
        # From a floor of ε (1 − u) R / d = 0.01 (1 − u) 100 / 20.
        start = 0.01 * (1.0 - climb) * 100.0 / 20.0
        assert first == pytest.approx(start * np.exp(3.0 * counted), rel=1e-5)
        (_, after), _ = weighed([40.0, 10.0], 20.0, own, climb=climb)
        kept = start * np.exp(counted) * np.exp(-0.5) * np.exp(2.0 * -0.5)
        assert after == pytest.approx(max(kept, start), rel=1e-5)


def test_more_is_not_asked_of_a_cost_that_falls_fast_enough():
    """J = 60, 40, 38 with d = 20 by a slow mean of 60, 58, 56: it fell by 18 twice of 20 to go."""
    own = settings(integral=0.5, proportional=0.0, cap=1e6, penalty_share=1e6)
    own = own._replace(floor=jnp.float32(0.01))
    _, states = weighed([60.0, 40.0, 38.0], 20.0, own)
    slow = [60.0, 60.0 + 0.1 * (40.0 - 60.0)]
    slow.append(slow[-1] + 0.1 * (38.0 - slow[-1]))
    np.testing.assert_allclose([float(state.slow[0]) for state in states], slow, rtol=1e-6)
    kept = [float(state.integral[0]) for state in states]
    # 2 (58 − 40) is more than the 20 to go, and 2 (56 − 38) more than 18: nothing is added.
    np.testing.assert_allclose(kept, [0.05 * np.exp(0.5 * 2 / 3)] * 3, rtol=1e-5)
    _, lazy = weighed([60.0, 58.0], 20.0, own)
    share = 1.0 - 2.0 * (59.8 - 58.0) / 38.0
    grown = np.log(float(lazy[1].integral[0] / lazy[0].integral[0]))
    assert grown == pytest.approx(0.5 * (38.0 / 58.0) * share, rel=1e-4)


def test_insisting_ends_where_a_policy_far_beyond_its_budgets_comes_back():
    own = settings(integral=0.5, cap=1e6, penalty_share=0.25)
    own = own._replace(insistence=jnp.float32(1.0))
    _, states = weighed([40.0] * 50, 20.0, own)
    assert 0.25 * np.exp(float(states[-1].insistence[0])) == pytest.approx(MOST, rel=1e-4)
    assert float(states[-1].multipliers[0]) * 40.0 / 100.0 == pytest.approx(MOST, rel=1e-4)
