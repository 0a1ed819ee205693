"""Variants of FedNPG side by side, as ``compare fednpg`` wrote them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedjax_rl.runs.report.common import finish_states, section_of
from fedjax_rl.runs.report.curves import Axes, curve
from fedjax_rl.runs.report.document import Chart, Figure, KeyFigure, Section, Table
from fedjax_rl.runs.report.numbers import binary, number, plural, seconds, shown
from fedjax_rl.runs.report.reading import Columns, Source

VIEWS = {"equal_rounds": "after all rounds", "equal_local_steps": "at equal local steps"}
CURVES = {
    "strong_violation": ("strong violation", True),
    "average_violation": ("average violation", True),
    "average_gap": ("average gap, absolute", True),
    "value": ("value", False),
}
MEASURES = {
    "round": "round",
    "average_gap": "average gap",
    "average_violation": "average violation",
    "strong_violation": "strong violation",
    "gap": "last gap",
    "violation": "last violation",
    "feasible": "feasible",
    "bytes_exchanged": "exchanged",
    "seconds": "time",
}
POLICIES = {
    "averaged": ("average_violation", "feasible_average"),
    "last": ("violation", "feasible_last"),
}
AXES = ("round", "local steps (rounds · E)")


def variants_section(source: Source, name: str) -> Section:
    """A table for each view, and curves against rounds and local steps."""
    table, arrays = source.texts("comparison.csv"), source.arrays("curves.npz")
    names = table.get("variant", [])
    failed = table.get("failed_round", [])
    diverged = tuple(
        f"{variant} diverged in round {round}"
        for variant, round in zip(names, failed, strict=True)
        if round
    )
    section = section_of(source, name, "variants of FedNPG, side by side")
    feasible = table.get("equal_rounds/feasible", []).count("True")
    best = _best(table)
    verdict = [f"{feasible} of {plural(len(names), 'variant')} end with a feasible policy."]
    if best is not None:
        smallest = table["equal_rounds/strong_violation"][best]
        verdict.append(f"{names[best]} has the smallest strong violation: {_number(smallest)}.")
    return section._replace(
        states=finish_states(source, {}, "", "", bool(diverged), "comparison.csv"),
        verdict=tuple(verdict) if names else (),
        key_figures=(
            KeyFigure("Variants", shown(len(source.config.get("variants") or names))),
            KeyFigure("Feasible", f"{feasible} of {len(names)}", "after all rounds"),
            KeyFigure("Rounds", shown(source.config.get("rounds"))),
        ),
        figures=_figures(arrays, _local_steps(table)),
        tables=(_kept(table), *(_table(table, view, best) for view in VIEWS)) if names else (),
        diverged=diverged,
        glance={
            "problem": source.config.get("problem"),
            "judged by": "strong violation",
            "its value": _number_of(table, best),
            "rounds": source.config.get("rounds"),
        },
    )


def _best(table: Mapping[str, list[str]]) -> int | None:
    """The row with the smallest strong violation after all rounds."""
    values = [
        float(cell) if cell else np.inf for cell in table.get("equal_rounds/strong_violation", [])
    ]
    finite = np.isfinite(values)
    return int(np.argmin(values)) if finite.any() else None


def _number_of(table: Mapping[str, list[str]], row: int | None) -> float | None:
    return None if row is None else float(table["equal_rounds/strong_violation"][row])


def _local_steps(table: Mapping[str, list[str]]) -> dict[str, float]:
    pairs = zip(table.get("variant", []), table.get("local_steps", []), strict=True)
    return {name: float(steps) for name, steps in pairs}


def _kept(table: Mapping[str, list[str]]) -> Table:
    """How the policies of each variant keep the budgets: files tell the worst cost alone."""
    rows = []
    for at, variant in enumerate(table["variant"]):
        told = []
        for violation, feasible in POLICIES.values():
            cells = (
                table.get(f"equal_rounds/{name}", [])[at : at + 1] for name in (violation, feasible)
            )
            told.append(_worst(*("".join(cell) for cell in cells)))
        rows.append((variant, *told))
    headings = ("variant", *(f"{policy} policy" for policy in POLICIES))
    return Table("Constraint satisfaction after all rounds", headings, tuple(rows))


def _worst(violation: str, feasible: str) -> str | None:
    """A violation max_j (V_cj − d_j) in words."""
    if not violation:
        return None
    value = float(violation)
    side = "above its budget" if value > 0 else "below its budget"
    verdict = (
        "✗ exceeded" if feasible != "True" else "≈ within tolerance" if value > 0 else "✓ satisfied"
    )
    return f"{verdict}: worst cost {shown(abs(value))} {side}"


def _table(table: Mapping[str, list[str]], view: str, best: int | None) -> Table:
    """What is reported of every variant in one of the two views."""
    kept = [name for name in MEASURES if f"{view}/{name}" in table]
    rows = tuple(
        (variant, *(_cell(name, table[f"{view}/{name}"][at]) for name in kept))
        for at, variant in enumerate(table["variant"])
    )
    headings = ("variant", *(MEASURES[name] for name in kept))
    marked = (best,) if best is not None and view == "equal_rounds" else ()
    title = f"Variants {VIEWS[view]}"
    return Table(title, headings, rows, sortable=True, marked=marked)


def _cell(name: str, cell: str) -> object:
    if cell in ("True", "False"):
        return cell == "True"
    if not cell:
        return None
    value = float(cell)
    if name == "bytes_exchanged":
        return binary(value)
    return seconds(value) if name == "seconds" else int(value) if name == "round" else value


def _number(cell: str) -> str:
    return shown(number(float(cell)))


def _figures(arrays: Columns, local_steps: Mapping[str, float]) -> tuple[Figure, ...]:
    """A figure for every curve, a line for every variant."""
    variants = [name.removesuffix("/round") for name in arrays if name.endswith("/round")]
    figures = []
    for column, (label, logarithmic) in CURVES.items():
        series = []
        for place, variant in enumerate(variants):
            values = arrays.get(f"{variant}/{column}")
            if values is None:
                continue
            rounds = arrays[f"{variant}/round"]
            axes = Axes(AXES, (rounds, rounds * local_steps.get(variant, 1.0)))
            y = np.abs(values) if column == "average_gap" else values
            series.append(curve(axes, variant, y, place))
        if series:
            chart = Chart("", AXES, label, tuple(series), logarithmic)
            figures.append(Figure(label.capitalize(), (chart,)))
    return tuple(figures)
