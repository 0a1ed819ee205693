"""A plot of every column of a run, for families that draw none of their own."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fedjax_rl.columns import Columns
from fedjax_rl.figures.style import COLOURS, POINTS_DRAWN, STYLE, save

ACROSS = 3
"""Plots side by side."""


def plot_columns(columns: Columns, directory: Path) -> None:
    """Writes curves.png, with an axis for every column but the rounds."""
    with matplotlib.rc_context(STYLE):
        save(small_multiples(columns), directory / "curves.png")


def small_multiples(columns: Columns) -> Figure:
    """Every column against ``round``."""
    names = [name for name in columns if name != "round"]
    down = -(-len(names) // ACROSS)
    figure = Figure(figsize=(4 * min(ACROSS, len(names)), 3 * down), layout="constrained")
    rounds = columns["round"]
    at = np.unique(np.linspace(0, len(rounds) - 1, min(len(rounds), POINTS_DRAWN)).astype(int))
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(down, min(ACROSS, len(names)), place)
        axes.plot(rounds[at], columns[name][at], color=COLOURS[0])
        axes.set(xlabel="round", title=name)
    return figure
