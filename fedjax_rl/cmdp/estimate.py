"""A CMDP from logged transitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedjax_rl.checks import is_whole
from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray, from_arrays
from fedjax_rl.errors import InvalidInput

IndexArray = NDArray[np.int64]

MAX_ENTRIES = 10**9
"""Entries of the transition array, 8 GB; more is a mistake in numbering."""


def from_transitions(
    states: ArrayLike,
    actions: ArrayLike,
    rewards: ArrayLike,
    costs: ArrayLike,
    next_states: ArrayLike,
    *,
    discount: ArrayLike,
    budgets: ArrayLike,
    initial: ArrayLike | None = None,
    episode_starts: ArrayLike | None = None,
    num_states: int | None = None,
    num_actions: int | None = None,
    min_count: int = 1,
    constraint_names: Sequence[str] | None = None,
) -> CMDP:
    """Maximum-likelihood estimate of a CMDP from logged (s, a, r, costs, s').

    Transition rows are relative frequencies, rewards and costs are means. Pairs (s, a) seen
    fewer than ``min_count`` times are left out of the support, so that no policy may use what
    the log does not show. A state in which nothing was ever done (the end of an episode) becomes
    absorbing, with zero reward and cost, under every action.

    Args:
        states: [T] indices.
        actions: [T] indices.
        rewards: [T].
        costs: [T, M].
        next_states: [T] indices.
        discount: γ in [0, 1).
        budgets: [M].
        initial: [S]; or else
        episode_starts: [T] booleans, true where ``states`` begins an episode; the initial
            distribution is then the frequency of those states.
        num_states: S, one more than the largest index unless given.
        num_actions: A, one more than the largest index unless given.
        min_count: least number of visits that support a pair.
        constraint_names: M names.

    Raises:
        InvalidInput: arrays of different length, indices out of range, neither or both of
            ``initial`` and ``episode_starts``, or a state whose every action was seen too rarely.
    """
    state, action, successor = (
        _indices(field, values)
        for field, values in (
            ("states", states),
            ("actions", actions),
            ("next_states", next_states),
        )
    )
    signals = _signals(rewards, costs)
    for field, values in (("actions", action), ("next_states", successor), ("rewards", signals)):
        if len(values) != len(state):
            raise InvalidInput(field, f"length {len(values)}", f"states have length {len(state)}")
    size = _extent("num_states", num_states, max(state.max(), successor.max()))
    width = _extent("num_actions", num_actions, action.max())
    if not is_whole(min_count) or min_count < 1:
        raise InvalidInput("min_count", min_count, "a whole number of at least 1")

    check_entries("num_states", size, width)
    counts = np.zeros((size, width, size))
    np.add.at(counts, (state, action, successor), 1.0)
    totals = np.zeros((size, width, signals.shape[1]))
    np.add.at(totals, (state, action), signals)
    visits = counts.sum(-1)
    ended = visits.sum(1) == 0
    support = _support(visits, ended, min_count)

    known = (visits >= min_count)[..., None]
    divisor = np.where(known, visits[..., None], 1.0)
    stay = np.broadcast_to(np.eye(size)[:, None, :], counts.shape)
    means = np.where(known, totals / divisor, 0.0)
    return from_arrays(
        np.where(known, counts / divisor, stay),
        means[..., 0],
        np.moveaxis(means[..., 1:], -1, 0),
        budgets,
        _initial(initial, episode_starts, state, size),
        discount,
        support=support,
        constraint_names=constraint_names,
        notes=f"estimated from {len(state)} transitions: {int(known.sum())} of {size * width} "
        f"state-action pairs supported, {int(ended.sum())} states absorbing",
    )


def check_entries(field: str, num_states: int, num_actions: int) -> None:
    """Raises InvalidInput if the transition array [S, A, S] would be too large.

    Args:
        field: what is to blame, for the message.
        num_states: S.
        num_actions: A.
    """
    if num_states * num_actions * num_states > MAX_ENTRIES:
        raise InvalidInput(
            field,
            num_states,
            f"a transition array of at most {MAX_ENTRIES:.0e} entries; number the states densely",
        )


def _array(field: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:
        raise InvalidInput(field, "a ragged list", "an array with an entry per step") from None


def _indices(field: str, values: ArrayLike) -> IndexArray:
    array = _array(field, values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or array.min() < 0:
        raise InvalidInput(
            field,
            f"{array.dtype} of shape {array.shape}"
            + (f", least {array.min()}" if array.size and array.dtype.kind in "iu" else ""),
            "a non-empty list of whole numbers from 0 on",
        )
    return array.astype(np.int64)


def _signals(rewards: ArrayLike, costs: ArrayLike) -> FloatArray:
    """Rewards and costs side by side, [T, 1 + M]."""
    reward, cost = _array("rewards", rewards), _array("costs", costs)
    for field, array in (("rewards", reward), ("costs", cost)):
        if array.dtype.kind not in "fiub":
            raise InvalidInput(field, f"dtype {array.dtype}", "real numbers are needed")
    if reward.ndim != 1:
        raise InvalidInput("rewards", f"shape {reward.shape}", "[T]")
    if cost.ndim != 2 or len(cost) != len(reward):
        raise InvalidInput("costs", f"shape {cost.shape}", f"[T, M] with T = {len(reward)}")
    signals = np.column_stack([reward, cost]).astype(np.float64)
    if not np.isfinite(signals).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(signals))[0])
        field = "rewards" if column == 0 else "costs"
        raise InvalidInput(field, f"{signals[row, column]} at {row}", "finite numbers are needed")
    return signals


def _extent(field: str, given: int | None, largest: int) -> int:
    if given is None:
        return int(largest) + 1
    if not is_whole(given) or given <= largest:
        raise InvalidInput(
            field,
            given,
            f"a whole number of at least {largest + 1}: the log has index {largest}",
        )
    return int(given)


def _support(visits: FloatArray, ended: BoolArray, min_count: int) -> BoolArray:
    support = (visits >= min_count) | ended[:, None]
    if not support.any(1).all():
        state = int(np.argmin(support.any(1)))
        raise InvalidInput(
            "min_count",
            min_count,
            f"no action of state {state} was seen that often (at most {int(visits[state].max())} "
            "times): choose a smaller count, or log more",
        )
    return support


def _initial(
    initial: ArrayLike | None, episode_starts: ArrayLike | None, state: IndexArray, size: int
) -> ArrayLike:
    if (initial is None) == (episode_starts is None):
        given = "neither" if initial is None else "both"
        raise InvalidInput("initial", given, "exactly one of initial and episode_starts")
    if initial is not None:
        return initial
    assert episode_starts is not None
    starts = _array("episode_starts", episode_starts)
    if starts.dtype != np.bool_ or starts.shape != state.shape or not starts.any():
        raise InvalidInput(
            "episode_starts",
            f"{starts.dtype} of shape {starts.shape}",
            f"booleans of shape {state.shape}, at least one true",
        )
    frequency = np.bincount(state[starts], minlength=size).astype(np.float64)
    distribution: FloatArray = frequency / frequency.sum()
    return distribution
