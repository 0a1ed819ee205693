"""Curves out of columns: how they are placed, coloured, laid over one another and thinned."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.figures.description import Chart, Figure, FloatArray, Series
from fedjax_rl.figures.numbers import number
from fedjax_rl.figures.style import COLOURS, DASHES

SHOWN = len(COLOURS)
"""So many curves of a chart are drawn before anybody asks for more."""
STYLES = len(COLOURS) * len(DASHES)
MEMBERS_DRAWN = 24
"""With more seeds or agents than this only averages are drawn."""
Curves = Mapping[tuple[str, ...], Series]
"""What can be laid over that of other runs, by (ordinate, abscissas …)."""


@dataclasses.dataclass(frozen=True)
class Axes:
    """The abscissas of a table of rows.

    Attributes:
        labels: of each.
        values: [R] of each.
    """

    labels: tuple[str, ...]
    values: tuple[FloatArray, ...]


def curve(axes: Axes, name: str, y: FloatArray, index: int = 0, **more: Any) -> Series:
    """A column as a curve; the place in its chart decides how it is drawn.

    Rows whose first abscissa is not a number are left out, and so are abscissas of another
    length than the column.
    """
    count = min([len(y), *map(len, axes.values)])
    finite = np.isfinite(axes.values[0][:count])
    x = tuple(values[:count][finite] for values in axes.values)
    return styled(Series(name, x, y[:count][finite], **more), index)


def styled(series: Series, index: int, most: int = SHOWN) -> Series:
    """The series in the colour and line of its place among others."""
    return series._replace(
        colour=index % len(COLOURS), dash=index // len(COLOURS) % len(DASHES), visible=index < most
    )


def gathered(
    columns: Columns, row: str, member: Sequence[str], name: str
) -> tuple[FloatArray, list[tuple[float, ...]], FloatArray]:
    """A long table as a matrix.

    Args:
        columns: a column for each of the other arguments, [R].
        row: what a row of the matrix is, as ``round``.
        member: what a column of it is, as ``seed`` and ``policy``.
        name: the values.

    Returns:
        [Q] rows, the K members, and [Q, K] values, NaN where the table has none.
    """
    rows, at = np.unique(columns[row], return_inverse=True)
    keys = list(zip(*(columns[one].tolist() for one in member), strict=True))
    members = list(dict.fromkeys(keys))
    column_of = {key: index for index, key in enumerate(members)}
    values = np.full((len(rows), len(members)), np.nan)
    values[at, [column_of[key] for key in keys]] = columns[name]
    return rows, members, values


def first_of(columns: Columns, row: str, name: str) -> FloatArray:
    """[Q], what a column says at the first line of each row."""
    _, at = np.unique(columns[row], return_index=True)
    return np.asarray(columns[name][at])


def mean_of(columns: Columns, row: str, name: str) -> FloatArray:
    """[Q], means of a column over the lines of each row."""
    rows, at = np.unique(columns[row], return_inverse=True)
    return np.bincount(at, columns[name], len(rows)) / np.bincount(at, minlength=len(rows))


def remaining(
    axes: Axes, columns: Columns, without: Iterable[str], note: str = "", file: str = ""
) -> tuple[Figure, ...]:
    """A figure with a view for every column that has no other figure, if there are any."""
    left = [name for name in columns if name not in set(without)]
    views = tuple(
        Chart(name, axes.labels, name, (curve(axes, name, columns[name]),))
        for name in left
        if np.isfinite(columns[name]).sum() > 1
    )
    title = "Columns of metrics.csv" if file else "Other columns of metrics.csv"
    return (Figure(title, views, note, file),) if views else ()


def overlaid(
    runs: Mapping[str, Curves], title: str = "", note: str = "", file: str = ""
) -> tuple[Figure, ...]:
    """A figure for everything that at least two runs, by name, have a curve of."""
    figures = []
    for key in dict.fromkeys(key for curves in runs.values() for key in curves):
        series = tuple(
            styled(curves[key]._replace(name=name), index)
            for index, (name, curves) in enumerate(runs.items())
            if key in curves
        )
        if len(series) < 2:
            continue
        logarithmic = any(word in key[0] for word in ("absolute", "violation"))
        name = f"{title}{key[0]}"
        chart = Chart("", key[1:], key[0], series, "log" if logarithmic else "linear")
        figures.append(Figure(name[0].upper() + name[1:], (chart,), note, file))
    return tuple(figures)


def costs_and_budgets(
    axes: Axes, columns: Columns, budgets: Mapping[str, Any], y_label: str
) -> tuple[Figure, ...]:
    """The columns of costs, each against its budget; the tightest first if they are many."""
    names = [name.removeprefix("cost/") for name in columns if name.startswith("cost/")]
    if len(names) > SHOWN:
        names.sort(key=lambda name: -_tightness(columns[f"cost/{name}"], budgets.get(name)))
    series = tuple(
        curve(axes, name, columns[f"cost/{name}"], index, **budget_of(name, budgets))
        for index, name in enumerate(names)
    )
    chart = Chart("", axes.labels, y_label, series)
    return (Figure("Costs and budgets", (chart,), file="costs.png"),) if series else ()


def budget_of(name: str, budgets: Mapping[str, Any]) -> dict[str, Any]:
    """The reference of a cost."""
    return {"reference": budgets.get(name), "reference_name": "budget"}


def _tightness(costs: FloatArray, budget: Any) -> float:
    """The last cost over its budget."""
    finite, limit = costs[np.isfinite(costs)], number(budget)
    if not finite.size or not limit > 0:
        return 0.0
    return float(finite[-1]) / limit


def multipliers(axes: Axes, columns: Columns, optimal: Mapping[str, Any]) -> tuple[Figure, ...]:
    """All multipliers, against λ* where it is known."""
    series: list[Series] = []
    for name, column in columns.items():
        kind, *rest = name.split("/", 2)
        if kind == "multiplier" and len(rest) == 2:
            more: dict[str, Any] = {"reference": optimal.get(rest[1]), "reference_name": "λ*"}
            one = curve(axes, f"agent {rest[0]}, {rest[1]}", column, **more)
            series.append(styled(one, len(series), STYLES))
    chart = Chart("", axes.labels, "multiplier", tuple(series))
    return (Figure("Multipliers", (chart,), file="multipliers.png"),) if series else ()


def too_many(members: int) -> str:
    """What a figure says where members are too many to be drawn one by one; else nothing."""
    return f"All {members} one by one are not drawn." if members > MEMBERS_DRAWN else ""


def thin(series: Series, points: int) -> Series:
    """At most so many points: the ends, and the smallest and largest of every stretch.

    So a spike of a single round is seen however long the run was.
    """
    y, count = series.y, len(series.y)
    if count <= points:
        return series
    edges = np.linspace(0, count, points // 2).astype(int)
    selected = {0, count - 1}
    for start, end in itertools.pairwise(edges):
        stretch = y[start:end]
        finite = np.flatnonzero(np.isfinite(stretch))
        if finite.size:
            selected |= {start + finite[stretch[finite].argmin()]}
            selected |= {start + finite[stretch[finite].argmax()]}
        else:
            selected |= {start}  # a gap stays a gap
    at = np.array(sorted(selected))
    band = series.band
    if band is not None:
        band = band._replace(low=band.low[at], high=band.high[at])
    return series._replace(x=tuple(values[at] for values in series.x), y=y[at], band=band)
