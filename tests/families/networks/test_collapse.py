"""Collapses of the evaluated reward, counted by hand."""

import numpy as np
import pytest

from fedjax_rl.families.networks.collapse import collapses

LOW, HIGH = 10.0, 100.0
"""Half of what is gained over a first reward of 0 by 100 is 50, so that 10 is lost."""


def counted(rewards, kept=None, every=10):
    rounds = every * np.arange(len(rewards))
    within = np.ones(len(rewards), bool) if kept is None else np.array(kept, bool)
    return collapses(rounds, np.array(rewards, float), within)


@pytest.mark.parametrize(("evaluations", "expected"), [(5, 0), (6, 1), (12, 1)])
def test_it_takes_fifty_rounds_and_is_one_however_long(evaluations, expected):
    """Six evaluations every 10 rounds are the first that lie 50 rounds apart."""
    assert counted([0, HIGH, *[LOW] * evaluations]) == expected


def test_rare_evaluations_are_fifty_rounds_apart_sooner():
    assert counted([0, HIGH, LOW, LOW], every=50) == 1
    assert counted([0, HIGH, LOW], every=200) == 0, "a single evaluation lasts no round"


def test_a_recovery_ends_it_and_another_may_follow():
    lost = [LOW] * 6
    assert counted([0, HIGH, *lost, HIGH, *lost]) == 2
    assert counted([0, HIGH, *lost[:3], HIGH, *lost[:3]]) == 0


def test_half_of_what_was_gained_is_not_lost():
    assert counted([0, HIGH, *[50.0] * 6]) == 0
    assert counted([0, HIGH, *[49.9] * 6]) == 1


def test_negative_rewards_are_measured_from_the_first():
    """From −200 to −100, half of the gain is −150."""
    assert counted([-200, -100, *[-149.0] * 6]) == 0
    assert counted([-200, -100, *[-151.0] * 6]) == 1


def test_nothing_counts_before_every_budget_was_kept():
    rewards = [0, HIGH, *[LOW] * 6]
    assert counted(rewards, kept=[0] * 8) == 0
    # The reward was reached over a budget, and the policies within it never had so much.
    assert counted(rewards, kept=[0, 0, *[1] * 6]) == 0
    # Of what follows no budget need be kept: it is the reward that is lost.
    assert counted(rewards, kept=[0, 1, *[0] * 6]) == 1


def test_the_best_within_the_budgets_is_what_counts():
    """40 is less than half of 100, which broke a budget, and more than half of 60."""
    assert counted([0, HIGH, 60, *[40.0] * 6], kept=[0, 0, *[1] * 7]) == 0
    assert counted([0, HIGH, 60, *[29.0] * 6], kept=[0, 0, *[1] * 7]) == 1


def test_a_first_policy_that_was_never_surpassed_cannot_be_lost():
    assert counted([HIGH, *[LOW] * 8]) == 0


def test_what_is_not_known_ends_a_stretch():
    assert counted([0, HIGH, *[LOW] * 3, np.nan, *[LOW] * 3]) == 0
    assert counted([np.nan] * 8, kept=[0] * 8) == 0
