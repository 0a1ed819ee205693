"""Upper bounds of mean costs: by hand, and how often they are wrong."""

import numpy as np
import pytest
from scipy.stats import binom, t

from fedjax_rl.families.networks.confidence import ATTEMPTS, level, margin, upper_bound

EPISODES = 400


def ones(count, episodes=EPISODES):
    """Episodes of which so many cost 1 and the rest nothing."""
    return np.repeat([1.0, 0.0], [count, episodes - count])


def wrong(chance, constraints, bounds):
    """P(the bound is below the mean) of costs that are 1 with a chance, computed exactly."""
    counts = np.arange(EPISODES + 1)
    return binom.pmf(counts, EPISODES, chance)[bounds < chance].sum() / level(constraints)


def test_without_skewness_it_is_students():
    costs = np.tile([1.0, 3.0], 50)
    error = np.sqrt(100 / 99) / 10
    expected = 2 + t.ppf(0.99, 99) * error
    assert upper_bound(costs, 0.01) == pytest.approx(expected, rel=1e-12)


def test_skewness_raises_it_and_never_lowers_it():
    """Few large costs raise it above Student's; few small ones leave it there."""
    for count, above in ((20, True), (380, False)):
        costs = ones(count)
        students = costs.mean() + t.ppf(0.99, 399) * costs.std(ddof=1) / 20
        found = upper_bound(costs, 0.01)
        assert (found > students * 1.01) == above and found >= students * (1 - 1e-12)


def test_it_moves_and_scales_with_the_costs():
    costs = np.random.default_rng(0).exponential(size=200)
    assert upper_bound(5 + 3 * costs, 0.01) == pytest.approx(5 + 3 * upper_bound(costs, 0.01))


def test_costs_that_are_all_alike_are_their_own_bound_and_unknown_ones_have_none():
    assert upper_bound(np.full(100, 7.5), 0.01) == 7.5
    assert np.isnan(upper_bound(np.array([1.0, np.nan, 2.0]), 0.01))


@pytest.mark.parametrize("constraints", [1, 2, 3])
def test_it_is_wrong_as_rarely_as_it_says(constraints):
    """Exactly, and not by simulation; Student's alone is wrong up to seven times as often.

    A chance of 0.01 is too rare for 400 episodes: that none of them has the cost is more likely
    than the error that is allowed, and the docstring says so.
    """
    bounds = np.array([upper_bound(ones(n), level(constraints)) for n in range(EPISODES + 1)])
    chances = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    assert max(wrong(chance, constraints, bounds) for chance in chances) < 1.1


def test_errors_of_all_bounds_and_attempts_add_up_to_a_twentieth():
    assert level(4) * 4 * ATTEMPTS == pytest.approx(0.05)
    assert level(0) * ATTEMPTS == pytest.approx(0.05), "nothing to be bounded, nor divided by"


def test_a_cost_at_the_margin_is_confirmed_five_times_in_six():
    """Normal costs whose evaluation came out at the margin below the budget 0."""
    rng, wanted = np.random.default_rng(1), level(2)
    away, below = 128, margin(128, EPISODES, 2) / np.sqrt(128)
    truths = -below + rng.standard_normal(2000) / np.sqrt(away)
    confirmed = [upper_bound(m + rng.standard_normal(EPISODES), wanted) <= 0 for m in truths]
    assert np.mean(confirmed) == pytest.approx(0.84, abs=0.03)
