"""A finite constrained Markov decision problem, validated once at the boundary."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedjax_rl.errors import InvalidInput

ROW_SUM_TOLERANCE = 1e-8

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class CMDP:
    """A finite CMDP: maximise V_r(ρ) subject to V_cj(ρ) ≤ d_j for every constraint j.

    Fields are host arrays in float64 (a pytree; constraint names are static), so that
    nothing is rounded before a float64 program is entered. Build one with `from_arrays`,
    which validates; the constructor itself does not.

    Attributes:
        transition: [S, A, S], P(s' | s, a); rows sum to one.
        reward: [S, A], expected reward of a step, in the problem's own units.
        costs: [M, S, A], expected cost of a step for each constraint.
        budgets: [M], the largest allowed discounted cost d_j.
        initial: [S], the distribution ρ of the first state.
        discount: γ in [0, 1).
        support: [S, A], the actions a policy may take; every state has at least one.
        constraint_names: M distinct names.
        notes: one line on how the problem came to be, for people.
    """

    transition: FloatArray
    reward: FloatArray
    costs: FloatArray
    budgets: FloatArray
    initial: FloatArray
    discount: FloatArray
    support: BoolArray
    constraint_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    notes: str = dataclasses.field(default="", metadata={"static": True})

    @property
    def num_states(self) -> int:
        return self.reward.shape[0]

    @property
    def num_actions(self) -> int:
        return self.reward.shape[1]

    @property
    def num_constraints(self) -> int:
        return self.costs.shape[0]


AXES = {
    **{"transition": "[S, A, S]", "reward": "[S, A]", "costs": "[M, S, A]"},
    **{"budgets": "[M]", "initial": "[S]"},
}


def from_arrays(
    transition: ArrayLike,
    reward: ArrayLike,
    costs: ArrayLike,
    budgets: ArrayLike,
    initial: ArrayLike,
    discount: ArrayLike,
    *,
    support: ArrayLike | None = None,
    constraint_names: Sequence[str] | None = None,
    notes: str = "",
) -> CMDP:
    """Builds a validated `CMDP` from anything NumPy can read.

    Args:
        transition: [S, A, S] with rows that sum to one within 1e-8.
        reward: [S, A].
        costs: [M, S, A] with M ≥ 1.
        budgets: [M].
        initial: [S], sums to one.
        discount: scalar in [0, 1).
        support: [S, A] booleans or 0 and 1, all true unless given.
        constraint_names: M distinct names, text or UTF-8 bytes; ``constraint-0`` … unless given.
        notes: one line on how the problem came to be.

    Raises:
        InvalidInput: names the array, the offending entry and what is allowed.

    Examples:
        One state, where action 1 pays 1 and costs 1 in every step. At γ = ½ a policy that takes it
        with probability p has V_r = V_c = 2p.

        >>> coin = from_arrays(
        ...     transition=[[[1.0], [1.0]]],
        ...     reward=[[0.0, 1.0]],
        ...     costs=[[[0.0, 1.0]]],
        ...     budgets=[0.5],
        ...     initial=[1.0],
        ...     discount=0.5,
        ... )
        >>> coin.num_states, coin.num_actions, coin.constraint_names
        (1, 2, ('constraint-0',))
    """
    transition = _real_array("transition", transition, 3)
    num_states, num_actions, _ = transition.shape
    _check_shape("transition", transition, (num_states, num_actions, num_states), "[S, A, S]")
    _check_rows(transition)
    reward = _real_array("reward", reward, 2)
    _check_shape("reward", reward, (num_states, num_actions), "[S, A]")
    costs, budgets = _real_array("costs", costs, 3), _real_array("budgets", budgets, 1)
    if costs.shape[1:] != (num_states, num_actions):
        shape = (len(budgets), num_states, num_actions)
        raise InvalidInput("costs", f"shape {costs.shape}", f"expected [M, S, A] = {shape}")
    if costs.shape[0] == 0:
        raise InvalidInput("costs", f"shape {costs.shape}", "at least one constraint is needed")
    _check_shape("budgets", budgets, (costs.shape[0],), "[M], one per constraint of costs")
    initial = check_initial(initial, num_states)
    return CMDP(
        transition=transition,
        reward=reward,
        costs=costs,
        budgets=budgets,
        initial=initial,
        discount=_check_discount(discount),
        support=_check_support(support, (num_states, num_actions)),
        constraint_names=_check_names(constraint_names, costs.shape[0]),
        notes=notes,
    )


def with_settings(
    problem: CMDP, *, budgets: ArrayLike | None = None, discount: ArrayLike | None = None
) -> CMDP:
    """A copy of a problem with other budgets or another discount, validated again.

    Args:
        problem: stays as it is.
        budgets: d [M], in the units of the costs; None keeps them.
        discount: γ in [0, 1); None keeps it.

    Raises:
        InvalidInput: budgets of another shape, or a discount outside of [0, 1).
    """
    changes: dict[str, Any] = {}
    if budgets is not None:
        changes["budgets"] = _real_array("budgets", budgets, 1)
        _check_shape(
            "budgets", changes["budgets"], (problem.num_constraints,), "[M], one per constraint"
        )
    if discount is not None:
        changes["discount"] = _check_discount(discount)
    return dataclasses.replace(problem, **changes)


def _real_array(field: str, value: ArrayLike, rank: int) -> FloatArray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise InvalidInput(field, "a ragged list", f"an array of rank {rank}") from None
    if array.dtype.kind == "f" and array.dtype.itemsize != 8:  # of either byte order
        raise InvalidInput(
            field,
            f"dtype {array.dtype}",
            "float64 is needed: finite problems are exact to 1e-12, build the array in float64",
        )
    if array.dtype.kind not in "fiub":
        raise InvalidInput(field, f"dtype {array.dtype}", "real numbers in float64 are needed")
    if array.ndim != rank:
        axes = f" {AXES[field]}" if field in AXES else ""
        raise InvalidInput(
            field, f"shape {array.shape}", f"an array of rank {rank}{axes} is needed"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        position = f" at index {where}" if rank else ""
        raise InvalidInput(field, f"{array[where]}{position}", "finite numbers are needed")
    return array


def _check_shape(field: str, array: FloatArray, shape: tuple[int, ...], meaning: str) -> None:
    if array.shape != shape or 0 in shape[-2:]:
        raise InvalidInput(field, f"shape {array.shape}", f"expected {meaning} = {shape}")


def _check_rows(transition: FloatArray) -> None:
    negative = np.argwhere(transition < 0)
    if negative.size:
        state, action, successor = negative[0]
        raise InvalidInput(
            "transition",
            f"{transition[state, action, successor]:g} at state {state}, action {action}, "
            f"next state {successor}",
            "probabilities are at least 0",
        )
    sums = transition.sum(-1)
    wrong = np.argwhere(np.abs(sums - 1.0) > ROW_SUM_TOLERANCE)
    if wrong.size:
        state, action = wrong[0]
        raise InvalidInput(
            "transition",
            f"row sum {sums[state, action]:.10g} at state {state}, action {action}",
            f"each row [s, a, :] must sum to 1 ({len(wrong)} of {sums.size} rows do not)",
        )


def check_initial(initial: ArrayLike, num_states: int) -> FloatArray:
    """The distribution of the first state, [S].

    Args:
        initial: [S], whatever NumPy can read.
        num_states: S.

    Raises:
        InvalidInput: another shape, or no distribution.
    """
    initial = _real_array("initial", initial, 1)
    _check_shape("initial", initial, (num_states,), "[S]")
    if (initial < 0).any():
        state = int(np.argmin(initial))
        raise InvalidInput(
            "initial", f"{initial[state]:g} at state {state}", "probabilities are at least 0"
        )
    if abs(initial.sum() - 1.0) > ROW_SUM_TOLERANCE:
        raise InvalidInput("initial", f"sum {initial.sum():.10g}", "the distribution must sum to 1")
    return initial


def _check_discount(discount: ArrayLike) -> FloatArray:
    value = _real_array("discount", discount, 0)
    if not 0.0 <= value < 1.0:
        raise InvalidInput("discount", f"{value:g}", "a number in [0, 1) is needed")
    return value


def _check_support(support: ArrayLike | None, shape: tuple[int, int]) -> BoolArray:
    if support is None:
        return np.ones(shape, bool)
    try:
        mask = np.array(support)
    except ValueError:
        raise InvalidInput("support", "a ragged list", f"booleans [S, A] = {shape}") from None
    if mask.shape != shape or mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise InvalidInput(
            "support", f"{mask.dtype} of shape {mask.shape}", f"booleans [S, A] = {shape}"
        )
    if not mask.any(1).all():
        raise InvalidInput(
            "support",
            f"no action in state {int(np.argmin(mask.any(1)))}",
            "every state needs at least one allowed action",
        )
    return mask.astype(bool)


def _name(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _check_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"constraint-{index}" for index in range(count))
    if np.ndim(names) != 1:
        raise InvalidInput("constraint_names", repr(names), f"a list of {count} names is needed")
    try:
        names = tuple(_name(name) for name in names)
    except UnicodeDecodeError:
        raise InvalidInput("constraint_names", repr(names), "names in UTF-8 are needed") from None
    if len(names) != count or len(set(names)) != count:
        raise InvalidInput("constraint_names", list(names), f"{count} distinct names are needed")
    if any(not name.isprintable() or not name for name in names):
        raise InvalidInput("constraint_names", list(names), "printable names are needed")
    return names
