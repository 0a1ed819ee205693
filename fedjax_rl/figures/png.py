"""Figures as PNG files: the only module that draws figures of runs with matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fedjax_rl.figures.curves import thin
from fedjax_rl.figures.description import (
    Band,
    Chart,
    Figure,
    HeatMap,
    Parallel,
    Series,
    View,
    meanings,
)
from fedjax_rl.figures.numbers import brief, number
from fedjax_rl.figures.style import COLOURS, DASHES
from fedjax_rl.records.directory import write_atomically

STYLE: Any = {"axes.grid": True, "grid.alpha": 0.3, "figure.dpi": 120}
COLOUR_MAP = "viridis"
POINTS = 4000
"""Most points of a curve."""
MARKED = 4
"""Curves of fewer points have markers; of others, points between two gaps."""
INSIDE = 8
"""A legend with more entries stands below a chart that is alone."""
LETTER, WRAPPED = 0.075, 62
"""Inches of a letter of a legend, and after how many of them a line ends."""
PANEL = 5.5, 3.8
"""Width and height of a chart, in inches."""


class Panel(NamedTuple):
    """A chart in a file, with its legend.

    Attributes:
        title: above it.
        view: what it shows.
        abscissa: against which of the view's abscissas.
    """

    title: str
    view: View
    abscissa: int = 0


def write(figures: Iterable[Figure], directory: Path, heading: str = "") -> list[str]:
    """Writes every file that figures name, with all figures that name it; returns the names.

    Args:
        figures: those without a file are left out.
        directory: where the files go.
        heading: above each of them, such as the problem.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from fedjax_rl.figures.description import Chart, Figure, Series
        >>> line = Series("value", (np.arange(3.0),), np.array([0.0, 0.5, 0.75]))
        >>> chart = Chart("value", ("round",), "value", (line,))
        >>> write([Figure("Value", (chart,), file="curves.png")], Path())
        ['curves.png']
    """
    files: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.file:
            files.setdefault(figure.file, []).append(figure)
    for name, own in files.items():
        buffer = BytesIO()
        drawn(own, heading).savefig(buffer, format="png")
        write_atomically(directory / name, buffer.getvalue())
    return sorted(files)


def drawn(figures: Sequence[Figure], heading: str = "") -> Drawing:
    """All views of figures that are no detail, side by side."""
    panels, across = panels_of(figures)
    down = -(-len(panels) // across)
    wide = max((len(p.view.axes) for p in panels if isinstance(p.view, Parallel)), default=3)
    width = PANEL[0] * (across if across > 1 else 1.3 + (wide - 3) / 4)
    below = _shared(panels)
    columns = max(1, min(3, int(width / (LETTER * _longest(below) + 0.6))))
    with matplotlib.rc_context(STYLE):
        size = width, PANEL[1] * down + 0.22 * -(-len(below) // columns)
        drawing = Drawing(size, layout="constrained")
        for at, panel in enumerate(panels, 1):
            axes = drawing.add_subplot(down, across, at)
            axes.set_title(panel.title, fontsize="medium")
            DRAWS[type(panel.view)](axes, panel)
            if not below and (own := _entries(panel.view)):
                axes.legend(handles=own, fontsize="small")
        if heading:
            drawing.suptitle(heading)
        note = " ".join(dict.fromkeys(one.note for one in figures if one.note))
        if below:  # the note within, or one would cover the other
            around: Any = {"fontsize": "small", "title_fontsize": "small", "ncols": columns}
            drawing.legend(handles=below, loc="outside lower center", title=note, **around)
        elif note:
            drawing.supxlabel(note, fontsize="small", color="0.3", wrap=True)
    return drawing


def _shared(panels: Sequence[Panel]) -> list[Any]:
    """One legend for charts that have the same curves, or for one with many; or nothing."""
    entries = [_entries(panel.view) for panel in panels]
    curves = {tuple(_names(panel.view)) for panel in panels}
    alone = len(panels) == 1 and len(entries[0]) <= INSIDE
    if alone or len(curves) > 1:
        return []
    return list({entry.get_label(): entry for own in entries for entry in own}.values())


def _names(view: View) -> list[str]:
    return [one.name for one in _drawn(view)] if isinstance(view, Chart) else []


def _longest(entries: Sequence[Any]) -> int:
    lines = [line for entry in entries for line in str(entry.get_label()).splitlines()]
    return max(map(len, lines), default=1)


def panels_of(figures: Sequence[Figure]) -> tuple[list[Panel], int]:
    """Every chart of a file, and how many stand beside one another."""
    panels: list[Panel] = []
    widest = 1
    for figure in figures:
        views = [view for view in figure.views if not (isinstance(view, Chart) and view.detail)]
        for view in views:
            name = view.name if len(views) > 1 else ""
            count = min(figure.abscissas, len(view.x_labels)) if isinstance(view, Chart) else 1
            widest = max(widest, count)
            title = ": ".join(filter(None, [figure.title if len(views) == 1 else "", name]))
            panels += [Panel(title, view, abscissa) for abscissa in range(count)]
    across = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    return panels, widest if widest > 1 else across


def _chart(axes: Axes, panel: Panel) -> None:
    chart = panel.view
    assert isinstance(chart, Chart)
    upright, level = chart.scale != "linear", chart.scale == "log-log"
    some = False
    for series in _drawn(chart):
        one = thin(series, POINTS)
        x, y = _positive(one.x[panel.abscissa], level), _positive(one.y, upright)
        there = np.isfinite(x) & np.isfinite(y)
        some |= bool(there.any())
        style = _style(one)
        if one.band is not None:
            _band(axes, x, one.band, style["color"])
        marked = there if len(y) < MARKED else there & _alone(there)
        axes.plot(x, y, **style, marker="o", ms=4, markevery=np.flatnonzero(marked).tolist())
        if one.reference is not None and np.isfinite(number(one.reference)):
            axes.axhline(one.reference, color=style["color"], ls=(0, (5, 4)), lw=1)
    axes.set_xlabel(chart.x_labels[panel.abscissa])
    axes.set_ylabel("" if chart.y_label == panel.title else chart.y_label)
    if upright and some:
        axes.set_yscale("log")
        if level:
            axes.set_xscale("log")
    elif upright:
        axes.set_ylabel(f"{chart.y_label}: nowhere positive")
    elif chart.limits is not None:
        low, high = chart.limits
        margin = 0.02 * (high - low)
        axes.set_ylim(low - margin, high + margin)


def _alone(there: np.ndarray) -> np.ndarray:
    """Points between two gaps, of which no line is to be seen."""
    padded = np.pad(there, 1)
    return ~padded[:-2] & ~padded[2:]


def _band(axes: Axes, x: np.ndarray, band: Band, colour: str) -> None:
    if band.filled:
        axes.fill_between(x, band.low, band.high, color=colour, alpha=0.18, lw=0)
    else:
        for end in (band.low, band.high):
            axes.plot(x, end, color=colour, lw=0.8, alpha=0.7)


def _drawn(chart: Chart) -> list[Series]:
    return [one for one in chart.series if one.visible]


def _style(series: Series) -> dict[str, Any]:
    faint = {"lw": 0.8, "alpha": 0.45} if series.faint else {"lw": 1.6}
    return {"color": COLOURS[series.colour], "ls": DASHES[series.dash], **faint}


def _positive(values: np.ndarray, only: bool) -> np.ndarray:
    return np.where(values > 0, values, np.nan) if only else values


def _entries(view: View) -> list[Any]:
    """What the legend of a chart says: curves, references, and what the bands are."""
    if not isinstance(view, Chart):
        return []
    series = _drawn(view)
    found: list[Any] = [Line2D([], [], **_style(one), label=one.name) for one in series]
    names = dict.fromkeys(one.reference_name for one in series if one.reference is not None)
    found += [Line2D([], [], color="0.3", ls=(0, (5, 4)), lw=1, label=name) for name in names]
    for text, filled in meanings(series):
        look = {"alpha": 0.3, "lw": 0} if filled else {"fill": False}
        found.append(Patch(color="0.3", **look, label=textwrap.fill(text, WRAPPED)))
    if len(view.series) > len(series):
        label = f"{len(series)} of {len(view.series)} curves"
        found.append(Line2D([], [], ls="", label=label))
    return found if len(found) > 1 else []


def _heat_map(axes: Axes, panel: Panel) -> None:
    found = panel.view
    assert isinstance(found, HeatMap)
    image: Any = axes.imshow(found.values, origin="lower", aspect="auto", cmap=COLOUR_MAP)
    for (y, x), mean in np.ndenumerate(found.values):
        if np.isfinite(mean):
            colour = "black" if image.norm(mean) > 0.6 else "white"
            axes.text(x, y, brief(float(mean)), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(found.columns)), found.columns)
    if any(len(text) > 6 for text in found.columns):
        axes.tick_params("x", rotation=30)
    axes.set_yticks(range(len(found.rows)), found.rows)
    axes.grid(False)
    axes.set(xlabel=found.x_label, ylabel=found.y_label)
    best = {True: "; the largest is best", False: "; the smallest is best", None: ""}
    figure: Any = axes.figure
    figure.colorbar(image, ax=axes, label=f"mean {found.name}{best[found.maximize]}")


def _parallel(axes: Axes, panel: Panel) -> None:
    found = panel.view
    assert isinstance(found, Parallel)
    low, high = found.values.min(), found.values.max()
    norm, colours = Normalize(low, high if high > low else None), matplotlib.colormaps[COLOUR_MAP]
    for index in reversed(range(len(found.values))):
        width, colour = 2.5 if index == 0 else 1.0, colours(norm(found.values[index]))
        axes.plot(found.heights[index], color=colour, lw=width, alpha=0.8)
    for index, ticks in enumerate(found.ticks):
        axes.axvline(index, color="black", lw=0.8)
        for height, text in ticks:
            axes.text(index, height, f" {text}", fontsize="small", va="center")
    axes.set_xticks(range(len(found.axes)), found.axes)
    axes.set_yticks([])
    axes.grid(False)


DRAWS: dict[type, Any] = {Chart: _chart, HeatMap: _heat_map, Parallel: _parallel}
