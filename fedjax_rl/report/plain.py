"""A run of a family that has no section of its own: every column, and every figure."""

from __future__ import annotations

from typing import Any

from fedjax_rl.families.registry import family_of
from fedjax_rl.figures.curves import Axes, curve, remaining
from fedjax_rl.figures.numbers import array, estimate
from fedjax_rl.report.common import finish_states, named, resources_of, section_of
from fedjax_rl.report.document import Section, Table
from fedjax_rl.report.reading import Source
from fedjax_rl.training.rows import flat


def plain_section(source: Source, name: str) -> Section:
    """Curves of all columns of ``metrics.csv`` and a table of the summary's numbers."""
    summary, rows = source.document("summary.json"), source.columns("metrics.csv")
    family = family_of(source.algorithm)
    failed = [one for one in summary.get("failed_seeds") or [] if isinstance(one, dict)]
    diverged = tuple(
        f"seed {one.get('seed')} diverged in round {one.get('round')}" for one in failed
    )
    metric = family.headline.metric
    axes = Axes(("round",), (rows["round"],)) if len(rows.get("round", ())) else None
    section = section_of(source, name, f"run of {source.algorithm}, {family.name}")
    return section._replace(
        states=finish_states(source, rows, "round", "rounds", bool(diverged)),
        verdict=(f"{metric}: {summary.get(metric)}",) if metric in summary else (),
        key_figures=named(summary),
        figures=() if axes is None else remaining(axes, rows, {"round"}, file="curves.png"),
        tables=_table(summary),
        diverged=diverged,
        glance={
            "problem": source.config.get(family.problem),
            "judged by": metric,
            "its value": summary.get(metric),
            **resources_of(summary),
        },
        curves={}
        if axes is None
        else {(column, "round"): curve(axes, column, rows[column]) for column in rows},
    )


def _table(summary: dict[str, Any]) -> tuple[Table, ...]:
    rows = tuple(
        (label, value, estimate(array(summary.get(f"{label}_by_seed"))))
        for label, value in flat(summary).items()
        if isinstance(value, int | float)
    )
    return (Table("Results", ("figure", "mean", "over seeds, IQM [95 %]"), rows),) if rows else ()
