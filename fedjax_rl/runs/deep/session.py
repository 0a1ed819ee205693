"""Commands on networks from start to end: check, run, show, record."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_rl.cmdp.solve import problem_digest
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import settings_to_yaml
from fedjax_rl.runs.deep import words
from fedjax_rl.runs.deep.assembly import DeepPrepared, prepare
from fedjax_rl.runs.deep.config import DeepConfig
from fedjax_rl.runs.deep.history import Columns, tidy
from fedjax_rl.runs.deep.policy_file import policy_arrays
from fedjax_rl.runs.deep.training import DeepResult, run
from fedjax_rl.runs.directory import RunDirectory, check_writable, made_with
from fedjax_rl.runs.live import LiveTable, working
from fedjax_rl.runs.session import resolved

COMPARED = ("fed", "omniscient", "no-communication", "unconstrained")
"""What ``--compare`` runs side by side."""


def run_and_record(
    name: str, config: DeepConfig, out: Path | None, overwrite: bool, origin: Mapping[str, Any]
) -> bool:
    """Runs an algorithm with a live table and writes the run directory.

    Args:
        name: ``fedppo`` or ``fednatural``.
        config: settings.
        out: directory, or None to write nothing.
        overwrite: whether an earlier run there may be replaced.
        origin: what the configuration was made with when it came from a ``config.yaml``.

    Returns:
        Whether a seed diverged; the others are complete.

    Raises:
        InvalidInput: before anything is written.
    """
    if out is not None:
        check_writable(out, overwrite=overwrite)
    with working(f"preparing {config.problem}"):
        prepared = prepare(name, config)
    check_origin(prepared, origin)
    directory = _opened(out, overwrite, prepared)
    result = _shown(prepared, directory)
    _finished(directory)
    return bool((result.failed_seeds >= 0).any())


def compare_and_record(
    name: str, config: DeepConfig, out: Path | None, overwrite: bool, origin: Mapping[str, Any]
) -> bool:
    """Runs the federation and its references one after another, each in a directory of its own.

    Arguments, result and errors are those of `run_and_record`; the directory holds the
    federation's run, and those of the references in directories of their names.

    Raises:
        InvalidInput: ``reference`` is not ``fed``, or before anything is written.
    """
    if config.reference != "fed":
        raise InvalidInput("--reference", repr(config.reference), "fed with --compare")
    if out is not None:
        check_writable(out, overwrite=overwrite)
        for who in COMPARED[1:]:
            check_writable(out / who, overwrite=True)
    with working(f"preparing {config.problem}"):
        prepared = {who: prepare(name, _as(config, who)) for who in COMPARED}
    check_origin(prepared["fed"], origin)
    results: dict[str, DeepResult] = {}
    directory = _opened(out, overwrite, prepared["fed"])
    for who, run_of in prepared.items():
        place = directory
        if directory is not None and who != "fed":
            place = _opened(directory.path / who, True, run_of)
        results[who] = _shown(run_of, place)
    print(words.comparison({who: result.summary for who, result in results.items()}))
    if directory is not None:
        _record_comparison(directory, results)
    _finished(directory)
    return any((result.failed_seeds >= 0).any() for result in results.values())


def _as(config: DeepConfig, reference: Any) -> DeepConfig:
    """The configuration of a reference; CRPO means nothing to one that sees no cost."""
    duals = "gradient" if reference == "unconstrained" else config.duals
    return dataclasses.replace(config, reference=reference, duals=duals)


def check_origin(prepared: DeepPrepared, origin: Mapping[str, Any]) -> None:
    """Raises InvalidInput when a configuration was made with another problem's content."""
    digest = task_digest(prepared)
    if origin.get("problem_sha256", digest) != digest:
        raise InvalidInput(
            "--config",
            prepared.config.problem,
            "the problem's content is not what that run was made with",
        )


def task_digest(prepared: DeepPrepared) -> str:
    """SHA-256 of what is known of a task: a finite problem's arrays, or parameters and budgets."""
    if prepared.chosen.problem is not None:
        return problem_digest(prepared.chosen.problem.cmdp)
    task = prepared.task
    known = [task.environment.name, task.constraint_names, task.budgets.tolist(), task.kinds]
    numbers = sorted((name, np.asarray(leaf).tolist()) for name, leaf in vars(task.params).items())
    return hashlib.sha256(repr([known, numbers]).encode()).hexdigest()


def _opened(out: Path | None, overwrite: bool, prepared: DeepPrepared) -> RunDirectory | None:
    if out is None:
        return None
    directory = RunDirectory(out, overwrite=overwrite)
    settings = dataclasses.asdict(resolved(prepared.config))
    text = settings_to_yaml(prepared.name, settings, made_with(task_digest(prepared)))
    directory.write_text("config.yaml", text)
    return directory


def _shown(prepared: DeepPrepared, directory: RunDirectory | None) -> DeepResult:
    """Runs with a live table, and records what there is to record."""
    config = prepared.config
    print(words.opening(prepared), flush=True)
    cells = partial(words.cells, prepared=prepared)
    with LiveTable(config.rounds, words.HEADER, cells) as table:

        def on_rows(rows: Columns) -> None:
            if directory is not None:
                _append(directory, rows, config)
            table.show(rows)

        result = run(prepared, on_rows)
    print(words.closing(result), flush=True)
    if directory is not None:
        _record(directory, result)
    return result


def _append(directory: RunDirectory, rows: Columns, config: DeepConfig) -> None:
    """Logged rows; what is undefined is left empty."""
    logged = (rows["round"] % config.log_every == 0) | (rows["round"] == config.rounds)
    kept = [
        [None if value != value else value for value in column[logged].tolist()]
        for column in rows.values()
    ]
    directory.append_rows("metrics.csv", list(rows), list(zip(*kept, strict=True)))


def _record(directory: RunDirectory, result: DeepResult) -> None:
    from fedjax_rl.runs.deep.plots import plot_run

    header, rows = tidy(result.evaluations, result.prepared)
    directory.append_rows("evaluations.csv", header, rows)
    directory.write_json("summary.json", result.summary)
    directory.write_arrays("policy.npz", policy_arrays(result.policy))
    with working("drawing"):
        plot_run(result, directory.path)


def _record_comparison(directory: RunDirectory, results: Mapping[str, DeepResult]) -> None:
    from fedjax_rl.runs.deep.plots import plot_comparison

    summaries = {who: result.summary for who, result in results.items()}
    rewards = {f"reward_{who.replace('-', '_')}": s["reward"] for who, s in summaries.items()}
    directory.write_json("summary.json", {**summaries["fed"], **rewards})
    header = ["reference", "reward", *(f"cost/{name}" for name in summaries["fed"]["costs"])]
    header += ["feasible", "environment_steps", "bytes_exchanged", "seconds"]
    directory.append_rows(
        "comparison.csv",
        header,
        [
            [who, s["reward"], *s["costs"].values(), *(s[name] for name in header[-4:])]
            for who, s in summaries.items()
        ],
    )
    with working("drawing"):
        plot_comparison(results, directory.path)


def _finished(directory: RunDirectory | None) -> None:
    if directory is None:
        print("Nothing was written; --out DIR keeps the table, the policy and plots.")
        return
    names = ", ".join(sorted(path.name for path in directory.path.iterdir()))
    print(f"Written to {directory.path}: {names}", flush=True)
