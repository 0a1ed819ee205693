"""Curves out of columns: averages over seeds with bands, colours, and thinning for the page."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.report.document import (
    COLOURS,
    DASHES,
    Chart,
    Figure,
    FloatArray,
    HeatMap,
    Page,
    Section,
    Series,
)
from fedjax_rl.statistics import interquartile_mean

SHOWN = 7
"""So many curves of a chart are drawn before anybody asks for more."""
POINTS_OF_PAGE = 60_000
POINTS = 40, 500
"""Fewest and most points of a curve."""


@dataclasses.dataclass(frozen=True)
class Axes:
    """The abscissas of a table of rows.

    Attributes:
        labels: of each.
        values: [R] of each.
    """

    labels: tuple[str, ...]
    values: tuple[FloatArray, ...]


def curve(axes: Axes, name: str, y: FloatArray, place: int = 0, **more: Any) -> Series:
    """A column as a curve; the place in its chart decides how it is drawn.

    Rows whose first abscissa is not a number are left out, and so are abscissas of another
    length than the column.
    """
    count = min([len(y), *map(len, axes.values)])
    kept = np.isfinite(axes.values[0][:count])
    x = tuple(values[:count][kept] for values in axes.values)
    return styled(Series(name, x, y[:count][kept], **more), place)


def styled(series: Series, place: int) -> Series:
    """The series in the colour and line of its place among others."""
    return series._replace(
        colour=place % COLOURS, dash=place // COLOURS % DASHES, shown=place < SHOWN
    )


def banded(series: Series, values: FloatArray) -> Series:
    """The series with interquartile means and quartiles of [Q, K] values over K.

    What is not finite is left out; a row of nothing else has no mean. A single column is taken
    as it is and has no band.
    """
    if values.shape[1] == 1:
        return series._replace(y=values[:, 0])
    middle, low, high = np.full((3, len(values)), np.nan)
    for place, row in enumerate(values):
        finite = row[np.isfinite(row)]
        if finite.size:
            middle[place] = interquartile_mean(finite)
            low[place], high[place] = np.quantile(finite, (0.25, 0.75))
    return series._replace(y=middle, low=low, high=high)


def gathered(
    columns: Mapping[str, FloatArray], row: str, member: Sequence[str], name: str
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
    place = {key: index for index, key in enumerate(members)}
    values = np.full((len(rows), len(members)), np.nan)
    values[at, [place[key] for key in keys]] = columns[name]
    return rows, members, values


def first_of(columns: Mapping[str, FloatArray], row: str, name: str) -> FloatArray:
    """[Q], what a column says at the first line of each row."""
    _, at = np.unique(columns[row], return_index=True)
    return np.asarray(columns[name][at])


def mean_of(columns: Mapping[str, FloatArray], row: str, name: str) -> FloatArray:
    """[Q], means of a column over the lines of each row."""
    rows, at = np.unique(columns[row], return_inverse=True)
    return np.bincount(at, columns[name], len(rows)) / np.bincount(at, minlength=len(rows))


def remaining(
    axes: Axes, columns: Mapping[str, FloatArray], without: Iterable[str], more: str = ""
) -> tuple[Figure, ...]:
    """A figure with a view for every column that has no other figure, if there are any."""
    left = [name for name in columns if name not in set(without)]
    views = tuple(
        Chart(name, axes.labels, name, (curve(axes, name, columns[name]),))
        for name in left
        if np.isfinite(columns[name]).sum() > 1
    )
    return (Figure("Other columns of metrics.csv", views, more),) if views else ()


def overlaid(sections: Sequence[Section], title: str = "", note: str = "") -> tuple[Figure, ...]:
    """A figure for everything that at least two sections have a curve of."""
    keys = dict.fromkeys(key for section in sections for key in section.curves)
    figures = []
    for key in keys:
        having = [section for section in sections if key in section.curves]
        if len(having) < 2:
            continue
        series = tuple(
            styled(section.curves[key]._replace(name=section.name), sections.index(section))
            for section in having
        )
        logarithmic = any(word in key[0] for word in ("absolute", "violation"))
        name = f"{title}{key[0]}"
        chart = Chart("", key[1:], key[0], series, logarithmic)
        figures.append(Figure(name[0].upper() + name[1:], (chart,), note))
    return tuple(figures)


def thinned(page: Page) -> Page:
    """The page with no more points than it can carry."""
    count = sum(1 for figure in all_figures(page) for _ in _series(figure))
    points = int(np.clip(POINTS_OF_PAGE / max(1, count), *POINTS))
    return page._replace(
        sections=tuple(_thin_section(section, points) for section in page.sections),
        figures=tuple(_thin_figure(figure, points) for figure in page.figures),
    )


def all_figures(page: Page) -> Iterator[Figure]:
    """Those of the page, of its sections and of their parts."""
    yield from page.figures
    todo = list(page.sections)
    while todo:
        section = todo.pop(0)
        yield from section.figures
        todo += section.parts


def _series(figure: Figure) -> Iterator[Series]:
    for view in figure.views:
        if not isinstance(view, HeatMap):
            yield from view.series


def _thin_section(section: Section, points: int) -> Section:
    return section._replace(
        figures=tuple(_thin_figure(figure, points) for figure in section.figures),
        parts=tuple(_thin_section(part, points) for part in section.parts),
    )


def _thin_figure(figure: Figure, points: int) -> Figure:
    views = (
        view
        if isinstance(view, HeatMap)
        else view._replace(series=tuple(thin(series, points) for series in view.series))
        for view in figure.views
    )
    return figure._replace(views=tuple(views))


def thin(series: Series, points: int) -> Series:
    """At most so many points: the ends, and the smallest and largest of every stretch.

    So a spike of a single round is on the page however long the run was.
    """
    y, count = series.y, len(series.y)
    if count <= points:
        return series
    edges = np.linspace(0, count, points // 2).astype(int)
    kept = {0, count - 1}
    for start, end in itertools.pairwise(edges):
        stretch = y[start:end]
        finite = np.flatnonzero(np.isfinite(stretch))
        if finite.size:
            kept |= {start + finite[stretch[finite].argmin()]}
            kept |= {start + finite[stretch[finite].argmax()]}
        else:
            kept |= {start}  # a gap stays a gap
    at = np.array(sorted(kept))
    ends = {
        name: band[at] for name in ("low", "high") if (band := getattr(series, name)) is not None
    }
    return series._replace(x=tuple(values[at] for values in series.x), y=y[at], **ends)
