"""Certificates cached by the content of their problem."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.solve import (
    Certificate,
    SolverName,
    from_arrays,
    problem_digest,
    solve,
    to_arrays,
)
from fedjax_rl.runs.directory import UNREADABLE, npz_bytes, write_atomically


def cache_directory() -> Path:
    """``$FEDJAX_RL_CACHE``, else ``$XDG_CACHE_HOME/fedjax_rl``, else ``~/.cache/fedjax_rl``."""
    if chosen := os.environ.get("FEDJAX_RL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedjax_rl"


def certify(problem: CMDP, solver: SolverName = "auto") -> Certificate:
    """The certificate of a problem, from the cache or solved now.

    A cache that cannot be read or written is no obstacle: the problem is solved again.

    Raises:
        InvalidInput: the budgets are infeasible, or there is no such solver.
    """
    entry = cache_directory() / "solutions" / f"{problem_digest(problem)}-{solver}.npz"
    if (known := _read(entry)) is not None:
        return known
    certificate = solve(problem, solver)
    _write(entry, certificate)
    return certificate


def _read(entry: Path) -> Certificate | None:
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            return from_arrays(dict(arrays))
    except (*UNREADABLE, KeyError, TypeError):
        return None


def _write(entry: Path, certificate: Certificate) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, npz_bytes(to_arrays(certificate)))
    except OSError:
        return
