"""Tables of transitions: ends, ragged actions, expectations, and mistakes by their place."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp import from_transition_table
from fedjax_rl.cmdp.estimate import MAX_ENTRIES
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(60)


def built(table, initial=None, costs=None, budgets=None, discount=0.5):
    initial = np.eye(len(table))[0] if initial is None else initial
    costs = {"toll": lambda state, action, after: float(after)} if costs is None else costs
    budgets = [1.0] * len(costs) if budgets is None else budgets
    return from_transition_table(table, initial, discount, costs, budgets)


def corridor():
    """Two cells and an end: action 0 goes on or stumbles, action 1 exists in the first only."""
    return {
        0: {0: [(0.75, 1, 2.0, False), (0.25, 0, -2.0, False)], 1: [(1.0, 2, 8.0, True)]},
        1: {0: [(0.5, 2, 4.0, True), (0.25, 2, 0.0, True), (0.25, 1, -1.0, False)]},
        2: {0: [(1.0, 0, 100.0, False)], 1: [(1.0, 2, 100.0, True)]},
    }


def test_arrays_by_hand():
    problem = built(corridor())
    expected = np.zeros((3, 2, 3))
    expected[0, 0] = 0.25, 0.75, 0.0
    expected[0, 1] = 0.0, 0.0, 1.0
    expected[1, 0] = 0.0, 0.25, 0.75
    expected[1, 1] = 0.0, 1.0, 0.0
    expected[2, :, 2] = 1.0
    np.testing.assert_array_equal(problem.transition, expected)
    np.testing.assert_array_equal(problem.reward, [[1.0, 8.0], [1.75, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(problem.costs, [[[0.75, 2.0], [1.75, 0.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(problem.support, [[True, True], [True, False], [True, True]])
    assert problem.constraint_names == ("toll",)
    assert float(problem.discount) == 0.5
    assert problem.notes == "from a transition table; 1 of 3 states end it"


def test_discounted_sums_are_those_of_an_episode():
    """Played by the table itself, step by step, which stops where it says terminated."""
    table, policy = corridor(), np.array([[0.6, 0.4], [1.0, 0.0], [0.5, 0.5]])
    reward = cost = 0.0
    weights = {0: 1.0}
    for step in range(200):
        following: dict[int, float] = {}
        for state, weight in weights.items():
            for action, entries in table[state].items():
                for probability, after, earned, terminated in entries:
                    mass = weight * policy[state, action] * probability
                    reward += 0.5**step * mass * earned
                    cost += 0.5**step * mass * after
                    if not terminated:
                        following[after] = following.get(after, 0.0) + mass
        weights = following
    value, costs, _ = evaluate_policy(built(table), policy)
    assert value == pytest.approx(reward, abs=1e-12)
    assert costs[0] == pytest.approx(cost, abs=1e-12)


def test_an_end_may_have_no_actions_and_its_own_entries_are_not_followed():
    empty = corridor() | {2: {}}
    again = corridor() | {2: {0: [(1.0, 0, 0.0, True)]}}  # as some tables begin the next episode
    for table in (empty, again):
        np.testing.assert_array_equal(built(table).transition, built(corridor()).transition)
        np.testing.assert_array_equal(built(table).reward, built(corridor()).reward)


def test_ends_are_found_behind_states_that_nothing_leads_to_as_well():
    table = {0: {0: [(1.0, 0, 0.0, False)]}, 1: {0: [(1.0, 2, 1.0, True)]}, 2: {}}
    problem = built(table)
    assert problem.transition[2, 0, 2] == 1.0 and problem.reward[1, 0] == 1.0


def test_numbers_of_numpy_and_bits_are_read():
    table = {
        np.int64(0): {np.int64(0): [(np.float64(1), np.int64(1), np.int64(3), np.bool_(True))]},
        1: {},
    }
    problem = built(table, costs={"fall": lambda state, action, after: np.bool_(after == 1)})
    assert problem.reward[0, 0] == 3.0 and problem.costs[0, 0, 0] == 1.0


def test_what_cannot_happen_ends_nothing():
    table = {0: {0: [(1.0, 0, 1.0, False), (0.0, 0, 9.0, True)]}}
    assert built(table).reward[0, 0] == 1.0


def with_pair(*entries):
    return corridor() | {1: {0: list(entries)}}


WRONG = {
    "sum": (
        with_pair((0.5, 2, 0.0, True), (0.4, 1, 0.0, False)),
        "table: got probabilities that sum to 0.9 at state 1, action 0; "
        "a sum of 1; an action that cannot be taken is left out",
    ),
    "none": (with_pair(), "table: got probabilities that sum to 0 at state 1, action 0; "),
    "negative": (
        with_pair((1.5, 2, 0.0, True), (-0.5, 1, 0.0, False)),
        "table: got (-0.5, 1, 0.0, False) at state 1, action 0; "
        "(probability, next state, reward, terminated)",
    ),
    "order": (
        with_pair((1.0, 2, True, 0.0)),
        "table: got (1.0, 2, True, 0.0) at state 1, action 0; ",
    ),
    "short": (with_pair((1.0, 2, 0.0)), "table: got (1.0, 2, 0.0) at state 1, action 0; "),
    "nan": (
        with_pair((1.0, 2, float("nan"), True)),
        "table: got (1.0, 2, nan, True) at state 1, action 0; ",
    ),
    "unknown": (
        with_pair((1.0, 7, 0.0, True)),
        "table: got unknown next state 7 at state 1, action 0; "
        "states of the table; one in which the episode is over may be {}",
    ),
    "not-a-list": (corridor() | {1: {0: 3}}, "table: got 3 at state 1, action 0; a list of "),
    "action": (
        corridor() | {1: {"up": []}},
        "table: got action 'up' at state 1; a whole number from 0 on",
    ),
    "actions": (corridor() | {1: [[]]}, "table: got [[]] at state 1; a mapping"),
    "gap": (
        {0: {0: [(1.0, 0, 0.0, False)]}, 2: {}},
        "table: got no state 1; states 0 to 1",
    ),
    "no-action": (
        corridor() | {1: {}},
        "table: got no action at state 1; at least one, unless a terminated step leads there",
    ),
    "both": (
        with_pair((0.5, 2, 0.0, True), (0.5, 2, 0.0, False)),
        "table: got a step to state 2 that is not terminated at state 1, action 0; "
        "other steps there are; give the end of an episode a state of its own",
    ),
    "empty": ({}, "table: got {}; a mapping of states to actions to outcomes"),
    "array": (np.zeros(3), "table: got array([0., 0., 0.]); a mapping of "),
}


@pytest.mark.parametrize(("table", "message"), WRONG.values(), ids=WRONG)
def test_mistakes_are_named_by_state_and_action(table, message):
    with pytest.raises(InvalidInput) as raised:
        built(table, initial=[1.0, 0.0, 0.0])
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, float("inf"), "1", [1.0]])
def test_costs_are_numbers(value):
    with pytest.raises(InvalidInput, match=r"costs: got .* of 'toll' at state 0, action 0"):
        built(corridor(), costs={"toll": lambda *step: value})


def test_an_episode_cannot_begin_where_others_end():
    with pytest.raises(InvalidInput, match="initial: got state 2 as a first state; a terminated"):
        built(corridor(), initial=[0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"initial": [1.0, 0.0]}, "initial"),
        ({"initial": [0.5, 0.0, 0.0]}, "initial"),
        ({"discount": 1.0}, "discount"),
        ({"budgets": [1.0, 2.0]}, "budgets"),
        ({"costs": {}, "budgets": []}, "costs"),
    ],
)
def test_the_rest_is_checked_as_arrays_are(settings, field):
    with pytest.raises(InvalidInput) as raised:
        built(corridor(), **settings)
    assert raised.value.field == field


def test_a_huge_action_number_is_refused_before_memory_is_taken():
    table = {0: {MAX_ENTRIES: [(1.0, 0, 0.0, False)]}}
    with pytest.raises(InvalidInput, match="table: got 1; a transition array of at most"):
        built(table)
