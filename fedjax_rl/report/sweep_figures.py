"""Figures of a sweep: maps over two settings, and the curves of the best configurations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.checks import is_number
from fedjax_rl.report.curves import Axes, banded, curve
from fedjax_rl.report.document import Chart, Figure, FloatArray, HeatMap
from fedjax_rl.report.numbers import exactly, number, plural, shown
from fedjax_rl.sweeps.best import Candidate, Objective
from fedjax_rl.sweeps.execution import Done

CELLS = 12
"""With more values than this a setting is cut into stretches."""
STRETCHES = 8
PAIRS = 3
MAPPED = 6
"""Metrics that have a map of every pair."""
BEST = 6
VIEWS = 8
ABSCISSAS = {
    "round": "round",
    "environment_steps": "environment steps of all agents",
    "virtual_seconds": "virtual seconds",
}


def heat_maps(
    found: Sequence[Candidate], names: Sequence[str], metrics: Sequence[str], objective: Objective
) -> tuple[Figure, ...]:
    """Means of each metric over everything but two settings; over all but one where there is one.

    Pairs of settings beyond the first few, and metrics beyond the first, have no map.
    """
    every = list(itertools.combinations(names, 2)) or [(name, "") for name in names]
    pairs, more_metrics, metrics = every[:PAIRS], metrics[MAPPED:], metrics[:MAPPED]
    views = []
    for (across, up), metric in itertools.product(pairs, metrics):
        finite = [one for one in found if math.isfinite(one.mean(metric))]
        if not finite:
            continue
        x_at, columns = cells_of([one.chosen[across] for one in finite])
        y_at, rows = cells_of([one.chosen[up] for one in finite] if up else [""] * len(finite))
        values = _means(x_at, y_at, [one.mean(metric) for one in finite], (len(rows), len(columns)))
        judged = metric == objective.metric and objective.feasible is None
        more = objective.maximize if judged else None
        label = metric if len(pairs) == 1 else f"{metric}: {across} × {up}"
        views.append(HeatMap(label, across, up, columns, rows, values, more))
    if not views:
        return ()
    what = "two settings" if len(names) > 1 else names[0]
    note = "Means over seeds and all other settings; configurations that diverged are left out."
    if len(every) > PAIRS:
        note += f" Maps are of the first {PAIRS} of {len(every)} pairs; sweep.csv has all."
    if more_metrics:
        note += f" No map: {', '.join(more_metrics)}."
    if objective.feasible is not None:
        note += " Which is best is decided among those that keep their budgets."
    return (Figure(f"What {what} do" + "es" * (len(names) == 1), tuple(views), note),)


def cells_of(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Where each value is on an axis of cells, and what the cells are called.

    Numbers ascend, and many of them are gathered in stretches with about as many values each.
    """
    if not all(is_number(v) for v in values):
        texts = list(map(exactly, values))
        labels = tuple(dict.fromkeys(texts))
        return np.array([labels.index(text) for text in texts]), labels
    numbers = np.array(values, float)
    distinct = np.unique(numbers)
    if len(distinct) <= CELLS:
        return np.searchsorted(distinct, numbers), tuple(exactly_short(v) for v in distinct)
    cuts = np.array_split(distinct, STRETCHES)
    starts = np.array([cut[0] for cut in cuts])
    labels = tuple(f"{exactly_short(cut[0])} … {exactly_short(cut[-1])}" for cut in cuts)
    return np.searchsorted(starts, numbers, side="right") - 1, labels


def exactly_short(value: float) -> str:
    """A setting in a few characters."""
    return f"{value:.4g}"


def _means(
    x_at: np.ndarray, y_at: np.ndarray, values: Sequence[float], shape: tuple[int, int]
) -> FloatArray:
    sums, counts = np.zeros((2, *shape))
    np.add.at(sums, (y_at, x_at), values)
    np.add.at(counts, (y_at, x_at), 1)
    return np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)


def best_curves(
    best: Sequence[Candidate], done: Mapping[int, Done], metric: str
) -> tuple[Figure, ...]:
    """Learning curves of the best configurations; a view for every curve that members have."""
    shown_ones = [one for one in best[:BEST] if "round" in _curves(one, done)[0]]
    if not shown_ones:
        return ()
    known = [name for name in _curves(shown_ones[0], done)[0] if name not in ABSCISSAS]
    known.sort(key=lambda name: name != metric)
    views = tuple(_best_view(shown_ones, done, name) for name in known[:VIEWS])
    seeds = plural(len(shown_ones[0].rows), "seed")
    note = f"Interquartile means over {seeds}, bands reach from the first quartile to the third."
    if len(best) > BEST:
        note += f" These are the best {BEST} of {len(best)}."
    if len(known) > VIEWS:
        note += f" Not drawn: {', '.join(known[VIEWS:])}."
    return (Figure("The best configurations", views, note),) if views else ()


def _best_view(ones: Sequence[Candidate], done: Mapping[int, Done], name: str) -> Chart:
    first = _curves(ones[0], done)[0]
    abscissas = [key for key in ABSCISSAS if key in first]
    labels = tuple(ABSCISSAS[key] for key in abscissas)
    series = []
    for place, one in enumerate(ones):
        members = _curves(one, done)
        axes = Axes(labels, tuple(np.asarray(members[0][key], float) for key in abscissas))
        values = np.stack([np.asarray(own[name], float) for own in members], 1)
        label = ", ".join(f"{key} {_brief(value)}" for key, value in one.chosen.items())
        kept = np.isfinite(axes.values[0])
        axes = Axes(labels, tuple(x[kept] for x in axes.values))
        series.append(banded(curve(axes, label, values[kept, 0], place), values[kept]))
    return Chart(name, labels, name, tuple(series), logarithmic="violation" in name)


def _curves(one: Candidate, done: Mapping[int, Done]) -> list[dict[str, np.ndarray]]:
    return [done[row["member"]].curves for row in one.rows]


def _brief(value: Any) -> str:
    return shown(value) if math.isfinite(number(value)) else exactly(value)
