"""``fedjax-rl solve PROBLEM``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class Solve:
    """Solve a finite problem exactly: optimum, multipliers, Slater slack and a certificate.

    Small problems are solved twice, by a linear program and by Dantzig–Wolfe decomposition, and
    the two must agree; large ones by decomposition, whose primal–dual gap is the certificate.
    Solutions are cached by the problem's content.
    """

    problem: tyro.conf.Positional[str]
    """A registered name (see: fedjax-rl list), a file.npz, or module:factory."""
    problem_args: tuple[str, ...] = ()
    """Arguments of the problem's factory, each NAME=VALUE (states=20 seed=3)."""
    agents: int | None = None
    """Number of constraints of a problem that is generated for so many agents."""
    budgets: tuple[float, ...] | None = None
    """d_j, one for each constraint, in place of the problem's own."""
    discount: float | None = None
    """Discount in [0, 1), in place of the problem's own."""
    solver: Literal["auto", "both", "linear-program", "decomposition"] = "auto"
    """Which solver; auto takes both where the linear program is affordable."""
    out: Path | None = None
    """Directory for solution.json and solution.npz."""
    overwrite: bool = False
    """Replace what is in --out."""


def main(arguments: list[str]) -> int:
    """Solves one problem and prints the certificate."""
    options = parse(Solve, arguments, "solve")

    from fedjax_rl.families.tabular.config import FedNPGConfig
    from fedjax_rl.runs.solve import solve_and_record

    shared = ("problem", "problem_args", "agents", "budgets", "discount")
    config = FedNPGConfig(**{name: getattr(options, name) for name in shared})
    solve_and_record(config, options.solver, options.out, options.overwrite)
    return 0
