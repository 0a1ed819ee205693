"""The configurations of a sweep side by side: a table for people, one for programs, a figure."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.statistics import Interval, interquartile_mean, stratified_bootstrap
from fedjax_rl.sweeps.best import Candidate, candidates, ordered, violation_of
from fedjax_rl.sweeps.execution import FINISHED, Done
from fedjax_rl.sweeps.question import Question, as_float
from fedjax_rl.sweeps.results import SweepDirectory, cell
from fedjax_rl.training.rows import Row


class Compared(NamedTuple):
    """A configuration among the others.

    Attributes:
        rank: 1 for the best; None for one that diverged or keeps no condition.
        name: its swept settings, in words.
        chosen: the same by name.
        mean: of the metric over seeds that did not diverge.
        iqm: interquartile mean over them, NaN where there is none.
        low: lower end of its 95 % bootstrap interval.
        high: its upper end.
        feasible: how many seeds keep every budget.
        relative_violation: of the worst seed; NaN where it is not known.
        diverged: how many seeds did.
        seeds: K.
    """

    rank: int | None
    name: str
    chosen: dict[str, Any]
    mean: float
    iqm: float
    low: float
    high: float
    feasible: int
    relative_violation: float
    diverged: int
    seeds: int


def compared(rows: Sequence[Row], question: Question) -> list[Compared]:
    """All configurations, in the order in which they were asked for."""
    found = candidates(rows)
    ranks = {one.configuration: rank for rank, (_, one) in enumerate(ordered(found, question), 1)}
    return [_compared(one, question, ranks.get(one.configuration)) for one in found]


def _compared(one: Candidate, question: Question, rank: int | None) -> Compared:
    finished = [row for row in one.rows if row["status"] == FINISHED]
    values = np.array([as_float(row.get(question.metric)) for row in finished])
    values = values[np.isfinite(values)]
    interval = Interval(math.nan, math.nan, math.nan)
    if values.size:
        interval = stratified_bootstrap(values, interquartile_mean, seed=0)
    violations = [violation_of(row, question.feasible) for row in finished if question.feasible]
    return Compared(
        rank,
        ", ".join(f"{name} {cell(value)}" for name, value in one.chosen.items()),
        one.chosen,
        float(values.mean()) if values.size else math.nan,
        *interval,
        sum(one.feasible(question)),
        max(violations, default=math.nan),
        len(one.rows) - len(finished),
        len(one.rows),
    )


def header(question: Question) -> list[str]:
    """Titles of `cells`."""
    budgets = ["feasible seeds", "relative violation"] if question.feasible else []
    return ["configuration", question.metric, "IQM [95 %]", *budgets, "diverged", "rank"]


def cells(one: Compared, question: Question) -> list[str]:
    """A configuration as the texts of a table's row."""
    budgets = []
    if question.feasible:
        budgets = [f"{one.feasible} of {one.seeds}", _number(one.relative_violation)]
    interval = f"{_number(one.iqm)} [{_number(one.low)}, {_number(one.high)}]"
    rank = "" if one.rank is None else str(one.rank)
    return [one.name, _number(one.mean), interval, *budgets, str(one.diverged), rank]


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def text_table(found: Sequence[Compared], question: Question) -> str:
    """The table in columns, for a terminal."""
    lines = [header(question), *(cells(one, question) for one in found)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    first, *others = widths
    return "\n".join(
        "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in lines
    )


def markdown(found: Sequence[Compared], question: Question) -> str:
    """The table in Markdown."""
    lines = [header(question), ["---"] * len(header(question))]
    lines += [cells(one, question) for one in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def csv_text(found: Sequence[Compared]) -> str:
    """One line for each configuration, with its settings in columns of their own."""
    table = StringIO()
    figures = [name for name in Compared._fields if name not in ("name", "chosen")]
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*found[0].chosen, *figures] if found else figures)
    for one in found:
        numbers = [getattr(one, name) for name in figures]
        writer.writerow([cell(value) for value in (*one.chosen.values(), *numbers)])
    return table.getvalue()


def write_comparison(
    directory: SweepDirectory, done: Mapping[int, Done], question: Question
) -> None:
    """Writes ``comparison.csv``, ``comparison.md`` and ``comparison.png``."""
    from fedjax_rl.sweeps.plots import plot_comparison

    found = compared([done[member].row for member in sorted(done)], question)
    directory.write_text("comparison.md", markdown(found, question))
    plot_comparison(directory.path, done, question)
    directory.write_text("comparison.csv", csv_text(found))  # last: a comparison with it is whole
