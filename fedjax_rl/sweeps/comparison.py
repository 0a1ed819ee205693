"""The configurations of a sweep side by side: a table for people, one for programs, a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.cluster import hosts
from fedjax_rl.families.protocol import Comparison, Family, Headline
from fedjax_rl.figures.description import Figure
from fedjax_rl.ranking import deciding_seed
from fedjax_rl.statistics import Interval, interquartile_mean, stratified_bootstrap
from fedjax_rl.sweeps import messages
from fedjax_rl.sweeps.best import Candidate, candidates, ordered, violation_of
from fedjax_rl.sweeps.execution import FINISHED, Done
from fedjax_rl.sweeps.figures import curve_of, curves_of_best
from fedjax_rl.sweeps.objective import Objective, as_float, objective_of
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.sweeps.results import csv_text as rows_as_csv
from fedjax_rl.training.rows import Row


class Layout(NamedTuple):
    """The layout of a comparison: views, rankings, share of feasible seeds.

    Attributes:
        added: what their family adds.
        views: what each view puts at equal, by its name.
        ranked_by: what configurations are ordered by, in a word or two.
        feasible_seeds: share of seeds that must keep every budget.
    """

    added: Comparison
    views: Mapping[str, str]
    ranked_by: Mapping[str, Headline]
    feasible_seeds: float

    def objectives(self, view: str) -> dict[str, Objective]:
        """The objective of each ranking in a view, by its name."""
        return {
            whose: objective_of(
                headline._replace(
                    metric=within(view, headline.metric),
                    feasible=headline.feasible and within(view, headline.feasible),
                ),
                feasible_seeds=self.feasible_seeds,
            )
            for whose, headline in self.ranked_by.items()
        }


def layout_of(family: Family, settings: Sequence[Any], feasible_seeds: float) -> Layout:
    """The layout of a comparison of members with these settings."""
    added = family.comparison
    return Layout(
        added, added.views(settings), added.ranked_by or {"": family.headline}, feasible_seeds
    )


def within(view: str, name: str) -> str:
    """The column of a figure in a view."""
    return f"{view}/{name}" if view else name


class Ranked(NamedTuple):
    """A configuration among the others, by one figure.

    Attributes:
        rank: 1 for the best; None for one that diverged.
        mean: of the metric over seeds that did not diverge.
        iqm: interquartile mean over them, NaN where there is none.
        low: lower end of its 95 % bootstrap interval.
        high: its upper end.
        feasible: how many seeds keep every budget.
        relative_violation: of the worst seed; NaN where it is not known.
    """

    rank: int | None
    mean: float
    iqm: float
    low: float
    high: float
    feasible: int
    relative_violation: float


class Compared(NamedTuple):
    """A configuration in a view.

    Attributes:
        name: what it is called.
        one: its settings and members.
        ranked: by each of the figures, in the order of the layout.
    """

    name: str
    one: Candidate
    ranked: tuple[Ranked, ...]

    @property
    def diverged(self) -> int:
        """The number of seeds that diverged."""
        return sum(row["status"] != FINISHED for row in self.one.rows)

    @property
    def failed_round(self) -> int | None:
        """The first one that was not finite, of any seed."""
        failed = [row["failed_round"] for row in self.one.rows if row["status"] != FINISHED]
        return min(failed, default=None)


def compared(layout: Layout, rows: Sequence[Row], view: str) -> list[Compared]:
    """All configurations, in the order in which they were asked for."""
    found = candidates(rows)
    each = [_ranked(found, objective) for objective in layout.objectives(view).values()]
    return [
        Compared(layout.added.label(one.combination), one, tuple(own[index] for own in each))
        for index, one in enumerate(found)
    ]


def _ranked(found: Sequence[Candidate], objective: Objective) -> list[Ranked]:
    ranks = {one.configuration: rank for rank, (_, one) in enumerate(ordered(found, objective), 1)}
    entries = []
    for one in found:
        finished = [row for row in one.rows if row["status"] == FINISHED]
        values = np.array([as_float(row.get(objective.metric)) for row in finished])
        values = values[np.isfinite(values)]
        interval = Interval(math.nan, math.nan, math.nan)
        if values.size:
            interval = stratified_bootstrap(values, interquartile_mean, seed=0)
        feasible = objective.feasible
        violations = [violation_of(row, feasible) for row in finished if feasible]
        entries.append(
            Ranked(
                ranks.get(one.configuration),
                float(values.mean()) if values.size else math.nan,
                *interval,
                sum(one.feasible(objective)),
                max(violations, default=math.nan),
            )
        )
    return entries


def over_seeds(one: Candidate, column: str) -> Any:
    """The mean of a figure over seeds that did not diverge; what all have in common as it is."""
    values = [row.get(column) for row in one.rows if row["status"] == FINISHED]
    if values and all(value == values[0] for value in values):
        return values[0]
    numbers = np.array([as_float(value) for value in values])
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.mean()) if numbers.size else None


def table(layout: Layout, rows: Sequence[Row], view: str) -> list[list[str]]:
    """A view as texts: the titles of its columns, and a row for each configuration."""
    found, objectives = compared(layout, rows, view), layout.objectives(view).values()
    figures = layout.added.figures or {one.metric: one.metric for one in objectives}
    seeds = max((len(each.one.rows) for each in found), default=1)
    budgets = any(objective.feasible for objective in objectives)
    diverged = any(each.diverged for each in found)
    titles = ["variant", *figures, *["IQM [95 %]"] * (seeds > 1)]
    titles += ["feasible", "relative violation"] * budgets + ["diverged"] * diverged + ["rank"]
    lines = [titles]
    for each in found:
        first, feasible = each.ranked[0], ", ".join(str(own.feasible) for own in each.ranked)
        line = [each.name]
        line += [_number(over_seeds(each.one, within(view, name))) for name in figures.values()]
        if seeds > 1:
            line.append(f"{_number(first.iqm)} [{_number(first.low)}, {_number(first.high)}]")
        if budgets:
            far = ", ".join(_number(own.relative_violation) for own in each.ranked)
            line += [f"{feasible} of {len(each.one.rows)}", far]
        line += [str(each.diverged)] * diverged
        line.append(", ".join(str(own.rank or "-") for own in each.ranked))
        lines.append(line)
    return lines


def _number(value: Any) -> str:
    whole = isinstance(value, int | str)
    return str(value) if whole else f"{value:.4g}" if math.isfinite(as_float(value)) else "-"


def verdicts(layout: Layout, rows: Sequence[Row], view: str) -> list[str]:
    """The best of a view in words, by each of the figures that configurations are ranked by."""
    lines = {
        whose: messages.best(rows, objective, layout.added.label) or messages.NOBODY
        for whose, objective in layout.objectives(view).items()
    }
    return [f"{whose}: {line}" if whose else line for whose, line in lines.items()]


def text(layout: Layout, rows: Sequence[Row]) -> str:
    """All views for a terminal, and who diverged."""
    lines: list[str] = []
    for view, title in layout.views.items():
        cells = table(layout, rows, view)
        first, *others = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += ["", f"{title}:"] if title else [""]
        lines += [
            "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in cells
        ]
        lines += verdicts(layout, rows, view)
    found = compared(layout, rows, next(iter(layout.views)))
    lost = [f"{one.name} in round {one.failed_round}" for one in found if one.diverged]
    lines += [f"DIVERGED: {which}; the others are complete." for which in lost]
    return "\n".join(lines)


def markdown(layout: Layout, rows: Sequence[Row], left_out: Mapping[str, str]) -> str:
    """All views in Markdown, and what was left out."""
    lines: list[str] = []
    for view, title in layout.views.items():
        titles, *others = table(layout, rows, view)
        lines += [f"## {title}", ""] if title else []
        lines += [_line(line) for line in (titles, ["---"] * len(titles), *others)]
        lines += ["", *(f"- {line}" for line in verdicts(layout, rows, view)), ""]
    lines += [f"- Left out: {name}: {why}" for name, why in left_out.items()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(one.replace('|', '/') for one in cells)} |"


def csv_text(layout: Layout, rows: Sequence[Row]) -> str:
    """The content of ``comparison.csv``: a line per configuration, with its settings and ranks.

    It ranks by what comes first, in the first view.
    """
    found = compared(layout, rows, next(iter(layout.views)))
    lines = []
    for each in found:
        line: Row = {"variant": each.name, **each.one.combination}
        line |= {"failed_round": each.failed_round, **each.ranked[0]._asdict()}
        line |= {"diverged": each.diverged, "seeds": len(each.one.rows)}
        for view in layout.views:
            names = [within(view, name) for name in layout.added.columns]
            line |= {name: over_seeds(each.one, name) for name in names}
            if view:
                line |= _kept(each.one, layout, view)
        lines.append(line)
    return rows_as_csv(lines)


def _kept(one: Candidate, layout: Layout, view: str) -> Row:
    """How a configuration keeps its budgets: the seed that decides, the share that does, or any."""
    found: Row = {within(view, "feasible"): False}
    for objective in layout.objectives(view).values():
        if objective.feasible is None:
            return {}
        feasible = one.feasible(objective)
        violations = [violation_of(row, objective.feasible) for row in one.rows]
        seed = deciding_seed(feasible, violations, layout.feasible_seeds)
        found[within(view, "feasible")] |= feasible[seed]
        for stem, value in (
            ("feasible", feasible[seed]),
            ("relative_violation", violations[seed]),
            ("feasible_share", float(np.mean(feasible))),
        ):
            found[objective.feasible.replace("feasible", stem, 1)] = value
    return found


def write(
    directory: SweepDirectory, layout: Layout, done: Mapping[int, Done], left_out: Mapping[str, str]
) -> None:
    """Writes ``comparison.md``, ``comparison.png`` and ``comparison.csv``."""
    rows = [done[member].row for member in sorted(done)]
    directory.write_text("comparison.md", markdown(layout, rows, left_out))
    if hosts.writes():
        from fedjax_rl.figures import png

        png.write(figures_of(layout, done), directory.path, str(rows[0].get("problem") or ""))
    # The last of all: a comparison that has it is whole.
    directory.write_text("comparison.csv", csv_text(layout, rows))


def figures_of(layout: Layout, done: Mapping[int, Done]) -> tuple[Figure, ...]:
    """The family's figures of a comparison, or the curves of the best configurations."""
    found = candidates([done[member].row for member in sorted(done)])
    if layout.added.draw is None:
        first, *_ = layout.objectives(next(iter(layout.views))).values()
        name = curve_of(None, first.metric, done)
        return curves_of_best(found, done, first, name, "comparison.png")
    return layout.added.draw(
        {
            layout.added.label(one.combination): [
                (row, done[row["member"]].curves) for row in one.rows
            ]
            for one in found
        }
    )
