"""Losses × windows on one task: the best/last table and its figures."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.families.stale import words
from fedjax_rl.families.stale.assembly import HeteroPrepared, prepare
from fedjax_rl.families.stale.cells import Cell
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.evaluations import tidy
from fedjax_rl.families.stale.starts import digest
from fedjax_rl.families.stale.summary import by_seed, summarise
from fedjax_rl.families.stale.training import HeteroResult, run
from fedjax_rl.records.directory import RunDirectory, check_writable, made_with, opened
from fedjax_rl.settings.values import dump
from fedjax_rl.statistics import Interval, interquartile_mean, stratified_bootstrap
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import LiveTable, working

TABLE = (
    *("best", "last", "best_last_gap", "staleness_mean", "staleness_max"),
    *("kl_median", "weight_variance_median", "weight_cv2_median", "ess_min"),
    *("clip_fraction_mean", "estimation_error_mean"),
)


class Compared(NamedTuple):
    """One loss at one window.

    Attributes:
        cell: its seeds.
        result: the study it belongs to.
    """

    cell: Cell
    result: HeteroResult


def compare_and_record(
    losses: Sequence[str],
    windows: Sequence[int],
    config: HeteroConfig,
    out: Path | None,
    overwrite: bool,
) -> bool:
    """Runs every loss at every window; one program for each loss.

    Args:
        losses: names, or ``module:factory``.
        windows: W of each column of the table.
        config: settings that all share.
        out: directory, or None to write nothing.
        overwrite: whether an earlier comparison there may be replaced.

    Returns:
        Whether a seed of any of them diverged; the others are complete.

    Raises:
        InvalidInput: before anything is written.
    """
    if out is not None:
        check_writable(out, overwrite=overwrite)
    with working(f"preparing {config.task}"):
        studies = [prepare(loss, config, windows=windows) for loss in losses]
    with opened(out, overwrite=overwrite) as directory:
        if directory is not None:
            directory.write_text("config.yaml", configuration(studies, windows))
        compared: list[Compared] = []
        for study in studies:
            result = shown(study)
            compared += [Compared(cell, result) for cell in result.cells]
            for one in compared[-len(result.cells) :]:
                print("\n".join(words.diverged(failures(one))), end="")
        print(text_table(compared))
        if directory is None:
            print("Nothing was written; --out DIR keeps the table and the figures.")
        else:
            _record(directory, compared)
            print(f"Written to {directory.path}: {', '.join(directory.names())}", flush=True)
    return any((one.cell.failed >= 0).any() for one in compared)


def shown(study: HeteroPrepared) -> HeteroResult:
    """Runs a study with a live table."""
    print(words.opening(study), flush=True)
    with LiveTable(study.config.steps, words.HEADER, words.cells, unit="step") as table:
        return run(study, table.show)


def failures(one: Compared) -> list[dict[str, int]]:
    """Seeds of a cell that diverged."""
    first = one.result.prepared.config.seed
    return [
        {"seed": first + index, "step": int(step)}
        for index, step in enumerate(one.cell.failed)
        if step >= 0
    ]


def interval(values: np.ndarray) -> Interval:
    """Interquartile mean over seeds and its 95 % bootstrap interval; NaN without seeds."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Interval(*[float("nan")] * 3)
    return stratified_bootstrap(finite, interquartile_mean, seed=0)


def text_table(compared: Sequence[Compared]) -> str:
    """Best and last accuracy of every loss at every window, for the terminal."""
    windows = list(dict.fromkeys(one.cell.window for one in compared))
    head = "best / last".ljust(14) + "".join(f"W = {window}".rjust(18) for window in windows)
    lines = ["", "Held-out accuracy, means over seeds:", head]
    for loss in dict.fromkeys(one.cell.loss for one in compared):
        row = loss.ljust(14)
        for window in windows:
            (one,) = (o for o in compared if (o.cell.loss, o.cell.window) == (loss, window))
            figures = by_seed(one.cell)
            row += f"{_mean(figures['best']):.3f} / {_mean(figures['last']):.3f}".rjust(18)
        lines.append(row)
    return "\n".join(lines)


def markdown(compared: Sequence[Compared]) -> str:
    """The table with intervals, as Markdown."""
    config = compared[0].result.prepared.config
    head = [
        *("loss", "W", "best", "last", "last, IQM [95 %]", "best − last", "staleness", "KL"),
        *("weight variance", "CV²", "least ESS", "diverged"),
    ]
    lines = [
        f"# Losses on stale data: {config.task}, {config.policy}",
        "",
        f"{config.seeds} seeds, {config.steps} learner steps, {config.samplers} samplers, "
        f"{config.latency} latency, sequence weight {config.sequence_weight}, label noise "
        f"{config.label_noise:g}, learning rate {config.learning_rate:g}. Best and last are means "
        "over seeds of the accuracy on held-out prompts; KL, weight variance and CV² are medians "
        "over steps.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for one in compared:
        figures = {name: _mean(values) for name, values in by_seed(one.cell).items()}
        point, low, high = interval(by_seed(one.cell)["last"])
        cells = (
            one.cell.loss,
            str(one.cell.window),
            f"{figures['best']:.3f}",
            f"{figures['last']:.3f}",
            f"{point:.3f} [{low:.3f}, {high:.3f}]",
            f"{figures['best_last_gap']:.3f}",
            f"{figures['staleness_mean']:.1f} (max {figures['staleness_max']:.0f})",
            f"{figures['kl_median']:.2g}",
            f"{figures['weight_variance_median']:.2g}",
            f"{figures['weight_cv2_median']:.2g}",
            f"{figures['ess_min']:.3f}",
            str(len(failures(one))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def csv_text(compared: Sequence[Compared]) -> str:
    """One row per loss, window and seed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["loss", "window", "seed", "failed_step", *TABLE])
    for one in compared:
        figures, first = by_seed(one.cell), one.result.prepared.config.seed
        for index, failed in enumerate(one.cell.failed):
            values = [float(figures[name][index]) for name in TABLE]
            writer.writerow(
                [
                    one.cell.loss,
                    one.cell.window,
                    first + index,
                    int(failed) if failed >= 0 else "",
                    *("" if value != value else repr(value) for value in values),
                ]
            )
    return buffer.getvalue()


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def configuration(studies: Sequence[HeteroPrepared], windows: Sequence[int]) -> str:
    """The text of ``config.yaml``."""
    first = studies[0]
    common = dataclasses.asdict(first.config)
    del common["window"]
    document: dict[str, Any] = {
        "losses": [study.loss for study in studies],
        "windows": list(windows),
        **common,
        "made_with": made_with(digest(first.config, first.task)),
    }
    return dump(document)


def _record(directory: RunDirectory, compared: Sequence[Compared]) -> None:
    import_matplotlib(directory.path)
    from fedjax_rl.families.stale.plots import plot_cells

    directory.write_text("comparison.csv", csv_text(compared))
    directory.write_text("comparison.md", markdown(compared))
    summaries = [summarise(one.cell, one.result.prepared, one.result.timing) for one in compared]
    directory.write_json("summary.json", {"cells": summaries})
    for one in compared:
        header, rows = tidy(one.cell, one.result.prepared.config.seed)
        prefix = [one.cell.loss, one.cell.window]
        directory.append_rows(
            "evaluations.csv", ["loss", "window", *header], [[*prefix, *row] for row in rows]
        )
    with working("drawing"):
        plot_cells([one.cell for one in compared], directory.path)
