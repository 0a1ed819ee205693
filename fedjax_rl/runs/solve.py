"""``solve`` from start to end: load, certify, show, record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fedjax_rl.cmdp.solve import SolverName, problem_digest, to_arrays
from fedjax_rl.families.tabular import messages
from fedjax_rl.families.tabular.assembly import load_configured
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.summary import certificate_figures
from fedjax_rl.records.directory import RunDirectory, check_writable, made_with
from fedjax_rl.settings.files import settings_to_yaml
from fedjax_rl.settings.paths import absolute
from fedjax_rl.sources.problems import PROBLEM_FILES
from fedjax_rl.sources.solutions import certify
from fedjax_rl.terminal.live import working

PROBLEM_SETTINGS = ("problem", "problem_args", "agents", "budgets", "discount")


def solve_and_record(
    config: FedNPGConfig, solver: SolverName, out: Path | None, overwrite: bool
) -> None:
    """Solves a problem, prints the certificate and writes it when asked to.

    Raises:
        InvalidInput: before anything is written; for infeasible budgets with the Slater slack.
    """
    if out is not None:
        check_writable(out, overwrite=overwrite)
    problem = load_configured(config)
    with working(f"solving {problem.name}"):
        certificate = certify(problem.cmdp, solver)
    print(messages.certificate(problem, certificate))
    if out is None:
        return
    surroundings = made_with(problem_digest(problem.cmdp))
    with RunDirectory(out, overwrite=overwrite) as directory:
        settings = dataclasses.asdict(absolute(config, PROBLEM_FILES))
        requested = {name: settings[name] for name in PROBLEM_SETTINGS} | {"solver": solver}
        directory.write_text("config.yaml", settings_to_yaml("solve", requested, surroundings))
        directory.write_json("solution.json", certificate_figures(problem, certificate))
        directory.write_arrays("solution.npz", to_arrays(certificate))
        print(f"Written to {directory.path}: {', '.join(directory.names())}")
