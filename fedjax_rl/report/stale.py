"""A run on stale data as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.report.common import (
    BAND,
    MEMBERS_DRAWN,
    finish_states,
    named,
    paid,
    section_of,
    too_many,
)
from fedjax_rl.report.curves import Axes, banded, curve, gathered, mean_of, remaining
from fedjax_rl.report.document import Chart, Figure, KeyFigure, Section, Series, Table
from fedjax_rl.report.numbers import array, estimate, number, plural, shown
from fedjax_rl.report.reading import Columns, Source

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
"""Columns by their label, and whether their axis is logarithmic."""
RESULTS = {
    "last": "last accuracy",
    "best": "best accuracy",
    "best_last_gap": "best − last",
    "accuracy_mean": "mean accuracy over evaluations",
    "staleness_mean": "mean staleness, learner steps",
    "staleness_max": "largest staleness",
    "kl_median": "KL per token, median",
    "weight_variance_median": "weight variance, median",
    "weight_cv2_median": "CV² of the weights, median",
    "ess_min": "smallest effective sample size",
    "clip_fraction_mean": "clipped fraction, mean",
    "gradient_norm_max": "largest gradient norm",
    "estimation_error_mean": "error of the weights' mean",
}


def stale_section(source: Source, name: str) -> Section:
    """A run of one loss at one window."""
    summary, rows = source.document("summary.json"), source.columns("metrics.csv")
    evaluations = source.columns("evaluations.csv")
    diverged = diverged_of(summary)
    task = source.config.get("task")
    section = section_of(source, name, f"run of {source.algorithm} on stale data")
    return section._replace(
        states=finish_states(source, rows, "step", "steps", bool(diverged)),
        verdict=_verdict(summary),
        key_figures=_key_figures(summary),
        figures=(*_accuracy(evaluations), *_diagnostics(rows)),
        tables=_results(summary),
        diverged=diverged,
        glance={
            "problem": task,
            "judged by": "last accuracy",
            "its value": summary.get("last"),
            **paid(summary),
        },
        curves=_curves(evaluations),
    )


def diverged_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """A line for every seed whose policy was no longer finite."""
    return tuple(
        f"seed {one.get('seed')} diverged in step {one.get('step')} and is left out of the means"
        for one in summary.get("failed_seeds") or []
        if isinstance(one, dict)
    )


def _verdict(summary: Mapping[str, Any]) -> tuple[str, ...]:
    if not summary:
        return ()
    return (
        f"Held-out accuracy: best {shown(summary.get('best'))}, last "
        f"{shown(summary.get('last'))}, from {shown(summary.get('warm_start_accuracy'))} before "
        f"the first step. Batches were {shown(summary.get('staleness_mean'))} steps old on "
        f"average, {shown(summary.get('staleness_max'))} at most.",
    )


def _key_figures(summary: Mapping[str, Any]) -> tuple[KeyFigure, ...]:
    if not summary:
        return ()
    window = f"window {shown(summary.get('window'))}"
    lost = f"lost since the best: {shown(summary.get('best_last_gap'))}"
    return (
        KeyFigure("Last accuracy", shown(summary.get("last")), lost),
        KeyFigure("Staleness", shown(summary.get("staleness_mean")), f"mean, in steps; {window}"),
        *named(summary),
        KeyFigure("Virtual time", f"{number(summary.get('virtual_seconds')) / 3600:.3g} h"),
    )


def _results(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    if not summary:
        return ()
    rows = tuple(
        (label, summary.get(name), estimate(array(summary.get(f"{name}_by_seed"))))
        for name, label in RESULTS.items()
    )
    return (Table("Results", ("figure", "mean", "over seeds, IQM [95 %]"), rows),)


def _accuracy(evaluations: Columns) -> tuple[Figure, ...]:
    found = averaged(evaluations)
    if found is None:
        return ()
    average, axes, values, members = found
    views = [Chart("average", X_LABELS, ACCURACY, (average,))]
    if 1 < len(members) <= MEMBERS_DRAWN:
        each = (
            curve(axes, f"seed {seed:g}", values[:, at], at)._replace(shown=True)
            for at, (seed,) in enumerate(members)
        )
        views.append(Chart("every seed", X_LABELS, ACCURACY, tuple(each)))
    note = BAND.format(plural(len(members), "seed")) if len(members) > 1 else ""
    note = " ".join(filter(None, [note, too_many(len(members))]))
    return (Figure("Held-out accuracy", tuple(views), note),)


def averaged(
    evaluations: Columns, name: str = "accuracy"
) -> tuple[Series, Axes, np.ndarray, list[tuple[float, ...]]] | None:
    """Accuracy at evaluations: its average, abscissas, and [Q, K] values of the K members."""
    if not len(evaluations.get("step", ())):
        return None
    steps, members, values = gathered(evaluations, "step", ("seed",), "accuracy")
    axes = Axes(X_LABELS, (steps, mean_of(evaluations, "step", "virtual_seconds") / 3600))
    return banded(curve(axes, name, values[:, 0]), values), axes, values, members


def _diagnostics(rows: Columns) -> tuple[Figure, ...]:
    if not len(rows.get("step", ())):
        return ()
    axes = Axes(X_LABELS, (rows["step"], rows["virtual_seconds"] / 3600))
    views = tuple(
        Chart(label, X_LABELS, label, (curve(axes, label, rows[name]),), logarithmic)
        for name, (label, logarithmic) in DIAGNOSTICS.items()
        if name in rows
    )
    figure = Figure("What stale data does", views, "Means over seeds at every logged step.")
    drawn = {"step", "virtual_seconds", "accuracy", *DIAGNOSTICS}
    return (*([figure] if views else ()), *remaining(axes, rows, drawn))


def _curves(evaluations: Columns) -> dict[tuple[str, ...], Series]:
    found = averaged(evaluations)
    return {} if found is None else {(ACCURACY, *X_LABELS): found[0]}
