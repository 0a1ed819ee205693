"""Commands on networks from start to end: check, run, show, record."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from fedjax_rl.cmdp.solve import problem_digest
from fedjax_rl.errors import InvalidInput, Stopped
from fedjax_rl.runs.deep import words
from fedjax_rl.runs.deep.assembly import DeepPrepared, prepare
from fedjax_rl.runs.deep.config import DeepConfig
from fedjax_rl.runs.deep.history import Columns, tidy
from fedjax_rl.runs.deep.policy_file import policy_arrays
from fedjax_rl.runs.deep.training import DeepResult, run
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import RunDirectory
from fedjax_rl.runs.drawing import import_matplotlib
from fedjax_rl.runs.live import LiveTable, working
from fedjax_rl.runs.place import Destination, Place, open_place
from fedjax_rl.runs.session import resolved
from fedjax_rl.runs.sinks.log import Schedule

COMPARED = ("fed", "omniscient", "no-communication", "unconstrained")
"""What ``--compare`` runs side by side."""


def run_and_record(
    name: str,
    config: DeepConfig,
    destination: Destination,
    origin: Mapping[str, Any],
    devices: DeviceSettings = ONE,
) -> bool:
    """Runs an algorithm with a live table and writes the run directory.

    Args:
        name: ``fedppo`` or ``fednatural``.
        config: settings.
        destination: where it is written.
        origin: what the configuration was made with when it came from a ``config.yaml``.
        devices: over which it is spread.

    Returns:
        Whether a seed diverged; the others are complete.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it, and the run is saved.
    """
    destination.check()
    with working(f"preparing {config.problem}"):
        prepared = prepare(name, config, devices=devices)
    check_origin(prepared, origin)
    with _opened(destination, prepared) as place:
        result = _shown(prepared, destination, place)
        _finished(place.directory)
    return bool((result.failed_seeds >= 0).any())


def compare_and_record(
    name: str,
    config: DeepConfig,
    destination: Destination,
    origin: Mapping[str, Any],
    devices: DeviceSettings = ONE,
) -> bool:
    """Runs the federation and its references one after another, each in a directory of its own.

    Arguments, result and errors are those of `run_and_record`; the directory holds the
    federation's run, and those of the references in directories of their names.

    Raises:
        InvalidInput: ``reference`` is not ``fed``, or before anything is written.
    """
    if config.reference != "fed":
        raise InvalidInput("--reference", repr(config.reference), "fed with --compare")
    places = {who: destination if who == "fed" else destination.below(who) for who in COMPARED}
    for where in places.values():
        where.check()
    with working(f"preparing {config.problem}"):
        prepared = {who: prepare(name, _as(config, who), devices=devices) for who in COMPARED}
    check_origin(prepared["fed"], origin)
    results: dict[str, DeepResult] = {}
    with _opened(destination, prepared["fed"], compare=True) as whole:
        try:
            results["fed"] = _shown(prepared["fed"], destination, whole)
            for who in COMPARED[1:]:
                with _opened(places[who], prepared[who]) as place:
                    results[who] = _shown(prepared[who], places[who], place)
        except Stopped as stop:
            raise stop.of(destination.out) from None
        print(words.comparison({who: result.summary for who, result in results.items()}))
        if whole.directory is not None:
            _record_comparison(whole.directory, results)
        _finished(whole.directory)
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


def _opened(
    destination: Destination, prepared: DeepPrepared, compare: bool = False
) -> AbstractContextManager[Place]:
    settings = dataclasses.asdict(resolved(prepared.config))
    extra = {"compare": True} if compare else {}
    return open_place(destination, prepared.name, settings, task_digest(prepared), extra)


def _shown(prepared: DeepPrepared, destination: Destination, place: Place) -> DeepResult:
    """Runs with a live table, and records what there is to record."""
    config, directory = prepared.config, place.directory
    logged = Schedule("round", config.rounds, config.log_every, config.seeds)
    print(words.opening(prepared), flush=True)
    prepared = prepared._replace(chunk_rounds=destination.checkpoints.chunk(prepared.chunk_rounds))
    cells = partial(words.cells, prepared=prepared)
    table = LiveTable(config.rounds, words.HEADER, cells)
    with place.open_log(logged) as log, table, place.kept:

        def on_rows(rows: Columns) -> None:
            log.write(rows)
            table.show(rows)

        result = run(prepared, on_rows, place.keeper)
    print(words.closing(result), flush=True)
    if directory is not None:
        _record(directory, result)
    return result


def _record(directory: RunDirectory, result: DeepResult) -> None:
    import_matplotlib(directory.path)
    from fedjax_rl.runs.deep.plots import plot_run

    header, rows = tidy(result.evaluations, result.prepared)
    directory.append_rows("evaluations.csv", header, rows)
    directory.write_arrays("policy.npz", policy_arrays(result.policy))
    with working("drawing"):
        plot_run(result, directory.path)
    directory.write_json("summary.json", result.summary)  # last: a run that has one is finished


def _record_comparison(directory: RunDirectory, results: Mapping[str, DeepResult]) -> None:
    import_matplotlib(directory.path)
    from fedjax_rl.runs.deep.plots import plot_comparison

    summaries = {who: result.summary for who, result in results.items()}
    rewards = {f"reward_{who.replace('-', '_')}": s["reward"] for who, s in summaries.items()}
    directory.write_json("summary.json", {**summaries["fed"], **rewards})
    with working("drawing"):
        plot_comparison(results, directory.path)
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


def _finished(directory: RunDirectory | None) -> None:
    if directory is None:
        print("Nothing was written; --out DIR keeps the table, the policy and plots.")
        return
    print(f"Written to {directory.path}: {', '.join(directory.names())}", flush=True)
