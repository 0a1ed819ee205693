"""The best configuration of a sweep: budgets first, under conditions, as one to run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import own_type
from fedjax_rl.families.registry import family_of
from fedjax_rl.ranking import (
    Standing,
    best_first,
    excess_of,
    relative_violation,
    seeds_clause,
    worth_of,
)
from fedjax_rl.settings.fields import PROBLEM, names, value_under
from fedjax_rl.settings.files import settings_from, settings_to_yaml
from fedjax_rl.settings.paths import absolute, found_again
from fedjax_rl.sweeps.execution import FINISHED
from fedjax_rl.sweeps.objective import (
    RELATIONS,
    Objective,
    as_float,
    check_metric,
    recorded_objective,
)
from fedjax_rl.sweeps.plan import configured
from fedjax_rl.sweeps.request import type_of
from fedjax_rl.sweeps.results import read_document, read_rows
from fedjax_rl.sweeps.space import ALGORITHM, Combination
from fedjax_rl.training.rows import Row

COSTS = {"feasible_average": "occupancy_costs", "feasible_last": "last_costs", "feasible": "costs"}
"""Costs of the policy that a column of feasibility is about."""


class Candidate(NamedTuple):
    """The members that share a configuration.

    Attributes:
        configuration: its number.
        combination: its swept settings.
        rows: of its seeds.
    """

    configuration: int
    combination: Combination
    rows: tuple[Row, ...]

    def mean(self, metric: str) -> float:
        """Mean of a metric over seeds; NaN when one diverged or has no number."""
        if any(row["status"] != FINISHED for row in self.rows):
            return math.nan
        return float(np.mean([as_float(row.get(metric)) for row in self.rows]))

    def feasible(self, objective: Objective) -> list[bool]:
        """[K], whether a seed keeps every budget; one that diverged does not."""
        column = objective.feasible
        return [
            column is None or (row.get(column) is True and row["status"] == FINISHED)
            for row in self.rows
        ]

    def standing(self, objective: Objective) -> Standing:
        """The sort key of a configuration; one with a seed that diverged has no number."""
        metric, column = objective.metric, objective.feasible
        violations = [violation_of(row, column) if column else 0.0 for row in self.rows]
        excess = excess_of(self.feasible(objective), violations, objective.feasible_seeds)
        whole = all(row["status"] == FINISHED for row in self.rows)
        values = [as_float(row.get(metric)) if whole else math.nan for row in self.rows]
        return Standing(excess, worth_of(metric, objective.maximize, values))


def violation_of(row: Row, feasible: str) -> float:
    """The relative violation of a member; NaN where it is neither on record nor known from costs.

    Tables from before it was recorded have costs and budgets, but of agents that do not
    communicate the means only, which say nothing of the worst one.
    """
    column = feasible.replace("feasible", "relative_violation", 1)
    if row["status"] != FINISHED:
        return math.nan
    if column in row:
        return as_float(row[column])
    names = [name.removeprefix("budgets/") for name in row if name.startswith("budgets/")]
    if row.get("reference") == "no-communication" or not names:
        return math.nan
    costs = [as_float(row.get(f"{COSTS.get(feasible)}/{name}")) for name in names]
    budgets = [as_float(row[f"budgets/{name}"]) for name in names]
    return float(relative_violation(np.array(costs), np.array(budgets)))


def candidates(rows: Sequence[Row], names: Sequence[str] = ()) -> list[Candidate]:
    """The configurations of a table, in its order.

    Args:
        rows: of the table.
        names: swept settings; those between ``configuration`` and ``seed`` unless given.
    """
    together: dict[int, list[Row]] = {}
    for row in rows:
        together.setdefault(row["configuration"], []).append(row)
    found = []
    for number, own in together.items():
        columns = list(own[0])
        swept = names or columns[columns.index("configuration") + 1 : columns.index("seed")]
        found.append(Candidate(number, {name: own[0][name] for name in swept}, tuple(own)))
    return found


def ordered(found: Sequence[Candidate], objective: Objective) -> list[tuple[float, Candidate]]:
    """Candidates that have the metric and keep the conditions, the best first.

    Configurations of which the asked share of seeds keeps every budget come first, by the metric;
    the others follow by their relative violation. Those of which fewer seeds are done than of
    others do not count yet.
    """
    finite = []
    seeds = max((len(one.rows) for one in found), default=0)
    for one in (one for one in found if len(one.rows) == seeds):
        value = one.mean(objective.metric)
        holds = all(
            RELATIONS[each.relation](one.mean(each.metric), each.bound)
            for each in objective.conditions
        )
        if holds and math.isfinite(value):
            finite.append((value, one))
    return [finite[index] for index in best_first([one.standing(objective) for _, one in finite])]


def best_configuration(path: Path, objective: Objective | None) -> tuple[str, str]:
    """The winner's ``config.yaml``, and a sentence on it.

    Figures are means over a configuration's seeds, as those of a run with ``--seeds`` are; one
    of which a seed diverged does not count.

    Args:
        path: of the sweep.
        objective: what is best; the algorithm's headline unless given.

    Raises:
        InvalidInput: no sweep, an unknown metric, or no configuration keeps the conditions.
    """
    rows = read_rows(path)
    document, algorithm = read_document(path)
    family = family_of(algorithm)
    objective = objective or recorded_objective(path)
    check_metric("--metric", objective.metric, rows)
    for each in objective.conditions:
        check_metric("--subject-to", each.metric, rows)
    found = candidates(rows, [*document["grid"], *document["random"]])
    winners = ordered(found, objective)
    if not winners:
        raise InvalidInput("--subject-to", _conditions(objective), _nearest(found, objective))
    winner = winners[0][1]
    if math.isinf(winner.standing(objective).excess):
        if any(as_float(row.get("unfinished_episodes")) > 0 for row in winner.rows):
            raise InvalidInput(
                "directory",
                path,
                "a sweep whose episodes ended: in every configuration some were given up, so that "
                "nobody knows what they cost",
            )
        raise InvalidInput(
            "directory",
            path,
            "a sweep that says by how much budgets are broken: no configuration keeps them, and "
            "this one was made before that was recorded",
        )
    kind = type_of(document, algorithm)
    base: Any = settings_from(kind, document["settings"])
    swept = dict(winner.combination)
    algorithm = swept.pop(ALGORITHM, algorithm)
    combination = {name: value_under("directory", kind, name, v) for name, v in swept.items()}
    config = own_type(family, algorithm, configured(algorithm, base, combination).config)
    config = absolute(found_again(config, family.files, path), family.files)
    if getattr(config, "reference", "fed") == "no-communication" and algorithm == "fednpg":
        config = dataclasses.replace(config, seeds=1)  # of which `run` takes one seed at a time
    text = settings_to_yaml(
        algorithm, dataclasses.asdict(config), _origin(document, names(kind, PROBLEM))
    )
    return text, _winner(found, winners, objective)


def _winner(
    found: Sequence[Candidate], winners: Sequence[tuple[float, Candidate]], objective: Objective
) -> str:
    """The winner in a sentence: among whom, and whether it keeps the budgets."""
    value, one = winners[0]
    seeds, feasible_seeds = len(one.rows), sum(one.feasible(objective))
    settings = ", ".join(f"{name} {setting}" for name, setting in one.combination.items())
    figure = f"{objective.metric} {value:.6g}" + f", mean over {seeds} seeds" * (seeds > 1)
    share = f"{feasible_seeds} of {seeds} seed{'s' * (seeds > 1)} feasible"
    qualify = "that qualify" * (len(winners) < len(found))
    everywhere = seeds_clause(objective.feasible_seeds, seeds)
    if excess := one.standing(objective).excess:
        among = " ".join(filter(None, [f"none of {len(winners)} configurations", qualify]))
        return (
            f"{among} keeps every budget{everywhere}; closest: {settings}, with relative "
            f"violation {excess:.4g} ({figure}; {share})"
        )
    end = "largest" if objective.maximize else "smallest"
    if objective.feasible is None:
        among = " ".join(filter(None, [f"{len(winners)} configurations", qualify]))
        return f"{figure}, the {end} of {among}: {settings}"
    count = sum(each.standing(objective).excess == 0 for _, each in winners)
    qualify = f"that {'qualify and ' * bool(qualify)}keep every budget{everywhere}"
    return f"{figure}, the {end} of {count} configurations {qualify} ({share}): {settings}"


def _origin(document: dict[str, Any], problem: Sequence[str]) -> dict[str, str]:
    """Versions, and the problem's content unless configurations differ in it."""
    origin = dict(document.get("made_with") or {})
    if any(name in problem for name in (*document["grid"], *document["random"])):
        origin.pop("problem_sha256", None)
    return origin


def _conditions(objective: Objective) -> str:
    text = " and ".join(f"{c.metric}{c.relation}{c.bound:g}" for c in objective.conditions)
    return text or "no condition"


def _nearest(found: Sequence[Candidate], objective: Objective) -> str:
    """Why nobody qualifies: what the configurations have of each metric that was asked for."""
    ranges = []
    for each in objective.conditions:
        values = [one.mean(each.metric) for one in found]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            ranges.append(f"{each.metric} from {min(finite):.4g} to {max(finite):.4g}")
    seen = ", ".join(ranges) or "every configuration has a seed that diverged"
    return f"no configuration satisfies it; they have {seen}"
