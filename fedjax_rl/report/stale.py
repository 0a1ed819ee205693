"""A run on stale data as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedjax_rl.families.stale.figures import curves_of, figures_of
from fedjax_rl.figures.numbers import array, brief, estimate, number
from fedjax_rl.report.common import finish_states, named, resources_of, section_of
from fedjax_rl.report.document import KeyFigure, Section, Table
from fedjax_rl.report.reading import Source

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
        figures=figures_of(rows, evaluations, summary),
        tables=_results(summary),
        diverged=diverged,
        glance={
            "problem": task,
            "judged by": "last accuracy",
            "its value": summary.get("last"),
            **resources_of(summary),
        },
        curves=curves_of(evaluations),
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
        f"Held-out accuracy: best {brief(summary.get('best'))}, last "
        f"{brief(summary.get('last'))}, from {brief(summary.get('warm_start_accuracy'))} before "
        f"the first step. Batches were {brief(summary.get('staleness_mean'))} steps old on "
        f"average, {brief(summary.get('staleness_max'))} at most.",
    )


def _key_figures(summary: Mapping[str, Any]) -> tuple[KeyFigure, ...]:
    if not summary:
        return ()
    window = f"window {brief(summary.get('window'))}"
    lost = f"lost since the best: {brief(summary.get('best_last_gap'))}"
    return (
        KeyFigure("Last accuracy", brief(summary.get("last")), lost),
        KeyFigure("Staleness", brief(summary.get("staleness_mean")), f"mean, in steps; {window}"),
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
