"""Losses × windows on stale data, side by side, as ``compare --losses`` wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.report.common import BAND, finish_states, section_of
from fedjax_rl.report.curves import styled
from fedjax_rl.report.document import (
    Chart,
    Figure,
    HeatMap,
    KeyFigure,
    Section,
    Series,
    Table,
)
from fedjax_rl.report.numbers import array, estimate, number, plural, shown
from fedjax_rl.report.reading import Source
from fedjax_rl.report.stale import ACCURACY, RESULTS, X_LABELS, averaged, diverged_of

MAPPED = ("last", "best", "best_last_gap", "kl_median", "weight_variance_median", "ess_min")


def losses_section(source: Source, name: str) -> Section:
    """Losses × windows, as ``compare --losses`` wrote them."""
    cells = [c for c in source.document("summary.json").get("cells") or [] if isinstance(c, dict)]
    losses, windows = (source.config.get(key) or [] for key in ("losses", "windows"))
    diverged = tuple(f"{_label(cell)}: {line}" for cell in cells for line in diverged_of(cell))
    section = section_of(source, name, "losses on stale data, side by side")
    states = finish_states(source, {}, "", "", bool(diverged), "evaluations.csv")
    best = max(
        cells, key=lambda cell: np.nan_to_num(number(cell.get("last")), nan=-1.0), default={}
    )
    return section._replace(
        states=states,
        verdict=(
            f"Of {plural(len(cells), 'cell')}, {_label(best)} ends with the highest mean accuracy: "
            f"{shown(best.get('last'))}.",
        )
        if cells
        else (),
        key_figures=(
            KeyFigure("Losses", shown(len(losses)), ", ".join(map(str, losses))),
            KeyFigure("Windows", shown(len(windows)), ", ".join(map(str, windows))),
            KeyFigure("Learner steps", shown(source.config.get("steps"))),
            KeyFigure("Seeds", shown(source.config.get("seeds"))),
        ),
        figures=(*_cell_curves(source.texts("evaluations.csv")), *_cell_map(cells)),
        tables=(_cell_table(cells, best),) if cells else (),
        diverged=diverged,
        glance={
            "problem": source.config.get("task"),
            "judged by": "last accuracy",
            "its value": best.get("last"),
            "seeds": source.config.get("seeds"),
            "rounds": source.config.get("steps"),
        },
    )


def _cell_curves(texts: Mapping[str, list[str]]) -> tuple[Figure, ...]:
    """Accuracy of every loss at every window, in one chart."""
    if not texts.get("loss"):
        return ()
    numbers = {
        name: np.array([float(cell) if cell else np.nan for cell in cells])
        for name, cells in texts.items()
        if name not in ("loss", "window")
    }
    pairs = np.array(list(zip(texts["loss"], texts["window"], strict=True)))
    series: list[Series] = []
    for loss, window in dict.fromkeys(map(tuple, pairs.tolist())):
        own = (pairs == (loss, window)).all(1)
        found = averaged(
            {name: column[own] for name, column in numbers.items()}, f"{loss}, W = {window}"
        )
        if found is not None:
            series.append(styled(found[0], len(series)))
    chart = Chart("", X_LABELS, ACCURACY, tuple(series))
    seeds = plural(len(np.unique(numbers["seed"])), "seed")
    return (Figure("Held-out accuracy", (chart,), BAND.format(seeds)),)


def _cell_map(cells: list[dict[str, Any]]) -> tuple[Figure, ...]:
    """Losses × windows, where there are several of both."""
    losses, windows = (
        list(dict.fromkeys(str(c.get(key)) for c in cells)) for key in ("loss", "window")
    )
    if min(len(losses), len(windows)) < 2:
        return ()
    views = []
    for name in MAPPED:
        values = np.full((len(losses), len(windows)), np.nan)
        for cell in cells:
            at = losses.index(str(cell.get("loss"))), windows.index(str(cell.get("window")))
            values[at] = number(cell.get(name))
        if np.isfinite(values).any():
            best = True if name in ("last", "best") else None
            label = RESULTS[name]
            views.append(
                HeatMap(label, "window", "loss", tuple(windows), tuple(losses), values, best)
            )
    return (Figure("Losses × windows", tuple(views), "Means over seeds."),) if views else ()


def _cell_table(cells: list[dict[str, Any]], best: Mapping[str, Any]) -> Table:
    rows = []
    for cell in cells:
        rows.append(
            (
                cell.get("loss"),
                cell.get("window"),
                cell.get("best"),
                cell.get("last"),
                estimate(array(cell.get("last_by_seed"))),
                *(cell.get(name) for name in list(RESULTS)[2:]),
                len(cell.get("failed_seeds") or []),
            )
        )
    first = ("loss", "W", "best accuracy", "last accuracy", "last over seeds, IQM [95 %]")
    headings = (*first, *list(RESULTS.values())[2:], "diverged")
    note = "Means over seeds that did not diverge."
    return Table(
        "Losses and windows", headings, tuple(rows), note, True, (cells.index(dict(best)),)
    )


def _label(cell: Mapping[str, Any]) -> str:
    return f"{cell.get('loss')}, W = {cell.get('window')}"
