"""Figures of a sweep: maps over two settings, learning curves, parallel coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.checks import is_number
from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput
from fedjax_rl.figures.averages import averaged
from fedjax_rl.figures.curves import STYLES, Axes, curve, styled
from fedjax_rl.figures.description import Chart, Figure, FloatArray, HeatMap, Parallel
from fedjax_rl.figures.numbers import brief, exactly, number, plural
from fedjax_rl.sweeps.best import Candidate, ordered
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.sweeps.objective import Objective

CELLS = 12
"""With more values than this a setting is cut into stretches."""
STRETCHES = 8
APART = 0.06
"""Ticks of an upright axis are no nearer to one another."""
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
    views = [
        view._replace(name=metric if len(pairs) == 1 else f"{metric}: {across} × {up}")
        for (across, up), metric in itertools.product(pairs, metrics)
        for view in heat_map(found, objective, metric, across, up)
    ]
    if not views:
        return ()
    what = "two settings" if len(names) > 1 else names[0]
    note = "Means over seeds and all other settings; configurations that diverged are left out."
    if len(every) > PAIRS:
        note += f" Maps are of the first {PAIRS} of {len(every)} pairs; sweep.csv has all."
    if more_metrics:
        note += f" No map: {', '.join(more_metrics)}."
    note += budgets_first(objective)
    return (Figure(f"What {what} do" + "es" * (len(names) == 1), tuple(views), note),)


def budgets_first(objective: Objective) -> str:
    """A note under maps of an objective that depends on feasibility, too."""
    sentence = " Which is best is decided among those that keep their budgets."
    return sentence if objective.feasible is not None else ""


def heat_map(
    found: Sequence[Candidate], objective: Objective, metric: str, across: str, up: str
) -> tuple[HeatMap, ...]:
    """The map of a metric over two settings, or over one if ``up`` is empty; none of nothing."""
    finite = [one for one in found if math.isfinite(one.mean(metric))]
    if not finite:
        return ()
    x_at, columns = cells_of([one.combination[across] for one in finite])
    y_at, rows = cells_of([one.combination[up] for one in finite] if up else [""] * len(finite))
    values = _means(x_at, y_at, [one.mean(metric) for one in finite], (len(rows), len(columns)))
    by_metric = metric == objective.metric and objective.feasible is None
    more = objective.maximize if by_metric else None
    return (HeatMap(metric, across, up, columns, rows, values, more),)


def cells_of(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The cell of each value on an axis, and the labels of the cells.

    Numbers ascend, and many of them are gathered in stretches with about as many values each.
    """
    if not all(is_number(v) for v in values):
        texts = list(map(exactly, values))
        labels = tuple(dict.fromkeys(texts))
        return np.array([labels.index(text) for text in texts]), labels
    numbers = np.array(values, float)
    distinct = np.unique(numbers)
    if len(distinct) <= CELLS:
        return np.searchsorted(distinct, numbers), tuple(f"{v:.4g}" for v in distinct)
    cuts = np.array_split(distinct, STRETCHES)
    starts = np.array([cut[0] for cut in cuts])
    labels = tuple(f"{cut[0]:.4g} … {cut[-1]:.4g}" for cut in cuts)
    return np.searchsorted(starts, numbers, side="right") - 1, labels


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
    ones = [one for one in best[:BEST] if "round" in _members(one, done)[0]]
    if not ones:
        return ()
    lines = {label_of(one): [one] for one in ones}
    known = [name for name in _members(ones[0], done)[0] if name not in ABSCISSAS]
    known.sort(key=lambda name: name != metric)
    views = tuple(curves(lines, done, name) for name in known[:VIEWS])
    note = f"These are the best {BEST} of {len(best)}." if len(best) > BEST else ""
    if len(known) > VIEWS:
        note += f" Not drawn: {', '.join(known[VIEWS:])}."
    return (Figure("The best configurations", views, note.strip()),) if views else ()


def curves_of_best(
    found: Sequence[Candidate], done: Mapping[int, Done], objective: Objective, name: str, file: str
) -> tuple[Figure, ...]:
    """One learning curve of each of the best configurations, for a PNG file."""
    best = [one for _, one in ordered(found, objective)]
    figures = best_curves(best, done, name)
    return tuple(one._replace(views=one.views[:1], file=file) for one in figures)


def curves_by(
    found: Sequence[Candidate], done: Mapping[int, Done], objective: Objective, name: str, by: str
) -> tuple[Figure, ...]:
    """Learning curves of all configurations with the same value of a setting, each a stratum."""
    lines: dict[str, list[Candidate]] = {}
    for one in found:
        if math.isfinite(one.mean(objective.metric)):
            lines.setdefault(f"{by} {_brief(one.combination[by])}", []).append(one)
    view = curves(dict(list(lines.items())[:STYLES]), done, name)
    note = f"These are the first {STYLES} of {len(lines)}." if len(lines) > STYLES else ""
    return (Figure(f"{name} by {by}", (view,), note, "curves.png"),)


def curve_of(requested: str | None, metric: str, done: Mapping[int, Done]) -> str:
    """The curve that is requested for, or else the metric's, or else the first.

    Raises:
        InvalidInput: there is none of that name.
    """
    known = [name for name in next(iter(done.values())).curves if name != "round"]
    if requested is None:
        return metric if metric in known else known[0]
    if requested not in known:
        raise InvalidInput("--curve", repr(requested), f"one of {', '.join(known)}")
    return requested


def label_of(one: Candidate) -> str:
    """Its settings in a few characters."""
    return ", ".join(f"{name} {_brief(value)}" for name, value in one.combination.items())


def curves(lines: Mapping[str, Sequence[Candidate]], done: Mapping[int, Done], name: str) -> Chart:
    """A learning curve for each line: over the seeds of its configurations, none of which diverged.

    Args:
        lines: configurations with equally many seeds, by what they are called; strata.
        done: all members, by number.
        name: of the curve in ``curves.npz``.
    """
    series = []
    labels: tuple[str, ...] = ("round",)
    for index, (label, ones) in enumerate(lines.items()):
        members = [_members(one, done) for one in ones]
        first, seeds = members[0][0], min(map(len, members))
        known = [key for key in ABSCISSAS if key in first]
        labels = tuple(ABSCISSAS[key] for key in known)
        recorded = np.isfinite(np.asarray(first["round"], float))
        axes = Axes(labels, tuple(np.asarray(first[key], float)[recorded] for key in known))
        each = [[np.asarray(own[name], float) for own in one[:seeds]] for one in members]
        values = np.array(each).T[recorded]  # [points, seeds, configurations]
        one_line = averaged(curve(axes, label, values[:, 0, 0]), values, "configuration")
        series.append(styled(one_line, index, STYLES))
    return Chart(name, labels, name, tuple(series), "log" if "violation" in name else "linear")


def _members(one: Candidate, done: Mapping[int, Done]) -> list[Columns]:
    return [done[row["member"]].curves for row in one.rows]


def parallel(found: Sequence[Candidate], objective: Objective) -> tuple[Figure, ...]:
    """A line for each configuration through its settings and its metric, the best in front."""
    best = ordered(found, objective)
    if not best:
        return ()
    by_setting = {name: [one.combination[name] for _, one in best] for name in found[0].combination}
    several = {name: own for name, own in by_setting.items() if len(set(map(str, own))) > 1}
    values = np.array([value for value, _ in best])
    axes = {**(several or by_setting), objective.metric: values.tolist()}
    heights, ticks = zip(*map(heights_of, axes.values()), strict=True)
    view = Parallel(objective.metric, (*axes,), ticks, np.stack(heights, 1), values)
    first = "the best"
    if best[0][1].standing(objective).excess:
        first = "none keeps every budget, the closest"
    title = f"{plural(len(best), 'configuration')}; {first} in bold"
    return (Figure(title, (view,), "", "parallel.png"),)


def heights_of(values: Sequence[Any]) -> tuple[FloatArray, tuple[tuple[float, str], ...]]:
    """Heights in [0, 1] of values on an axis of a setting, and its ticks.

    Positive numbers of several magnitudes are placed by their logarithms.
    """
    if all(is_number(value) for value in values) and len(set(values)) > 1:
        numbers = np.array(values, float)
        if numbers.min() > 0 and numbers.max() / numbers.min() > 20:
            numbers = np.log(numbers)
        heights = (numbers - numbers.min()) / np.ptp(numbers)
        at = dict(zip(values, heights.tolist(), strict=True))
        low, *between, high = sorted(at)
        ticks = [low]
        for value in between if len(at) <= CELLS else ():
            if min(at[value] - at[ticks[-1]], 1.0 - at[value]) >= APART:
                ticks.append(value)
        return heights, tuple((at[tick], _brief(tick)) for tick in (*ticks, high))
    texts = list(map(exactly, values))
    distinct = list(dict.fromkeys(texts))
    scale = max(1, len(distinct) - 1)
    heights = np.array([distinct.index(text) / scale for text in texts])
    return heights, tuple((index / scale, text) for index, text in enumerate(distinct))


def _brief(value: Any) -> str:
    return brief(value) if math.isfinite(number(value)) else exactly(value)
