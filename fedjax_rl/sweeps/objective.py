"""The objective of a sweep: a metric, conditions, and the share of feasible seeds."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import Headline
from fedjax_rl.families.registry import family_of
from fedjax_rl.ranking import EVERY_SEED, check_share
from fedjax_rl.settings.values import UNREADABLE, number
from fedjax_rl.sweeps.results import read_document
from fedjax_rl.training.rows import Row

RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
BOOKKEEPING = ("member", "configuration", "seed", "status", "failed_round")


class Condition(NamedTuple):
    """A bound on a metric, which the best configuration must keep.

    Attributes:
        metric: a column.
        relation: one of `RELATIONS`.
        bound: a number.
    """

    metric: str
    relation: str
    bound: float


class Objective(NamedTuple):
    """The metric that ranks configurations, and the conditions they must keep.

    Attributes:
        metric: the column that is compared.
        maximize: whether more is better.
        conditions: what must hold, of means over seeds as well.
        feasible: the column that says whether a seed keeps every budget; None without budgets.
        feasible_seeds: share of the seeds that must keep them, in (0, 1].
    """

    metric: str
    maximize: bool = False
    conditions: tuple[Condition, ...] = ()
    feasible: str | None = None
    feasible_seeds: float = EVERY_SEED


def objective_of(
    headline: Headline,
    metric: str | None = None,
    maximize: bool = False,
    conditions: tuple[Condition, ...] = (),
    feasible_seeds: float | None = None,
) -> Objective:
    """The question about an algorithm's members; that of its headline unless there is a metric.

    Whatever the metric, budgets come first.

    Raises:
        InvalidInput: no share of seeds, or one of an algorithm without budgets.
    """
    share = EVERY_SEED if feasible_seeds is None else check_share(feasible_seeds)
    if headline.feasible is None and share != EVERY_SEED:
        raise InvalidInput("--feasible-seeds", share, "nothing else: these runs have no budgets")
    if metric is None:
        return Objective(headline.metric, headline.maximize, conditions, headline.feasible, share)
    last = headline.feasible_last if metric.startswith("last_") else None
    return Objective(metric, maximize, conditions, last or headline.feasible, share)


def recorded_objective(
    path: Path,
    metric: str | None = None,
    maximize: bool = False,
    conditions: tuple[Condition, ...] = (),
    feasible_seeds: float | None = None,
) -> Objective:
    """The question about the sweep of a directory, whose share of seeds it is unless given.

    Raises:
        InvalidInput: no sweep, or no share.
    """
    document, algorithm = read_document(path)
    share = recorded_share(document) if feasible_seeds is None else feasible_seeds
    return objective_of(family_of(algorithm).headline, metric, maximize, conditions, share)


def recorded_share(document: Mapping[str, Any]) -> float:
    """The share of feasible seeds that a sweep or a search was asked for."""
    requested = document.get("search") or document
    return check_share(requested.get("feasible_seeds", EVERY_SEED))


def condition(text: str) -> Condition:
    """``strong_violation<=0.01`` read.

    Raises:
        InvalidInput: not METRIC, a relation and a number.
    """
    parts = re.fullmatch(r"\s*(.+?)\s*(<=|>=|==|<|>)\s*(\S+)\s*", text)
    try:
        if parts is not None:
            return Condition(parts[1], parts[2], number(parts[3]))
    except UNREADABLE:
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
