"""A CMDP from a table of transitions, as Gymnasium's toy-text environments keep theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from fedjax_rl.checks import is_number, is_whole
from fedjax_rl.cmdp.estimate import check_entries
from fedjax_rl.cmdp.model import (
    CMDP,
    ROW_SUM_TOLERANCE,
    BoolArray,
    FloatArray,
    check_initial,
    from_arrays,
)
from fedjax_rl.errors import InvalidInput

Table = Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]
Cost = Callable[[int, int, int], float]

_OUTCOME = "(probability, next state, reward, terminated)"


class _Outcome(NamedTuple):
    """One entry of a table, and where it stands."""

    state: int
    action: int
    probability: float
    successor: int
    reward: float
    terminated: bool


def from_transition_table(
    table: Table,
    initial: ArrayLike,
    discount: ArrayLike,
    costs: Mapping[str, Cost],
    budgets: ArrayLike,
) -> CMDP:
    """The CMDP of ``{state: {action: [(probability, next state, reward, terminated), …]}}``.

    Rewards and costs may depend on where a step leads; their expectations become those of the
    pair (s, a). Outcomes that lead to the same state are added up. A state that a terminated
    step leads to is absorbing, with zero reward and cost whatever its own entries say, so that
    discounted sums are those of an episode. An action that a state lacks has no support there.
    A time limit is no part of a table, and none of the problem.

    Args:
        table: states are 0 … S − 1 and actions 0 … A − 1. A state in which the episode is over
            may be ``{}``. Gymnasium's is ``environment.unwrapped.P``.
        initial: [S], the distribution of the first state; Gymnasium's is
            ``environment.unwrapped.initial_state_distrib``.
        discount: γ in [0, 1).
        costs: for each of M constraints, its name and the cost c(s, a, s′) of a step.
        budgets: [M], in the order of ``costs``.

    Raises:
        InvalidInput: names the state and action whose entries cannot be used, a cost that is not
            a finite number, or a state that some steps end in and others go on from.
    """
    outcomes = list(_outcomes(table))
    num_states = len(table)
    num_actions = 1 + max((action for actions in table.values() for action in actions), default=0)
    check_entries("table", num_states, num_actions)
    initial = check_initial(initial, num_states)
    terminal = np.zeros(num_states, bool)
    terminal[list(_ends(outcomes, initial))] = True

    transition = np.zeros((num_states, num_actions, num_states))
    signals = np.zeros((1 + len(costs), num_states, num_actions))
    for outcome in outcomes:
        state, action, probability, successor, reward, _ = outcome
        if terminal[state]:
            continue
        transition[state, action, successor] += probability
        signals[0, state, action] += probability * reward
        for index, (name, cost) in enumerate(costs.items(), start=1):
            signals[index, state, action] += probability * _cost_of(outcome, name, cost)
    given = transition.any(-1)
    _check_actions(given | terminal[:, None])
    # A row without support has to be a distribution as well; it is never used.
    states, actions = np.nonzero(~given)
    transition[states, actions, states] = 1.0
    return from_arrays(
        transition,
        signals[0],
        signals[1:],
        budgets,
        initial,
        discount,
        support=given | terminal[:, None],
        constraint_names=tuple(costs),
        notes=f"from a transition table; {int(terminal.sum())} of {num_states} states end it",
    )


def _outcomes(table: Table) -> Iterator[_Outcome]:
    """The entries of a table, validated, state by state and action by action."""
    if not isinstance(table, Mapping) or not table:
        raise InvalidInput("table", _short(table), "a mapping of states to actions to outcomes")
    for state in range(len(table)):
        if state not in table:
            raise InvalidInput("table", f"no state {state}", f"states 0 to {len(table) - 1}")
        actions = table[state]
        if not isinstance(actions, Mapping):
            raise InvalidInput("table", f"{_short(actions)} at state {state}", "a mapping")
        for action in actions:
            if not _is_index(action):
                raise InvalidInput(
                    "table", f"action {_short(action)} at state {state}", "a whole number from 0 on"
                )
            yield from _of_pair(table, state, int(action))


def _of_pair(table: Table, state: int, action: int) -> Iterator[_Outcome]:
    position = f"at state {state}, action {action}"
    entries = table[state][action]
    if not isinstance(entries, Sequence):
        raise InvalidInput("table", f"{_short(entries)} {position}", f"a list of {_OUTCOME}")
    total = 0.0
    for entry in entries:
        outcome = _read(entry, state, action)
        if outcome is None:
            raise InvalidInput("table", f"{_short(entry)} {position}", _OUTCOME)
        if outcome.successor not in table:
            raise InvalidInput(
                "table",
                f"unknown next state {outcome.successor} {position}",
                "states of the table; one in which the episode is over may be {}",
            )
        total += outcome.probability
        yield outcome
    if abs(total - 1.0) > ROW_SUM_TOLERANCE:
        raise InvalidInput(
            "table",
            f"probabilities that sum to {total:.10g} {position}",
            "a sum of 1; an action that cannot be taken is left out",
        )


def _read(entry: Any, state: int, action: int) -> _Outcome | None:
    """The outcome, or None if it is not one."""
    if not isinstance(entry, Sequence) or len(entry) != 4:
        return None
    probability, successor, reward, terminated = entry
    if not (is_number(probability) and _is_index(successor) and is_number(reward)):
        return None
    if not isinstance(terminated, bool | np.bool_) or probability < 0:
        return None
    return _Outcome(
        state, action, float(probability), int(successor), float(reward), bool(terminated)
    )


def _cost_of(outcome: _Outcome, name: str, cost: Cost) -> float:
    value = cost(outcome.state, outcome.action, outcome.successor)
    if not isinstance(value, bool | np.bool_) and not is_number(value):
        raise InvalidInput(
            "costs",
            f"{_short(value)} of {name!r} at state {outcome.state}, action {outcome.action}, "
            f"next state {outcome.successor}",
            "a finite number",
        )
    return float(value)


def _check_actions(support: BoolArray) -> None:
    if not support.any(1).all():
        state = int(np.argmin(support.any(1)))
        raise InvalidInput(
            "table",
            f"no action at state {state}",
            "at least one, unless a terminated step leads there",
        )


def _ends(outcomes: list[_Outcome], initial: FloatArray) -> set[int]:
    """States in which an episode is over, found by walking from the first states on.

    What a table says of such a state itself is nobody's experience and is not followed: some
    tables stay there, some go on, some begin anew.
    """
    possible = [outcome for outcome in outcomes if outcome.probability > 0]
    leaving = defaultdict(list)
    for outcome in possible:
        leaving[outcome.state].append(outcome)
    ends: set[int] = set()
    goes_on: dict[int, _Outcome | None] = dict.fromkeys(map(int, np.flatnonzero(initial)))
    frontier = list(goes_on)
    while frontier:
        for outcome in leaving[frontier.pop()]:
            if outcome.terminated:
                ends.add(outcome.successor)
            elif outcome.successor not in goes_on:
                goes_on[outcome.successor] = outcome
                frontier.append(outcome.successor)
    for state in sorted(ends & set(goes_on)):
        _refuse_both(state, goes_on[state])
    unseen = {
        outcome.successor
        for outcome in possible
        if outcome.terminated and outcome.state not in goes_on
    }
    return ends | (unseen - set(goes_on))


def _refuse_both(state: int, step: _Outcome | None) -> NoReturn:
    """An episode goes on from where another one ends, which takes two states to say."""
    if step is None:
        begins = f"state {state} as a first state"
        raise InvalidInput(
            "initial", begins, "a terminated step leads there; give it another state"
        )
    raise InvalidInput(
        "table",
        f"a step to state {state} that is not terminated at state {step.state}, "
        f"action {step.action}",
        "other steps there are; give the end of an episode a state of its own",
    )


def _is_index(value: Any) -> bool:
    return is_whole(value) and bool(value >= 0)


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
