"""Figures of a run on stale data, out of its columns and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.families.stale.cells import finite_mean
from fedjax_rl.figures.averages import averaged
from fedjax_rl.figures.curves import (
    MEMBERS_DRAWN,
    Axes,
    curve,
    gathered,
    mean_of,
    remaining,
    too_many,
)
from fedjax_rl.figures.description import Chart, Figure, FloatArray, Series
from fedjax_rl.figures.numbers import array, plural

X_LABELS = ("learner step", "virtual hours")
ACCURACY = "held-out accuracy"
DIAGNOSTICS = {
    "kl": ("KL(q‖p) per token", True),
    "weight_variance": ("weight variance", True),
    "weight_cv2": ("CV² of the weights", True),
    "effective_sample_size": ("effective sample size / n", False),
    "gradient_norm": ("gradient norm", True),
    "clip_fraction": ("clipped fraction", False),
    "staleness": ("staleness, learner steps", False),
}
"""Labels of columns, and whether their ordinate is logarithmic."""
SMALLEST = 1e-12
"""Nothing below it is on a logarithmic axis: there rounding is all there is."""
STRETCHES = 40
"""Into so many means a noisy curve is cut, where it has more than twice as many points."""


def figures_of(
    rows: Columns, evaluations: Columns, summary: Mapping[str, Any]
) -> tuple[Figure, ...]:
    """All figures of a run on stale data.

    Args:
        rows: of ``metrics.csv``.
        evaluations: of ``evaluations.csv``.
        summary: of the run, or nothing.
    """
    return (*_accuracy(evaluations), *_diagnostics(rows), *_staleness(summary), *_others(rows))


def _accuracy(evaluations: Columns) -> tuple[Figure, ...]:
    if not len(evaluations.get("step", ())):
        return ()
    axes, members, values = _evaluated(evaluations)
    average = averaged(curve(axes, "accuracy", values[:, 0]), values)
    views = [Chart("average", X_LABELS, ACCURACY, (average,), limits=(0.0, 1.0))]
    if 1 < len(members) <= MEMBERS_DRAWN:
        each = (
            curve(axes, f"seed {seed:g}", values[:, at], at)._replace(visible=True)
            for at, (seed,) in enumerate(members)
        )
        one_by_one = Chart("every seed", X_LABELS, ACCURACY, tuple(each), detail=True)
        views.append(one_by_one._replace(limits=(0.0, 1.0)))
    note = too_many(len(members))
    return (Figure("Held-out accuracy", tuple(views), note, "accuracy.png", len(X_LABELS)),)


def _evaluated(evaluations: Columns) -> tuple[Axes, list[tuple[float, ...]], FloatArray]:
    """Abscissas, the K seeds, and [Q, K] accuracies at evaluations."""
    steps, members, values = gathered(evaluations, "step", ("seed",), "accuracy")
    hours = mean_of(evaluations, "step", "virtual_seconds") / 3600
    return Axes(X_LABELS, (steps, hours)), members, values


def curves_of(evaluations: Columns, name: str = "accuracy") -> dict[tuple[str, ...], Series]:
    """The curves that a page overlays with other runs': accuracy at evaluations."""
    if not len(evaluations.get("step", ())):
        return {}
    axes, _, values = _evaluated(evaluations)
    return {(ACCURACY, *X_LABELS): averaged(curve(axes, name, values[:, 0]), values)}


def _diagnostics(rows: Columns) -> tuple[Figure, ...]:
    """What stale data does to the weights and the gradient."""
    if not len(rows.get("step", ())):
        return ()
    views = tuple(
        Chart(
            label,
            X_LABELS,
            label,
            _with_means(rows, name, logarithmic),
            "log" if logarithmic else "linear",
        )
        for name, (label, logarithmic) in DIAGNOSTICS.items()
        if name in rows
    )
    note = "Means over seeds at every logged step."
    return (Figure("What stale data does", views, note, "diagnostics.png"),) if views else ()


def _with_means(rows: Columns, name: str, logarithmic: bool) -> tuple[Series, ...]:
    """A column, and after a long one means of its stretches, which are less noisy."""
    axes, values = _axes(rows), rows[name]
    values = np.where(values >= SMALLEST, values, np.nan) if logarithmic else values
    every = curve(axes, "every step", values)
    if len(values) <= 2 * STRETCHES:
        return (every._replace(name=DIAGNOSTICS[name][0]),)
    cuts = np.array_split(np.arange(len(values)), STRETCHES)
    at = tuple(np.array([x[cut].mean() for cut in cuts]) for x in axes.values)
    means = np.array([finite_mean(values[cut]) for cut in cuts])
    return (
        every._replace(faint=True),
        curve(Axes(X_LABELS, at), f"means of {STRETCHES} stretches", means),
    )


def _axes(rows: Columns) -> Axes:
    return Axes(X_LABELS, (rows["step"], rows["virtual_seconds"] / 3600))


def _staleness(summary: Mapping[str, Any]) -> tuple[Figure, ...]:
    """How old the batches were, over all steps and seeds."""
    counts = array(summary.get("batches_by_staleness"))
    if not counts.size:
        return ()
    ages, shares = np.arange(len(counts), dtype=float), counts / counts.sum()
    label = "staleness, learner steps"
    axes = Axes((label,), (ages,))
    series = curve(axes, "share of batches", np.where(counts > 0, shares, np.nan))
    chart = Chart("", (label,), "share of batches", (series,), "log")
    note = f"Mean {ages @ shares:.1f}, largest {len(counts) - 1}: all batches of "
    note += f"{plural(int(summary.get('seeds', 1)), 'seed')} with window {summary.get('window')}."
    return (Figure("Ages of batches", (chart,), note, "staleness.png"),)


def _others(rows: Columns) -> tuple[Figure, ...]:
    if not len(rows.get("step", ())):
        return ()
    drawn = {"step", "virtual_seconds", "accuracy", *DIAGNOSTICS}
    return remaining(_axes(rows), rows, drawn)
