"""PNG plots of runs on stale data; one line per loss and window, with bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedjax_rl.families.stale.cells import Cell, finite_mean
from fedjax_rl.figures.style import COLOURS, STYLE, save

DIAGNOSTICS = {
    "kl": "KL(q‖p) per token",
    "weight_variance": "weight variance",
    "weight_cv2": "CV² of the weights",
    "effective_sample_size": "effective sample size / n",
    "gradient_norm": "gradient norm",
    "clip_fraction": "clipped fraction",
}
LOGARITHMIC = ("kl", "weight_variance", "weight_cv2", "gradient_norm")
SMALLEST = 1e-12
"""Where logarithmic axes end: below it rounding is all there is."""
LINES = ("-", "--", ":", "-.")
BLOCKS = 40
"""Into so many means a noisy curve is cut."""


def plot_cells(cells: Sequence[Cell], directory: Path) -> None:
    """Writes accuracy.png, diagnostics.png and staleness.png."""
    draws = {"accuracy.png": accuracy, "diagnostics.png": diagnostics, "staleness.png": staleness}
    with matplotlib.rc_context(STYLE):
        for name, draw in draws.items():
            save(draw(cells), directory / name)


def accuracy(cells: Sequence[Cell]) -> Figure:
    """Held-out accuracy against learner steps, and against virtual time."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    for cell, colour, line in styled(cells):
        right = cell.at_evaluations("accuracy")
        mean = finite_mean(right, 0)
        hours = cell.seconds.mean(0)[cell.evaluated] / 3600
        for axes, at in ((by_step, cell.step[cell.evaluated]), (by_time, hours)):
            axes.plot(at, mean, color=colour, ls=line, label=label(cell))
            low, high = _range(right)
            axes.fill_between(at, low, high, color=colour, alpha=0.12, lw=0)
    by_step.set(xlabel="learner step", ylabel="held-out accuracy", ylim=(-0.02, 1.02))
    by_time.set(xlabel="virtual hours")
    by_step.set_title("mean and range over seeds")
    by_step.legend(fontsize="small")
    return figure


def diagnostics(cells: Sequence[Cell]) -> Figure:
    """What stale data does to the weights and the gradient, medians over seeds."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 3).flat, DIAGNOSTICS.items(), strict=True):
        for cell, colour, line in styled(cells):
            steps, values = blocks(cell, name)
            if name in LOGARITHMIC:
                values = np.maximum(values, SMALLEST)
            axes.plot(steps, values, color=colour, ls=line, label=label(cell))
        axes.set(xlabel="learner step", title=title)
        if name in LOGARITHMIC:
            axes.set_yscale("log")
    figure.axes[0].legend(fontsize="small")
    return figure


def staleness(cells: Sequence[Cell]) -> Figure:
    """How old the batches were, one histogram per window."""
    first = {cell.window: cell for cell in reversed(cells)}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Axes = figure.subplots()
    largest = max(float(np.nanmax(cell.values["staleness"])) for cell in cells)
    edges = np.arange(-0.5, largest + 1.5).tolist()
    for index, window in enumerate(sorted(first)):
        ages = first[window].values["staleness"][:, 1:]
        ages = ages[np.isfinite(ages)]
        axes.hist(
            ages,
            edges,
            density=True,
            histtype="stepfilled",
            alpha=0.5,
            color=COLOURS[index % len(COLOURS)],
            label=f"window {window}: mean {ages.mean():.1f}, largest {ages.max():.0f}",
        )
    axes.set(xlabel="staleness, learner steps", ylabel="share of batches", yscale="log")
    axes.legend()
    return figure


def styled(cells: Sequence[Cell]) -> list[tuple[Cell, str, str]]:
    """A colour for each loss and a kind of line for each window."""
    losses = list(dict.fromkeys(cell.loss for cell in cells))
    windows = sorted({cell.window for cell in cells})
    return [
        (
            cell,
            COLOURS[losses.index(cell.loss) % len(COLOURS)],
            LINES[windows.index(cell.window) % len(LINES)],
        )
        for cell in cells
    ]


def label(cell: Cell) -> str:
    """What a cell is called in legends and tables."""
    return f"{cell.loss}, W = {cell.window}"


def blocks(cell: Cell, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and medians over seeds of the means of consecutive steps."""
    steps, values = cell.step[1:], cell.values[name][:, 1:]
    cuts = np.array_split(np.arange(len(steps)), min(BLOCKS, len(steps)))
    medians = []
    for cut in cuts:
        means = finite_mean(values[:, cut])
        medians.append(np.median(means[np.isfinite(means)]) if np.isfinite(means).any() else np.nan)
    return np.array([steps[cut].mean() for cut in cuts]), np.array(medians)


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest finite value of every column [K, Q]; NaN where there is none."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(0)
    high = np.where(finite, values, -np.inf).max(0)
    return np.where(finite.any(0), low, np.nan), np.where(finite.any(0), high, np.nan)
