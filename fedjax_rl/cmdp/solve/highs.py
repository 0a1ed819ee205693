"""One way to call HiGHS: tolerances for eight digits, and a failure that is told."""

from __future__ import annotations

from typing import Any

from scipy.optimize import linprog

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.errors import SolverFailure

HIGHS_TOLERANCE = 1e-10
"""Primal and dual; the smallest that HiGHS accepts."""

NUMERICAL_TROUBLE = 4
"""Status after which presolve is left out: it can spoil a degenerate program of a few rows."""


class ProgramFailure(SolverFailure):
    """HiGHS found no optimum; the message is its own.

    Attributes:
        status: of `scipy.optimize.linprog`: 1 iteration limit, 2 infeasible, 3 unbounded,
            4 numerical trouble.
    """

    def __init__(self, status: int, message: str):
        super().__init__(
            f"HiGHS status {status}: {' '.join(message.split())}; rewards, costs and budgets of "
            "very different size, or a discount close to 1, may be the reason"
        )
        self.status = status


def minimise(
    objective: FloatArray,
    *,
    upper: tuple[Any, FloatArray] | None = None,
    equal: tuple[Any, FloatArray] | None = None,
    bounds: FloatArray | tuple[float, None] = (0.0, None),
) -> Any:
    """The least objective·x s.t. upper[0] x ≤ upper[1], equal[0] x = equal[1] within the bounds.

    Args:
        objective: [n].
        upper: matrix [m, n], dense or sparse, and right side [m].
        equal: matrix [k, n], dense or sparse, and right side [k].
        bounds: one pair for all variables or [n, 2]; infinite entries are allowed.

    Returns:
        The `scipy.optimize.OptimizeResult`; marginals of ``ineqlin`` are at most 0.

    Raises:
        ProgramFailure: infeasible, unbounded, or numerical trouble.
    """
    upper_matrix, upper_side = upper if upper is not None else (None, None)
    equal_matrix, equal_side = equal if equal is not None else (None, None)
    program: Any = linprog  # the stubs know no sparse matrices
    for presolve in (True, False):
        result = program(
            objective,
            A_ub=upper_matrix,
            b_ub=upper_side,
            A_eq=equal_matrix,
            b_eq=equal_side,
            bounds=bounds,
            method="highs",
            options={
                "presolve": presolve,
                "primal_feasibility_tolerance": HIGHS_TOLERANCE,
                "dual_feasibility_tolerance": HIGHS_TOLERANCE,
            },
        )
        if result.status != NUMERICAL_TROUBLE:
            break
    if result.status != 0:
        raise ProgramFailure(int(result.status), str(result.message))
    return result
