"""The best configuration of a sweep, under conditions, as a configuration to run."""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import settings_to_yaml
from fedjax_rl.runs.sweeps.execution import FINISHED, Row
from fedjax_rl.runs.sweeps.family import Headline, family
from fedjax_rl.runs.sweeps.results import read_document, read_rows
from fedjax_rl.runs.sweeps.space import Chosen
from fedjax_rl.runs.sweeps.values import typed

RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
BOOKKEEPING = ("member", "configuration", "seed", "status", "failed_round")


class Condition(NamedTuple):
    """A bound on a metric.

    Attributes:
        metric: a column.
        relation: one of `RELATIONS`.
        bound: a number.
    """

    metric: str
    relation: str
    bound: float


class Question(NamedTuple):
    """What is best.

    Attributes:
        metric: the column that is compared.
        maximize: whether more is better.
        conditions: what must hold, of means over seeds as well.
        feasible: a column that must be true for every seed if it is for any; see `ordered`.
    """

    metric: str
    maximize: bool = False
    conditions: tuple[Condition, ...] = ()
    feasible: str | None = None


class Candidate(NamedTuple):
    """The members that share a configuration.

    Attributes:
        configuration: its number.
        chosen: its swept settings.
        rows: of its seeds.
    """

    configuration: int
    chosen: Chosen
    rows: tuple[Row, ...]

    def mean(self, metric: str) -> float:
        """Mean of a metric over seeds; NaN when one diverged or has no number."""
        if any(row["status"] != FINISHED for row in self.rows):
            return math.nan
        return float(np.mean([as_float(row.get(metric)) for row in self.rows]))


def question_of(headline: Headline) -> Question:
    """The question that is asked when none is."""
    return Question(headline.metric, headline.maximize, (), headline.feasible)


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


def ordered(found: Sequence[Candidate], question: Question) -> list[tuple[float, Candidate]]:
    """Candidates that have the metric and keep the conditions, the best first.

    With a ``feasible`` column, configurations of which every seed is feasible come before all
    others. Those of which fewer seeds are done than of others do not count yet.
    """
    kept = []
    seeds = max((len(one.rows) for one in found), default=0)
    for one in (one for one in found if len(one.rows) == seeds):
        value = one.mean(question.metric)
        holds = all(
            RELATIONS[each.relation](one.mean(each.metric), each.bound)
            for each in question.conditions
        )
        if holds and math.isfinite(value):
            infeasible = question.feasible is not None and one.mean(question.feasible) != 1
            kept.append((infeasible, -value if question.maximize else value, value, one))
    kept.sort(key=lambda entry: entry[:2])
    return [(value, one) for _, _, value, one in kept]


def condition(text: str) -> Condition:
    """``strong_violation<=0.01`` read.

    Raises:
        InvalidInput: not METRIC, a relation and a number.
    """
    parts = re.fullmatch(r"\s*(.+?)\s*(<=|>=|==|<|>)\s*(\S+)\s*", text)
    try:
        if parts is not None:
            return Condition(parts[1], parts[2], float(parts[3]))
    except ValueError:
        pass
    raise InvalidInput("--subject-to", repr(text), "METRIC<=NUMBER, or with >=, <, > or ==")


def check_metric(option: str, metric: str, rows: Sequence[Row]) -> None:
    """Raises InvalidInput, naming the nearest, unless the table has numbers of that name."""
    names = dict.fromkeys(name for row in rows for name in row)
    known = [name for name in names if any(math.isfinite(as_float(r.get(name))) for r in rows)]
    check_known(option, metric, known)


def check_known(option: str, metric: str, names: Sequence[str]) -> None:
    """Raises InvalidInput, naming the nearest, unless figures have a number of that name."""
    known = [name for name in names if name not in BOOKKEEPING]
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidInput(option, repr(metric), f"{hint}a column of sweep.csv with numbers")


def as_float(value: Any) -> float:
    """A number or a truth value as a float; NaN for anything else."""
    return float(value) if isinstance(value, bool | int | float) else math.nan


def best_configuration(path: Path, question: Question | None) -> tuple[str, str]:
    """The winner's ``config.yaml``, and a sentence on it.

    Figures are means over a configuration's seeds, as those of a run with ``--seeds`` are; one
    of which a seed diverged does not count.

    Args:
        path: of the sweep.
        question: what is best; the algorithm's headline unless given.

    Raises:
        InvalidInput: no sweep, an unknown metric, or no configuration keeps the conditions.
    """
    rows = read_rows(path)
    document, algorithm = read_document(path)
    kind = family(algorithm)
    asked = question or question_of(kind.headline)
    check_metric("--metric", asked.metric, rows)
    for each in asked.conditions:
        check_metric("--subject-to", each.metric, rows)
    found = candidates(rows, [*document["grid"], *document["random"]])
    winners = ordered(found, asked)
    if not winners:
        raise InvalidInput("--subject-to", _conditions(asked), _nearest(found, asked))
    value, winner = winners[0]
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in _base(document).items()}
    base = kind.config(**values)
    chosen = {name: typed("directory", kind.config, name, v) for name, v in winner.chosen.items()}
    config = dataclasses.replace(base, **chosen)
    if getattr(config, "reference", "fed") == "no-communication" and algorithm == "fednpg":
        config = dataclasses.replace(config, seeds=1)  # of which `run` takes one seed at a time
    text = settings_to_yaml(algorithm, dataclasses.asdict(config), _origin(document, kind.problem))
    settings = ", ".join(f"{name} {setting}" for name, setting in winner.chosen.items())
    told = (
        f"{asked.metric} {value:.6g}, mean over {len(winner.rows)} seeds, the "
        f"{'largest' if asked.maximize else 'smallest'} of {len(winners)} configurations"
        f"{' that qualify' if len(winners) < len(found) else ''}"
        f"{'; feasible ones come first' if asked.feasible else ''}: {settings}"
    )
    return text, told


def _base(document: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = document["settings"]
    return settings


def _origin(document: dict[str, Any], problem: Sequence[str]) -> dict[str, str]:
    """Versions, and the problem's content unless configurations differ in it."""
    origin = dict(document.get("made_with") or {})
    if any(name in problem for name in (*document["grid"], *document["random"])):
        origin.pop("problem_sha256", None)
    return origin


def _conditions(question: Question) -> str:
    told = " and ".join(f"{c.metric}{c.relation}{c.bound:g}" for c in question.conditions)
    return told or "no condition"


def _nearest(found: Sequence[Candidate], question: Question) -> str:
    """Why nobody qualifies: what the configurations have of each metric that was asked for."""
    told = []
    for each in question.conditions:
        values = [one.mean(each.metric) for one in found]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            told.append(f"{each.metric} from {min(finite):.4g} to {max(finite):.4g}")
    seen = ", ".join(told) or "every configuration has a seed that diverged"
    return f"no configuration satisfies it; they have {seen}"
