"""A sweep as a section: its members and configurations, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedjax_rl.families.registry import family_of
from fedjax_rl.figures.numbers import brief, estimate, exactly, number, plural
from fedjax_rl.ranking import seeds_clause
from fedjax_rl.report.common import section_of
from fedjax_rl.report.document import KeyFigure, Satisfaction, Section, State, Table
from fedjax_rl.report.reading import Source
from fedjax_rl.report.satisfaction import Members, budgets_kept, satisfaction
from fedjax_rl.report.swept import Swept, read_sweep
from fedjax_rl.settings.files import settings_from
from fedjax_rl.sweeps.best import Candidate, ordered
from fedjax_rl.sweeps.comparison import Layout, figures_of, layout_of, table, verdicts
from fedjax_rl.sweeps.execution import DIVERGED
from fedjax_rl.sweeps.figures import best_curves, heat_maps, parallel
from fedjax_rl.sweeps.plan import configured
from fedjax_rl.sweeps.request import type_of
from fedjax_rl.sweeps.space import ALGORITHM
from fedjax_rl.training.rows import Row

CELLS = 8_000
"""Most cells of a table of members, of which the best are shown."""
CONFIGURATIONS = 100
COSTS = {"occupancy_costs": "averaged policy", "last_costs": "last policy", "costs": "policy"}


def sweep_section(source: Source, name: str) -> Section:
    """Tables, maps and the best curves of a sweep.

    Raises:
        InvalidInput: its table cannot be read.
    """
    swept = read_sweep(source)
    rows = [swept.done[member].row for member in sorted(swept.done)]
    failed = [row for row in rows if row.get("status") == DIVERGED]
    section = section_of(source, name, f"sweep of {source.algorithm}")
    settings = source.config["settings"]
    states = [State("finished", True)]
    if len(rows) < swept.planned:
        states = [State(f"unfinished: {len(rows)} of {plural(swept.planned, 'member')}", None)]
    diverged = tuple(
        f"member {row.get('member')} ({_settings_text(row, swept.names)}, seed {row.get('seed')}) "
        f"diverged in round {row.get('failed_round')}"
        for row in failed
    )
    if failed:
        states.append(State(f"{len(failed)} of {plural(len(rows), 'member')} diverged", False))
    metric, keeps = swept.objective.metric, _excess(swept) == 0
    note = "mean over seeds" if keeps else "mean over seeds; no configuration keeps every budget"
    figures = heat_maps(swept.found, swept.names, swept.metrics, swept.objective)
    lines = (*best_curves(swept.best, swept.done, metric), *parallel(swept.found, swept.objective))
    layout = _layout(source, swept)
    if layout is not None and layout.added.draw is not None:
        figures = (*figures_of(layout, swept.done), *figures)
    return section._replace(
        states=tuple(states),
        verdict=_verdict(swept),
        key_figures=(
            KeyFigure("Members", brief(len(rows)), f"{len(failed)} diverged"),
            KeyFigure("Configurations", brief(len(swept.found)), ", ".join(swept.names)),
            KeyFigure(f"{'Best' if keeps else 'Closest:'} {metric}", brief(_value(swept)), note),
            *_feasible(swept),
        ),
        satisfaction=_satisfaction(swept),
        figures=(*figures, *lines),
        tables=(*_views(layout, rows), *_tables(swept, rows)),
        diverged=diverged,
        glance={
            "problem": settings.get("problem", settings.get("task")),
            "judged by": f"best {metric}" if keeps else f"{metric}, closest to the budgets",
            "its value": _value(swept),
            "budgets kept": budgets_kept(next(iter(_satisfaction(swept)), None)),
            "seeds": settings.get("seeds"),
            "rounds": settings.get("rounds", settings.get("steps")),
        },
    )


def _settings_text(row: Row, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {exactly(row.get(name))}" for name in names)


def _value(swept: Swept) -> float:
    return swept.best[0].mean(swept.objective.metric) if swept.best else math.nan


def _excess(swept: Swept) -> float:
    """How far the first is from keeping its budgets; 0 while there is none."""
    return swept.best[0].standing(swept.objective).excess if swept.best else 0.0


def _verdict(swept: Swept) -> tuple[str, ...]:
    if not swept.best:
        return ("No configuration has a figure yet, or every one has a seed that diverged.",)
    objective, first = swept.objective, swept.best[0]
    end = "largest" if objective.maximize else "smallest"
    settings, many = (
        _settings_text(first.combination, swept.names),
        plural(len(swept.best), "configuration"),
    )
    everywhere = seeds_clause(objective.feasible_seeds, len(first.rows))
    if excess := _excess(swept):
        far = f"with relative violation {brief(excess)}"
        return (
            f"None of {many} keeps every budget{everywhere}; closest: {settings}, "
            f"{far if excess < math.inf else 'by how much is not on record'} "
            f"({objective.metric} {brief(_value(swept))}).",
        )
    first_come = f"; those that keep every budget{everywhere} come first" * bool(objective.feasible)
    return (
        f"The best of {many} by {objective.metric} ({end} mean over seeds{first_come}): "
        f"{settings}, with {brief(_value(swept))}.",
        "The best of many by a noisy figure is partly luck: run it again with other seeds.",
    )


def _feasible(swept: Swept) -> tuple[KeyFigure, ...]:
    objective = swept.objective
    if objective.feasible is None:
        return ()
    feasible = sum(one.standing(objective).excess == 0 for one in swept.found)
    seeds = seeds_clause(
        objective.feasible_seeds, max((len(one.rows) for one in swept.found), default=1)
    )
    return (KeyFigure("Feasible", f"{feasible} of {len(swept.found)}", f"configurations{seeds}"),)


def _satisfaction(swept: Swept) -> tuple[Satisfaction, ...]:
    """Budgets and the best configuration, over its seeds."""
    if not swept.best:
        return ()
    rows, found = swept.best[0].rows, []
    budgets = _within(rows[0], "budgets")
    for prefix, policy in COSTS.items():
        by_seed = [_within(row, prefix) for row in rows]
        names = list(by_seed[0])
        matrix = np.array([[number(own.get(name)) for name in names] for own in by_seed])
        means = dict(zip(names, matrix.mean(0).tolist(), strict=True)) if names else {}
        tolerance = number(rows[0].get("feasibility_tolerance", 0.0))
        whose = f"Best configuration, {policy}"
        cut_short = any(number(row.get("unfinished_episodes", 0.0)) > 0 for row in rows)
        members = Members("seed", matrix)
        found.append(satisfaction(whose, means, budgets, tolerance, members, unfinished=cut_short))
    return tuple(one for one in found if one is not None)


def _within(row: Row, prefix: str) -> dict[str, Any]:
    """The figures that a row has one of for each constraint."""
    start = f"{prefix}/"
    return {name.removeprefix(start): row[name] for name in row if name.startswith(start)}


def _layout(source: Source, swept: Swept) -> Layout | None:
    """How a comparison puts its configurations side by side, where its family has its own way."""
    family = family_of(source.algorithm)
    if not source.config.get("compare") or not swept.found or not family.comparison.figures:
        return None
    kind = type_of(source.config, source.algorithm)
    base: Any = settings_from(kind, source.config["settings"])
    settings = [
        configured(
            str(one.combination.get(ALGORITHM, source.algorithm)), base, one.combination
        ).config
        for one in swept.found
    ]
    return layout_of(family, settings, swept.objective.feasible_seeds)


def _views(layout: Layout | None, rows: Sequence[Row]) -> tuple[Table, ...]:
    """The views of a comparison."""
    if layout is None:
        return ()
    found = []
    for view, title in layout.views.items():
        titles, *lines = table(layout, rows, view)
        note = f"{'; '.join(verdicts(layout, rows, view))}."
        found.append(Table(title or "Variants", tuple(titles), tuple(map(tuple, lines)), note))
    return tuple(found)


def _tables(swept: Swept, rows: Sequence[Row]) -> tuple[Table, ...]:
    return tuple(filter(None, (_configurations(swept), _members(swept, rows))))


def _configurations(swept: Swept) -> Table | None:
    if not swept.found:
        return None
    numbers = {one.configuration for one in swept.best}
    others = [one for one in swept.found if one.configuration not in numbers]
    everyone = [*swept.best, *others]
    metric, budgets = swept.objective.metric, swept.objective.feasible is not None
    rows = []
    for one in everyone[:CONFIGURATIONS]:
        values = np.array([number(row.get(metric)) for row in one.rows])
        row = [one.configuration, *(one.combination[name] for name in swept.names)]
        row += [one.mean(metric), estimate(values)]
        if budgets:
            excess = one.standing(swept.objective).excess
            row += [sum(one.feasible(swept.objective)), excess if excess < math.inf else None]
        row += [len(one.rows), sum(row.get("status") == DIVERGED for row in one.rows)]
        rows.append(tuple(row))
    headings = ["configuration", *swept.names, f"{metric}, mean", f"{metric}, IQM [95 %]"]
    headings += ["feasible seeds", "relative violation"] * budgets + ["seeds", "diverged"]
    note = _cut(len(rows), len(everyone))
    marked = (0,) if swept.best else ()
    return Table("Configurations", tuple(headings), tuple(rows), note, True, marked)


def _members(swept: Swept, rows: Sequence[Row]) -> Table | None:
    if not rows:
        return None
    metrics = swept.metrics
    headings = ("member", *swept.names, "seed", "status", *metrics)

    alone = [Candidate(index, {}, (row,)) for index, row in enumerate(rows)]
    best_first = [one.configuration for _, one in ordered(alone, swept.objective)]
    best_first += sorted(set(range(len(rows))) - set(best_first))
    best = [rows[index] for index in best_first[: max(1, CELLS // len(headings))]]
    cells = tuple(tuple(row.get(name) for name in headings) for row in best)
    first = "Feasible members come first, the others by their relative violation. "
    first *= swept.objective.feasible is not None
    note = f"{first}{_cut(len(best), len(rows))}"
    return Table("Members, best first", headings, cells, note, sortable=True)


def _cut(shown_rows: int, rows: int) -> str:
    return f"The best {shown_rows:,} of {rows:,}; sweep.csv has all." if shown_rows < rows else ""
