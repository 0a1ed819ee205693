"""Figures of a run of FedNPG, out of its columns and its summary, and of variants beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.figures import curves
from fedjax_rl.figures.averages import averaged
from fedjax_rl.figures.curves import Axes, curve, styled
from fedjax_rl.figures.description import Chart, Figure, FloatArray, Series
from fedjax_rl.figures.numbers import mapping

DISTANCES = {
    "average_gap": "average gap, absolute",
    "average_violation": "average violation",
    "strong_violation": "strong violation",
}
ABSCISSAS = {
    "round": "round",
    "environment_steps": "environment steps of all agents",
    "bytes_exchanged": "bytes exchanged",
}
AGAINST = "round", "local steps (rounds · E)"


def figures_of(rows: Columns, summary: Mapping[str, Any]) -> tuple[Figure, ...]:
    """All of them.

    Args:
        rows: of ``metrics.csv``.
        summary: of the run, or nothing.
    """
    if not len(rows.get("round", ())):
        return ()
    used = [
        name for name in ABSCISSAS if name in rows and (name == "round" or np.ptp(rows[name]) > 0)
    ]
    axes = Axes(tuple(ABSCISSAS[name] for name in used), tuple(rows[name] for name in used))
    value = curve(axes, "value", rows["value"], **_optimum(summary))
    distances = tuple(
        curve(axes, label, distance(rows, name), index)
        for index, (name, label) in enumerate(DISTANCES.items())
        if name in rows
    )
    drawn = {"value", *DISTANCES, *ABSCISSAS}
    drawn |= {name for name in rows if name.startswith(("cost/", "multiplier/"))}
    return (
        Figure("Value", (Chart("", axes.labels, "value", (value,)),), file="value.png"),
        Figure(
            "Distance from the optimum",
            (Chart("", axes.labels, "distance", distances, "log-log"),),
            "Trust the strong violation: in it one round cannot pay for another.",
            "value.png",
        ),
        *curves.costs_and_budgets(axes, rows, mapping(summary, "budgets"), "discounted cost"),
        *curves.multipliers(axes, rows, mapping(summary, "optimal_multipliers")),
        *curves.remaining(axes, rows, drawn),
    )


def distance(rows: Columns, name: str) -> FloatArray:
    """A column as a distance: a gap below V* counts as one above."""
    return np.abs(rows[name]) if name == "average_gap" else rows[name]


def curves_of(rows: Columns, summary: Mapping[str, Any]) -> dict[tuple[str, ...], Series]:
    """What other runs can be laid beside: by round alone, which all of them have."""
    if not len(rows.get("round", ())):
        return {}
    axes = Axes(("round",), (rows["round"],))
    found: dict[tuple[str, ...], Series] = {}
    found["value", "round"] = curve(axes, "value", rows["value"], **_optimum(summary))
    for name, label in DISTANCES.items():
        if name in rows:
            found[label, "round"] = curve(axes, label, distance(rows, name))
    return found


def _optimum(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {"reference": summary.get("optimal_value"), "reference_name": "V*"}


def variants(
    runs: Mapping[str, Sequence[tuple[Mapping[str, Any], Columns]]],
) -> tuple[Figure, ...]:
    """Average violation and average gap over seeds, against rounds and against local steps.

    Args:
        runs: row and curves of every seed, by variant.
    """
    views = []
    for name in ("average_violation", "average_gap"):
        series = []
        for index, (variant, seeds) in enumerate(runs.items()):
            rounds = [own["round"][np.isfinite(own["round"])] for _, own in seeds]
            count = min(map(len, rounds))
            values = np.stack([distance(own, name)[:count] for _, own in seeds], 1)
            pace = float(seeds[0][0]["local_steps"])
            axes = Axes(AGAINST, (rounds[0][:count], rounds[0][:count] * pace))
            one = averaged(curve(axes, variant, values[:, 0]), values)
            series.append(styled(one, index, curves.STYLES))
        views.append(Chart(DISTANCES[name], AGAINST, DISTANCES[name], tuple(series), "log-log"))
    return (Figure("Variants", tuple(views), file="comparison.png", abscissas=len(AGAINST)),)
