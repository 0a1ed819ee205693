"""Access matrices Γ: who observes which cost, and how a constraint is split among its owners."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fedjax_rl.cmdp.model import BoolArray, FloatArray
from fedjax_rl.errors import InvalidInput


def default_access(num_agents: int, num_constraints: int) -> BoolArray:
    """One constraint per agent; when the counts differ, constraints are dealt in turn.

    With fewer agents than constraints, agent i watches constraints i, i + N, i + 2N, …; with
    more agents, constraint j is watched by agents j, j + M, ….

    Returns:
        [N, M] booleans; every constraint has an owner and every agent a constraint.
    """
    agent = np.arange(num_agents)[:, None]
    constraint = np.arange(num_constraints)[None, :]
    if num_agents <= num_constraints:
        return constraint % num_agents == agent
    return agent % num_constraints == constraint


def check_access(
    access: ArrayLike, num_constraints: int, constraint_names: tuple[str, ...]
) -> BoolArray:
    """Validates an access matrix Γ [N, M].

    Args:
        access: Γ [N, M]; whatever `numpy.asarray` takes.
        num_constraints: M.
        constraint_names: [M], for the message on a constraint without an owner.

    Raises:
        InvalidInput: not a boolean (or 0/1) matrix with M columns, or a constraint that
            no agent watches.
    """
    try:
        matrix = np.asarray(access)
    except ValueError:
        raise InvalidInput("access", "a ragged list", "a matrix [N, M] of booleans") from None
    if (
        matrix.ndim != 2
        or 0 in matrix.shape
        or matrix.shape[1] != num_constraints
        or matrix.dtype.kind not in "biuf"
        or not np.isin(matrix, (0, 1)).all()
    ):
        raise InvalidInput(
            "access",
            f"{matrix.dtype} of shape {matrix.shape}",
            f"a matrix [N, M] of booleans with M = {num_constraints} is needed",
        )
    matrix = matrix.astype(bool)
    unwatched = [constraint_names[index] for index in np.flatnonzero(~matrix.any(0))]
    if unwatched:
        raise InvalidInput(
            "access",
            f"no agent that watches {', '.join(unwatched)}",
            "every constraint needs at least one owner",
        )
    return matrix


def split_weights(access: BoolArray) -> FloatArray:
    """w_ij = 1/|owners of j| where agent i watches j, else 0, [N, M]; columns sum to one."""
    return access / np.maximum(access.sum(0, keepdims=True), 1)
