"""``run`` on stale data from start to end: check, run, show, record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import RunDirectory
from fedjax_rl.runs.drawing import import_matplotlib
from fedjax_rl.runs.hetero import words
from fedjax_rl.runs.hetero.assembly import HeteroPrepared, prepare
from fedjax_rl.runs.hetero.config import HeteroConfig
from fedjax_rl.runs.hetero.starts import digest
from fedjax_rl.runs.hetero.training import Cell, Columns, HeteroResult, run
from fedjax_rl.runs.live import LiveTable, working
from fedjax_rl.runs.place import Destination, Place, open_place
from fedjax_rl.runs.sinks.log import Schedule


def run_and_record(
    loss: str,
    config: HeteroConfig,
    destination: Destination,
    origin: Mapping[str, Any],
    devices: DeviceSettings = ONE,
) -> bool:
    """Runs one loss with a live table and writes the run directory.

    Args:
        loss: its name.
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
    with working(f"preparing {config.task}"):
        prepared = prepare(loss, config, devices=devices)
    content = digest(prepared.config, prepared.task)
    if origin.get("problem_sha256", content) != content:
        raise InvalidInput("--config", config.task, "the task that the run was made with")
    settings = dataclasses.asdict(prepared.config)
    prepared = prepared._replace(chunk_steps=destination.checkpoints.chunk(prepared.chunk_steps))
    with open_place(destination, loss, settings, content) as place:
        result = shown(prepared, place)
        print(words.closing(result), flush=True)
        if place.directory is None:
            print("Nothing was written; --out DIR keeps the table, the policies and plots.")
        else:
            _record(place.directory, result)
            names = ", ".join(place.directory.names())
            print(f"Written to {place.directory.path}: {names}", flush=True)
    return bool((result.cells[0].failed >= 0).any())


def shown(prepared: HeteroPrepared, place: Place) -> HeteroResult:
    """Runs with a live table; its logged rows go to ``metrics.csv`` and the other sinks."""
    config = prepared.config
    logged = Schedule("step", config.steps, config.log_every, config.seeds)
    print(words.opening(prepared), flush=True)
    live = LiveTable(config.steps, words.HEADER, words.cells, unit="step")
    with place.open_log(logged) as log, live, place.kept:

        def on_rows(rows: Columns) -> None:
            log.write(rows)
            live.show(rows)

        return run(prepared, on_rows, place.keeper)


def _record(directory: RunDirectory, result: HeteroResult) -> None:
    import_matplotlib(directory.path)
    from fedjax_rl.runs.hetero.plots import plot_cells

    (cell,) = result.cells
    directory.append_rows("evaluations.csv", *tidy(cell, result.prepared.config.seed))
    directory.write_arrays("policy.npz", parameter_arrays(cell))
    with working("drawing"):
        plot_cells(result.cells, directory.path)
    directory.write_json("summary.json", result.summary)  # last: a run that has one is finished


def tidy(cell: Cell, first_seed: int) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of ``evaluations.csv``: one row per evaluated step and seed."""
    header = ["step", "seed", "virtual_seconds", "accuracy", "estimation_error"]
    rows: list[list[Any]] = []
    for step in cell.step[cell.evaluated]:
        for index in range(len(cell.failed)):
            figures = (
                float(values[index, step])
                for values in (
                    cell.seconds,
                    cell.values["accuracy"],
                    cell.values["estimation_error"],
                )
            )
            row = [None if figure != figure else figure for figure in figures]
            rows.append([int(step), first_seed + index, *row])
    return header, rows


def parameter_arrays(cell: Cell) -> dict[str, np.ndarray]:
    """Parameters by their path in the network, leading axis of seeds."""
    leaves = jax.tree_util.tree_leaves_with_path(cell.parameters)
    return {jax.tree_util.keystr(path) or "table": np.asarray(leaf) for path, leaf in leaves}
