"""Costs beside their budgets, in cases worked out by hand."""

import math

import numpy as np
import pytest

from fedjax_rl.report.satisfaction import (
    Members,
    bar,
    budgets_kept,
    satisfaction,
    verdict_of,
    worst,
)

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize(
    ("cost", "budget", "verdict", "verdict_text"),
    [
        (1.5, 2.0, "kept", "satisfied, 25 % below its budget"),
        (2.0, 2.0, "kept", "satisfied, at its budget"),
        (2.0 + 1e-12, 2.0, "kept", "satisfied, at its budget"),
        (2.02, 2.0, "tolerated", "within tolerance, 1 % above its budget"),
        (3.0, 2.0, "broken", "exceeded by 50 %"),
        (0.5, 0.0, "broken", "exceeded by 0.5"),
        (1e-12, 0.0, "kept", "satisfied, at its budget"),
        (3e-10, 2e-10, "broken", "exceeded by 50 %"),
        (-3.0, -2.0, "kept", "satisfied, 50 % below its budget"),
        (-1.0, -2.0, "broken", "exceeded by 50 %"),
        (math.nan, 2.0, "unknown", "no finite figure"),
    ],
)
def test_the_verdict_and_its_words(cost, budget, verdict, verdict_text):
    assert verdict_of(cost, budget, 0.02) == (verdict, verdict_text)


def test_bars_are_as_long_as_their_share_of_the_budget():
    one = bar("left", 3.0, 2.0, 0.0, track=2.0)
    assert (one.fill, one.mark) == (0.75, 0.5)
    assert bar("left", 9.0, 2.0, 0.0, track=2.0).fill == 1.0, "cut off at the end of the track"
    unknown = bar("left", math.nan, 2.0, 0.0, track=2.0)
    assert (unknown.fill, unknown.mark) == (0.0, 0.5)


def test_bars_of_negative_numbers_begin_at_the_smallest():
    """From −4 to 0 is 4, and a track is a quarter longer: 1 of 5 and 3 of 5."""
    one = bar("left", -3.0, -4.0, 0.0, track=2.0)
    assert (one.fill, one.mark) == (pytest.approx(0.2), 0.0)
    other = bar("left", 0.0, 0.0, 0.0, track=2.0)
    assert (other.fill, other.mark) == (0.0, 0.0)


def test_marks_of_one_policy_are_below_one_another():
    found = satisfaction("It", {"a": 1.0, "b": 30.0}, {"a": 2.0, "b": 20.0}, 0.0)
    assert {one.mark for one in found.bars} == {1 / (1.15 * 1.5)}


def test_shares_over_seeds_count_tolerance_and_not_those_that_diverged():
    costs = np.array([[1.0, 1.0], [2.03, 1.0], [2.5, 1.0], [math.nan, math.nan]])
    found = satisfaction(
        "It", {"a": 1.8, "b": 1.0}, {"a": 2.0, "b": 1.0}, 0.02, Members("seed", costs)
    )
    assert [one.share for one in found.bars] == ["kept by 2 of 4 seeds", "kept by 3 of 4 seeds"]
    assert found.summary.startswith("2 of 2 budgets kept; all of them by 2 of 4 seeds, counting up")


def test_constraints_without_a_budget_are_left_out():
    costs = np.array([[9.0, 1.0], [9.0, 3.0]])
    found = satisfaction("It", {"a": 9.0, "b": 2.0}, {"b": 2.5}, 0.0, Members("seed", costs))
    assert [one.name for one in found.bars] == ["b"]
    assert "all of them by 1 of 2 seeds" in found.summary
    assert satisfaction("It", {"a": 1.0}, {}, 0.0) is None


def test_the_worst_is_named():
    found = satisfaction("It", {"a": 3.0, "b": 30.0}, {"a": 2.0, "b": 10.0}, 0.0)
    assert (budgets_kept(found), worst(found)) == ("0 of 2", "b exceeded by 200 %")
    within = satisfaction("It", {"a": 1.0}, {"a": 2.0}, 0.0)
    assert (budgets_kept(within), worst(within)) == ("1 of 1", "none exceeded")
    assert (budgets_kept(None), worst(None)) == ("–", "–")


def test_of_episodes_that_were_given_up_no_budget_counts_as_kept():
    """What they would have come to is not known, however little it was so far."""
    members = Members("seed", np.array([[1.0, 9.0], [1.0, 9.0]]))
    budgets = {"a": 2.0, "b": 2.0}
    found = satisfaction("It", {"a": 1.0, "b": 9.0}, budgets, 0.05, members, unfinished=True)
    assert [one.verdict for one in found.bars] == ["unknown", "broken"]
    assert (
        "given up" in found.bars[0].verdict_text and found.bars[0].share == "kept by 0 of 2 seeds"
    )
    assert budgets_kept(found) == "0 of 2" and "all of them by 0 of 2" in found.summary
    alone = satisfaction("It", {"a": 1.0}, budgets, 0.05, unfinished=True)
    assert worst(alone) == "which are exceeded is not known"
