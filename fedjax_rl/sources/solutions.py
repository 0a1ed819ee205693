"""Certificates cached by the content of their problem."""

from __future__ import annotations

from importlib.metadata import version

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.solve import (
    Certificate,
    SolverName,
    from_arrays,
    problem_digest,
    solve,
    to_arrays,
)
from fedjax_rl.records.cache import cached, keep, key_of

FOLDER = "solutions"


def certify(problem: CMDP, solver: SolverName = "auto") -> Certificate:
    """The certificate of a problem, from the cache or solved now.

    Raises:
        InvalidInput: the budgets are infeasible, or there is no such solver.
    """
    key = key_of(problem_digest(problem), solver, version("numpy"), version("scipy"))
    if (known := cached(FOLDER, key)) is not None:
        try:
            return from_arrays(known)
        except (ValueError, KeyError, TypeError):
            pass
    certificate = solve(problem, solver)
    keep(FOLDER, key, to_arrays(certificate))
    return certificate
