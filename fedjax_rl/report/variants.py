"""Variants of FedNPG side by side, as ``compare fednpg`` wrote them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.families.tabular.comparison_budgets import JUDGED_BY, standing
from fedjax_rl.ranking import EVERY_SEED, best_first, seeds_in_words
from fedjax_rl.report.common import finish_states, section_of
from fedjax_rl.report.curves import Axes, curve
from fedjax_rl.report.document import Chart, Figure, KeyFigure, Section, Table
from fedjax_rl.report.numbers import binary, number, plural, seconds, shown
from fedjax_rl.report.reading import Columns, Source

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
    "feasible_share_average": "share of feasible averaged policies",
    "feasible_share_last": "share of feasible last policies",
    "relative_violation_average": "relative violation, averaged policy",
    "relative_violation_last": "relative violation, last policy",
    "bytes_exchanged": "exchanged",
    "seconds": "time",
}
VIOLATIONS = {"averaged": "average_violation", "last": "violation"}
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
    first = _first(table)
    best = first.row if first is not None and math.isfinite(first.excess) else None
    verdict = [f"{feasible} of {plural(len(names), 'variant')} end with a feasible policy."]
    if first is not None:
        verdict.append(_sentence(first, names[first.row], source.config))
    judged_by, value = "gap, budgets first", None
    if first is not None and best is not None:
        judged_by = "relative violation, none is feasible" if first.excess else judged_by
        value = first.excess or first.gap
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
            "judged by": judged_by,
            "its value": value,
            "rounds": source.config.get("rounds"),
        },
    )


class First(NamedTuple):
    """The policy that is first in the order of `fedjax_rl.ranking`, after all rounds.

    Attributes:
        row: of the table.
        whose: ``averaged`` or ``last``.
        gap: V* − V_r.
        excess: its relative violation, 0 if it is feasible; infinite where that is not on record.
    """

    row: int
    whose: str
    gap: float
    excess: float


def _first(table: Mapping[str, list[str]]) -> First | None:
    """The best of all policies; None where none has a number."""
    found = []
    for whose, (policy, gap) in JUDGED_BY.items():
        names = f"feasible_{policy}", f"relative_violation_{policy}", gap
        columns = [table.get(f"equal_rounds/{name}") for name in names]
        missing = [""] * len(table.get("variant", []))
        for row, cells in enumerate(zip(*(column or missing for column in columns), strict=True)):
            feasible, violation, value = cells[0] == "True", _float(cells[1]), _float(cells[2])
            measures = dict(zip(names, (feasible, violation, value), strict=True))
            judged = standing(measures, policy, gap)
            found.append((judged, First(row, whose, value, judged.excess)))
    found.sort(key=lambda one: one[1].row)  # of equals, compare names the earlier variant
    order = best_first([one for one, _ in found])
    return found[order[0]][1] if order else None


def _float(cell: str) -> float:
    return float(cell) if cell else math.nan


def _sentence(first: First, variant: str, config: Mapping[str, Any]) -> str:
    policy = f"the {first.whose} policy of {variant}"
    if math.isinf(first.excess):
        return "By how much budgets are broken is not on record."
    if first.excess:
        return f"Closest to its budgets: {policy}, relative violation {shown(first.excess)}."
    share = number(config.get("feasible_seeds"))
    known = share if 0 < share <= 1 else EVERY_SEED
    seeds = seeds_in_words(known, int(config.get("seeds") or 1))
    return f"Best of those that keep every budget{seeds}: {policy}, with gap {shown(first.gap)}."


def _local_steps(table: Mapping[str, list[str]]) -> dict[str, float]:
    pairs = zip(table.get("variant", []), table.get("local_steps", []), strict=True)
    return {name: float(steps) for name, steps in pairs}


def _kept(table: Mapping[str, list[str]]) -> Table:
    """How the policies of each variant keep the budgets: files tell the worst cost alone."""
    rows = []
    for at, variant in enumerate(table["variant"]):
        told = []
        for whose, violation in VIOLATIONS.items():
            names = violation, f"feasible_{JUDGED_BY[whose][0]}"
            cells = (table.get(f"equal_rounds/{name}", [])[at : at + 1] for name in names)
            told.append(_worst(*("".join(cell) for cell in cells)))
        rows.append((variant, *told))
    headings = ("variant", *(f"{policy} policy" for policy in JUDGED_BY))
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
