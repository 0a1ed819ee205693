"""What the notebooks share: their size, named problems, and figures that can be printed."""

from __future__ import annotations

import os
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from bench.named_problems import Named, named_problems
from fedjax_rl.figures.style import COLOURS
from fedjax_rl.statistics import Interval, SlopeInterval, median_interval

SIZE_VARIABLE = "FEDJAX_RL_NOTEBOOK_SIZE"
FIGURES_VARIABLE = "FEDJAX_RL_NOTEBOOK_FIGURES"
DEFAULT_FIGURES = Path(__file__).parent / "executed" / "figures"

PANEL = (3.5, 2.7)
"""Inches of one panel; two fill the width of a page."""
MARKERS = "osD^vP*"
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 8,
    "grid.alpha": 0.25,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "savefig.dpi": 160,
    "svg.hashsalt": "fedjax_rl",  # the same figure gives the same file
}

T = TypeVar("T")


def sized(small: T, full: T) -> T:
    """What a notebook uses when it is only tested, and what it uses for its claim.

    Raises:
        ValueError: the environment variable is neither ``small`` nor ``full``.
    """
    sizes = {"small": small, "full": full}
    size = os.environ.get(SIZE_VARIABLE, "full")
    if size not in sizes:
        raise ValueError(f"{SIZE_VARIABLE} is {size!r}: small or full is needed")
    return sizes[size]


@cache
def problems(count: int) -> list[Named]:
    """`bench.named_problems`, solved once for all notebooks of a process."""
    return named_problems(count)


def written(interval: Interval | SlopeInterval) -> str:
    """An estimate and its interval, such as ``0.98 [0.95, 1.02]``; two digits or whole numbers."""

    def short(number: float) -> str:
        return f"{number:.0f}" if abs(number) >= 100 else f"{number:.2g}"

    return f"{short(interval.estimate)} [{short(interval.low)}, {short(interval.high)}]"


class Shown(NamedTuple):
    """A figure as Jupyter displays it."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<figure, {len(self.png)} bytes>"


def panels(columns: int, rows: int = 1) -> tuple[Figure, Any]:
    """A figure and its axes: one, or [columns · rows] in reading order."""
    matplotlib.rcParams.update(STYLE)
    width = PANEL[0] * (columns if columns > 1 else 1.4)
    figure = Figure(figsize=(width, PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns)
    return figure, axes.ravel() if columns * rows > 1 else axes


def save(figure: Figure, name: str) -> Shown:
    """Writes NAME.svg and NAME.png into the directory that the environment names."""
    directory = Path(os.environ.get(FIGURES_VARIABLE, DEFAULT_FIGURES))
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    small = BytesIO()  # a palette is enough for lines and words, and half as large
    Image.open(buffer).convert("RGB").quantize(128).save(small, format="png", optimize=True)
    (directory / f"{name}.png").write_bytes(small.getvalue())
    return Shown(buffer.getvalue())


def look(index: int) -> dict[str, Any]:
    """Colour and marker of a series: told apart without colour, too."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def medians(axes: Axes, x: Any, values: Any, index: int, label: str, **line: Any) -> None:
    """The median over runs at each x, with its 95 % bootstrap interval as a band.

    Args:
        axes: where to draw.
        x: [X].
        values: [runs, X].
        index: which series, for its look.
        label: in the legend.
        **line: changes to the look of the line.
    """
    bands = [median_interval(column, seed=0) for column in np.asarray(values).T]
    middle, low, high = np.array(bands).T
    style = look(index) | line
    axes.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)
    axes.plot(x, middle, label=label, **style)
