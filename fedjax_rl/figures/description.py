"""Descriptions of figures as plain data, which know no renderer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Scale = Literal["linear", "log", "log-log"]


class Band(NamedTuple):
    """An interval or a range around a curve.

    Attributes:
        low: [Q], its lower end; NaN where there is none.
        high: [Q], its upper end.
        name: in two or three words, beside values.
        meaning: what it is, as legends say.
        filled: whether it is an interval, which is filled; a range is outlined.
    """

    low: FloatArray
    high: FloatArray
    name: str
    meaning: str
    filled: bool = True


class Series(NamedTuple):
    """A curve of a chart.

    Attributes:
        name: in the legend.
        x: [Q] for each of the chart's abscissas, ascending.
        y: [Q]; NaN where there is nothing.
        band: around it, or None.
        colour: index into `style.COLOURS`.
        dash: index into `style.DASHES`.
        reference: a number that the curve is held against (a budget, an optimum), or None.
        reference_name: what it is.
        visible: whether it is drawn before anybody asks for it.
        faint: whether it stands behind another one.
    """

    name: str
    x: tuple[FloatArray, ...]
    y: FloatArray
    band: Band | None = None
    colour: int = 0
    dash: int = 0
    reference: float | None = None
    reference_name: str = ""
    visible: bool = True
    faint: bool = False


class Chart(NamedTuple):
    """Curves over one or several abscissas.

    Attributes:
        name: of this view of a figure.
        x_labels: of the abscissas; where there is a choice, the reader picks one.
        y_label: of the ordinate.
        series: the curves.
        scale: how it begins: the ordinate logarithmic, or both axes; a page can switch it.
        limits: of the ordinate while it is linear, or None for those of the curves.
        detail: whether it is there for those who ask, and in no PNG file.
    """

    name: str
    x_labels: tuple[str, ...]
    y_label: str
    series: tuple[Series, ...]
    scale: Scale = "linear"
    limits: tuple[float, float] | None = None
    detail: bool = False


class Meaning(NamedTuple):
    """The meaning of bands of a chart, for its legend.

    Attributes:
        text: with the curves it is about, where others have another.
        filled: how they look.
    """

    text: str
    filled: bool


def meanings(series: Sequence[Series]) -> tuple[Meaning, ...]:
    """The meanings of the bands around these curves, each once."""
    names: dict[Meaning, list[str]] = {}
    for one in series:
        if one.band is not None:
            names.setdefault(Meaning(one.band.meaning, one.band.filled), []).append(one.name)
    if len(names) < 2:
        return tuple(names)
    return tuple(
        Meaning(f"{text}: {', '.join(own)}", filled) for (text, filled), own in names.items()
    )


class HeatMap(NamedTuple):
    """Means of a figure over everything but two settings.

    Attributes:
        name: of this view of a figure.
        x_label: setting of the columns.
        y_label: setting of the rows.
        columns: X values, as text.
        rows: Y values, as text.
        values: [Y, X]; NaN where there is nothing.
        maximize: whether more is better, or None where neither end is good.
    """

    name: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: FloatArray
    maximize: bool | None


class Parallel(NamedTuple):
    """Lines through upright axes, one line for each of C things, the first of them in front.

    Attributes:
        name: of this view of a figure.
        axes: names of the A axes; the last one is what the lines are coloured by.
        ticks: for each axis heights in [0, 1] and what stands there.
        heights: [C, A], in [0, 1].
        values: [C], of the last axis.
    """

    name: str
    axes: tuple[str, ...]
    ticks: tuple[tuple[tuple[float, str], ...], ...]
    heights: FloatArray
    values: FloatArray


View = Chart | HeatMap | Parallel


class Figure(NamedTuple):
    """Views of one thing: a page shows one at a time, a PNG file all that are no detail.

    Attributes:
        title: above it.
        views: at least one.
        note: what it takes to read it.
        file: the PNG file of a run directory that has it, maybe with others; empty for none.
        abscissas: against how many of its abscissas a PNG file has each chart.

    Examples:
        >>> import numpy as np
        >>> rounds = np.arange(3.0)
        >>> value = Series("value", (rounds,), 1.0 - 0.5**rounds, reference=1.0)
        >>> chart = Chart("value", ("round",), "value", (value,), scale="log")
        >>> figure = Figure("Value", (chart,), file="curves.png")
        >>> figure.views[0].series[0].y.tolist()
        [0.0, 0.5, 0.75]
    """

    title: str
    views: tuple[View, ...]
    note: str = ""
    file: str = ""
    abscissas: int = 1
