"""Estimates from records: by hand, in the limit, and what becomes of pairs never tried."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp.estimate import from_transitions
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.errors import InvalidInput
from tests import support

pytestmark = pytest.mark.timeout(60)

STATES = [0, 0, 0, 1, 0, 1]
ACTIONS = [0, 0, 0, 1, 1, 1]
NEXT_STATES = [0, 1, 1, 2, 2, 0]
REWARDS = [1.0, 2.0, 6.0, 4.0, 5.0, 7.0]
COSTS = [[0.0, 1.0], [3.0, 1.0], [0.0, 4.0], [2.0, 0.0], [8.0, 9.0], [4.0, 0.0]]
STARTS = [True, False, True, False, True, False]
RECORDS = dict(
    states=STATES, actions=ACTIONS, rewards=REWARDS, costs=COSTS, next_states=NEXT_STATES
)
SETTINGS = dict(discount=0.9, budgets=[1.0, 2.0])


def estimate(**changes):
    given = {**RECORDS, **SETTINGS, "episode_starts": STARTS, **changes}
    return from_transitions(**given)


def test_counts_by_hand():
    """State 2 is never left; (1, 0) and nothing else of states 0 and 1 was never tried."""
    problem = estimate()
    assert problem.transition.shape == (3, 2, 3)
    np.testing.assert_allclose(problem.transition[0, 0], [1 / 3, 2 / 3, 0], atol=1e-16)
    np.testing.assert_array_equal(problem.transition[0, 1], [0, 0, 1])
    np.testing.assert_array_equal(problem.transition[1, 1], [0.5, 0, 0.5])
    np.testing.assert_array_equal(problem.reward, [[3.0, 5.0], [0.0, 5.5], [0.0, 0.0]])
    np.testing.assert_allclose(problem.costs[0], [[1.0, 8.0], [0.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(problem.costs[1], [[2.0, 9.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(problem.support, [[1, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(problem.initial, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(problem.budgets, [1.0, 2.0])
    assert float(problem.discount) == 0.9
    assert problem.constraint_names == ("constraint-0", "constraint-1")


def test_a_state_never_left_absorbs_and_a_pair_never_tried_stays():
    problem = estimate(num_states=5)
    for state in (2, 3, 4):
        for action in (0, 1):
            np.testing.assert_array_equal(problem.transition[state, action], np.eye(5)[state])
    np.testing.assert_array_equal(problem.transition[1, 0], np.eye(5)[1])
    assert problem.support[2:].all()
    assert not problem.reward[2:].any()
    assert not problem.costs[:, 2:].any()


def test_notes_count_pairs_and_absorbing_states():
    assert "6 transitions: 3 of 6 state-action pairs supported, 1 states absorbing" in (
        estimate().notes
    )
    assert "3 of 15 state-action pairs supported, 3 states absorbing" in (
        estimate(num_states=5, num_actions=3).notes
    )


def test_rare_pairs_lose_support_and_their_data():
    problem = estimate(min_count=2)
    np.testing.assert_array_equal(problem.support, [[1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(problem.transition[0, 1], [1, 0, 0])
    assert problem.reward[0, 1] == 0.0
    assert not problem.costs[:, 0, 1].any()
    assert "2 of 6 state-action pairs supported" in problem.notes


def test_a_state_whose_actions_are_all_rare_is_named():
    with pytest.raises(InvalidInput, match=r"min_count: got 3; .*state 1\b.*2"):
        estimate(min_count=3)


def test_no_policy_uses_what_was_never_tried():
    """Doing nothing in state 1 would be free; the optimum may not, for nobody ever did."""
    free = estimate(
        rewards=[-1.0] * 6, budgets=[100.0, 100.0], initial=[0, 1, 0], episode_starts=None
    )
    certificate = solve(free)
    np.testing.assert_array_equal(certificate.policy[1], [0.0, 1.0])
    assert certificate.optimal_value < -1.0


def test_initial_is_given_or_counted():
    starts = [True, False, False, True, True, False]
    np.testing.assert_allclose(estimate(episode_starts=starts).initial, [2 / 3, 1 / 3, 0])
    given = estimate(episode_starts=None, initial=[0.25, 0.25, 0.5])
    np.testing.assert_array_equal(given.initial, [0.25, 0.25, 0.5])


def test_many_records_recover_the_problem():
    known = support.random_problem(3)
    rng = np.random.default_rng(0)
    length = 400_000
    states, actions = rng.integers(0, 5, length), rng.integers(0, 4, length)
    cumulative = known.transition.cumsum(-1)[states, actions]
    next_states = (rng.random((length, 1)) > cumulative).sum(1).clip(max=4)
    noise = rng.normal(size=(length, 5))
    problem = from_transitions(
        states,
        actions,
        known.reward[states, actions] + noise[:, 0],
        known.costs[:, states, actions].T + noise[:, 1:],
        next_states,
        discount=known.discount,
        budgets=known.budgets,
        initial=known.initial,
    )
    assert problem.support.all()
    error = 5 / np.sqrt(length / 20)
    np.testing.assert_allclose(problem.transition, known.transition, atol=0.5 * error)
    np.testing.assert_allclose(problem.reward, known.reward, atol=error)
    np.testing.assert_allclose(problem.costs, known.costs, atol=error)
    uniform = np.full((5, 4), 0.25)
    expected = support.value(known, uniform, known.reward)
    np.testing.assert_allclose(support.value(problem, uniform, problem.reward), expected, atol=0.2)


def test_the_order_of_records_does_not_matter():
    order = [3, 0, 5, 2, 4, 1]
    shuffled = {name: [values[index] for index in order] for name, values in RECORDS.items()}
    again = estimate(**shuffled, episode_starts=[STARTS[index] for index in order])
    for name in ("transition", "reward", "costs", "initial", "support"):
        np.testing.assert_allclose(getattr(again, name), getattr(estimate(), name), atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(actions=ACTIONS[:-1]), "^actions: got "),
        (dict(next_states=[*NEXT_STATES, 0]), "^next_states: got "),
        (dict(rewards=REWARDS[:-1]), "^(rewards|costs): got "),
        (dict(costs=COSTS[:-1]), "^costs: got "),
        (dict(costs=[1.0] * 6), "^costs: got shape"),
        (dict(states=[0, 0, 0, 1, 0, -1]), "^states: got .*-1"),
        (dict(states=[0.0, 0, 0, 1, 0, 1]), "^states: got .*float64"),
        (dict(actions=[True] * 6), "^actions: got .*bool"),
        (dict(states=[[0, 0, 0, 1, 0, 1]]), "^states: got "),
        (dict(num_states=2), "^(num_states|next_states): got "),
        (dict(num_actions=1), "^(num_actions|actions): got "),
        (dict(num_states=3.0), "^num_states: got "),
        (dict(rewards=[1, 2, np.nan, 4, 5, 6]), r"^rewards: got nan at .*2"),
        (dict(costs=[*COSTS[:-1], [np.inf, 0]]), r"^costs: got inf at .*5"),
        (dict(rewards=["a"] * 6), "^rewards: got "),
        (dict(costs=[[0.0, 1.0], [1.0]] * 3), "^costs: got "),
        (dict(states=[[0, 1], [1]]), "^states: got "),
        (dict(episode_starts=None), "^initial: got neither"),
        (dict(initial=[1, 0, 0]), "^initial: got both"),
        (dict(episode_starts=None, initial=[1, 0]), "^(initial|num_states|next_states): got "),
        (dict(episode_starts=None, initial=[1, 1, 0]), "^initial: got sum 2"),
        (dict(episode_starts=[False] * 6), "^episode_starts: got "),
        (dict(episode_starts=[1, 0, 1, 0, 1, 0]), "^episode_starts: got "),
        (dict(episode_starts=STARTS[:-1]), "^episode_starts: got "),
        (dict(min_count=0), "^min_count: got 0"),
        (dict(min_count=1.5), "^min_count: got 1.5"),
        (dict(discount=1.0), "^discount: got 1"),
        (dict(budgets=[1.0]), "^budgets: got "),
        (dict(constraint_names=["one", "one"]), "^constraint_names: got "),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(InvalidInput, match=message) as raised:
        estimate(**changes)
    assert "\n" not in str(raised.value)


def test_no_records_at_all():
    empty = dict(states=[], actions=[], rewards=[], costs=np.zeros((0, 2)), next_states=[])
    with pytest.raises(InvalidInput, match=r"^states: got "):
        estimate(**empty, episode_starts=[])


def test_costs_have_at_least_one_column():
    with pytest.raises(InvalidInput, match=r"^costs: got "):
        estimate(costs=np.zeros((6, 0)), budgets=[])


def test_sizes_counted_by_numpy_are_whole_numbers_too():
    given = np.array(STATES)
    problem = estimate(num_states=given.max() + 2, num_actions=np.int64(3), min_count=np.int32(1))
    assert problem.reward.shape == (3, 3)


INDICES = "a non-empty list of whole numbers from 0 on"
RAGGED = "a ragged list; an array with an entry per step"
WHOLE_MESSAGES = {
    "ragged-states": (dict(states=[[0], [1, 2]]), f"states: got {RAGGED}"),
    "ragged-costs": (dict(costs=[[0.0, 1.0], [1.0]] * 3), f"costs: got {RAGGED}"),
    "ragged-starts": (
        dict(episode_starts=[[True], [True, False]]),
        f"episode_starts: got {RAGGED}",
    ),
    "words": (dict(rewards=["a"] * 6), "rewards: got dtype <U1; real numbers are needed"),
    "complex": (dict(rewards=[1j] * 6), "rewards: got dtype complex128; real numbers are needed"),
    "nothing": (dict(rewards=[None] * 6), "rewards: got dtype object; real numbers are needed"),
    "negative": (
        dict(next_states=[0, 1, 1, 2, 2, -3]),
        f"next_states: got int64 of shape (6,), least -3; {INDICES}",
    ),
    "no-index": (dict(actions=[0.5] * 6), f"actions: got float64 of shape (6,); {INDICES}"),
    "short": (dict(actions=ACTIONS[:-1]), "actions: got length 5; states have length 6"),
    "costs-short": (dict(costs=COSTS[:-1]), "costs: got shape (5, 2); [T, M] with T = 6"),
    "reward-nan": (
        dict(rewards=[1, 2, np.nan, 4, 5, 6]),
        "rewards: got nan at 2; finite numbers are needed",
    ),
    "too-few-states": (
        dict(num_states=2),
        "num_states: got 2; a whole number of at least 3: the log has index 2",
    ),
    "half-an-action": (
        dict(num_actions=2.5),
        "num_actions: got 2.5; a whole number of at least 2: the log has index 1",
    ),
    "true-states": (
        dict(num_states=True),
        "num_states: got True; a whole number of at least 3: the log has index 2",
    ),
    "min-count": (dict(min_count=True), "min_count: got True; a whole number of at least 1"),
    "rare": (
        dict(min_count=4),
        "min_count: got 4; no action of state 0 was seen that often (at most 3 times): "
        "choose a smaller count, or log more",
    ),
    "both": (
        dict(initial=[1, 0, 0]),
        "initial: got both; exactly one of initial and episode_starts",
    ),
    "starts": (
        dict(episode_starts=[False] * 6),
        "episode_starts: got bool of shape (6,); booleans of shape (6,), at least one true",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WHOLE_MESSAGES.values(), ids=WHOLE_MESSAGES)
def test_a_refusal_is_one_line_with_the_field_the_value_and_what_is_allowed(changes, message):
    with pytest.raises(InvalidInput) as raised:
        estimate(**changes)
    assert str(raised.value) == message


def test_a_good_action_that_was_seen_too_rarely_is_never_used():
    """Action 1 earns ten times as much, but was seen once; the optimum must do without it."""
    given = dict(
        states=[0, 0, 0],
        actions=[0, 0, 1],
        rewards=[1.0, 1.0, 10.0],
        costs=[[0.0]] * 3,
        next_states=[0, 0, 0],
        discount=0.5,
        budgets=[1.0],
        initial=[1.0],
    )
    seen_once = solve(from_transitions(**given))
    assert seen_once.optimal_value == pytest.approx(20.0)
    np.testing.assert_allclose(seen_once.policy, [[0.0, 1.0]], atol=1e-12)
    seen_twice = solve(from_transitions(**given, min_count=2))
    assert seen_twice.optimal_value == pytest.approx(2.0)
    np.testing.assert_array_equal(seen_twice.policy, [[1.0, 0.0]])


def test_numbering_that_would_fill_the_memory_is_refused():
    with pytest.raises(InvalidInput, match="num_states: got 1000000001; a transition array of at"):
        from_transitions(
            [0], [0], [0.0], [[0.0]], [10**9], discount=0.9, budgets=[1.0], episode_starts=[True]
        )
