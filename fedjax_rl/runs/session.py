"""A command from start to end: check, run, show, record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_rl.cmdp.solve import SolverName, problem_digest, to_arrays
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs import words
from fedjax_rl.runs.assembly import load_configured, prepare
from fedjax_rl.runs.config import FedNPGConfig
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import RunDirectory, check_writable, made_with
from fedjax_rl.runs.drawing import import_matplotlib
from fedjax_rl.runs.finite import FedNPGResult, run
from fedjax_rl.runs.history import Columns
from fedjax_rl.runs.live import FINITE_HEADER, LiveTable, finite_cells, working
from fedjax_rl.runs.place import Destination, open_place
from fedjax_rl.runs.sinks.log import Schedule
from fedjax_rl.runs.solutions import certify
from fedjax_rl.runs.summary import certificate_figures
from fedjax_rl.settings.fields import PROBLEM, names
from fedjax_rl.settings.files import settings_to_yaml


def run_and_record(
    config: FedNPGConfig,
    destination: Destination,
    origin: Mapping[str, Any],
    devices: DeviceSettings = ONE,
) -> bool:
    """Runs FedNPG with a live table and writes the run directory.

    Args:
        config: settings.
        destination: where it is written.
        origin: what the configuration was made with when it came from a ``config.yaml``.
        devices: over which it is spread.

    Returns:
        Whether the run diverged; what was logged is kept.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it, and the run is saved.
    """
    destination.check()
    with working(f"solving {config.problem} exactly"):
        prepared = prepare(config, devices=devices)
    digest = problem_digest(prepared.problem.cmdp)
    if origin.get("problem_sha256", digest) != digest:
        raise InvalidInput(
            "--config", config.problem, "the problem's content is not what that run was made with"
        )
    print(words.opening(prepared))
    settings = dataclasses.asdict(resolved(config))
    prepared = prepared._replace(chunk_rounds=destination.checkpoints.chunk(prepared.chunk_rounds))
    with open_place(destination, "fednpg", settings, digest) as (directory, keeper, kept, open_log):
        cells = partial(finite_cells, layout=prepared.layout)
        logged = Schedule("round", config.rounds, config.log_every, config.seeds)
        with open_log(logged) as log, LiveTable(config.rounds, FINITE_HEADER, cells) as table, kept:

            def on_rows(rows: Columns) -> None:
                log.write(rows)
                table.show(rows)

            result = run(prepared, on_rows, keeper)
            log.write_last(result.history)  # of a run that diverged
        print(words.closing(result))
        if directory is not None:
            _record(directory, result)
            print(f"Written to {directory.path}: {', '.join(directory.names())}")
        else:
            print("Nothing was written; --out DIR keeps the table, the policies and plots.")
    return result.outcome.failed_round is not None


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
    print(words.certificate(problem, certificate))
    if out is None:
        return
    surroundings = made_with(problem_digest(problem.cmdp))
    with RunDirectory(out, overwrite=overwrite) as directory:
        settings = dataclasses.asdict(resolved(config))
        asked = {name: settings[name] for name in names(FedNPGConfig, PROBLEM)} | {"solver": solver}
        directory.write_text("config.yaml", settings_to_yaml("solve", asked, surroundings))
        directory.write_json("solution.json", certificate_figures(problem, certificate))
        directory.write_arrays("solution.npz", to_arrays(certificate))
        print(f"Written to {directory.path}: {', '.join(directory.names())}")


def resolved(config: Any) -> Any:
    """The configuration with absolute file names, so that it runs from anywhere."""
    changes: dict[str, Any] = {}
    for field in ("problem", "access"):
        value = getattr(config, field)
        if value is not None and value.lower().endswith((".npz", ".yaml", ".yml")):
            changes[field] = str(Path(value).resolve())
    return dataclasses.replace(config, **changes)


def _record(directory: RunDirectory, result: FedNPGResult) -> None:
    import_matplotlib(directory.path)
    from fedjax_rl.runs.plots import plot_run

    directory.write_arrays(
        "policy.npz",
        {
            "last": result.outcome.last_policy,
            "averaged": result.outcome.averaged_policy,
            "recommended": np.array(result.summary["recommended_policy"]),
        },
    )
    with working("drawing"):
        plot_run(result, directory.path)
    directory.write_json("summary.json", result.summary)  # last: a run that has one is finished
