"""The members and configurations of a sweep, read from its chunks or its table."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.figures.numbers import number
from fedjax_rl.report.reading import FIELD, Source
from fedjax_rl.sweeps.best import Candidate, candidates, ordered
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.sweeps.objective import Objective, objective_of, recorded_share
from fedjax_rl.sweeps.results import read_chunks
from fedjax_rl.training.rows import Row

PREFERRED = (
    *("average_gap", "strong_violation", "last_gap", "last_violation", "feasible_average"),
    *("feasible_last", "reward", "feasible", "gap", "violation", "last", "best", "best_last_gap"),
    *("staleness_mean", "kl_median", "weight_variance_median", "ess_min", "bytes_exchanged"),
)
"""Figures that tables and maps show, of those that a sweep has; its headline comes first."""


class Swept(NamedTuple):
    """The members and configurations of a sweep so far.

    Attributes:
        names: of the settings that were swept.
        objective: what is best.
        found: every configuration.
        best: those that have the headline figure, the best first.
        metrics: columns worth showing, the headline first.
        done: all members, by number.
        planned: how many members there are to be.
    """

    names: tuple[str, ...]
    objective: Objective
    found: list[Candidate]
    best: list[Candidate]
    metrics: tuple[str, ...]
    done: dict[int, Done]
    planned: int


def read_sweep(source: Source) -> Swept:
    """All members and configurations so far.

    Raises:
        InvalidInput: its table cannot be read.
    """
    done = read_chunks(source.path) or _from_table(source)
    rows = [done[member].row for member in sorted(done)]
    grid, random = (source.config.get(name) or {} for name in ("grid", "random"))
    names = (*grid, *random)
    share = recorded_share(source.config)
    objective = objective_of(family_of(source.algorithm).headline, feasible_seeds=share)
    found = candidates(rows, names) if rows else []
    best = [one for _, one in ordered(found, objective)]
    known = {name for row in rows for name in row if math.isfinite(number(row[name]))}
    metrics = [name for name in dict.fromkeys([objective.metric, *PREFERRED]) if name in known]
    planned = math.prod(len(values) for values in grid.values())
    planned *= (source.config.get("samples") or 1) if random else 1
    planned -= len(source.config.get("left_out") or ())
    planned *= source.config["settings"].get("seeds") or 1
    return Swept(names, objective, found, best, tuple(metrics), done, planned)


def _from_table(source: Source) -> dict[int, Done]:
    """Members out of ``sweep.csv`` and ``curves.npz``, where the chunks were cleared away.

    Raises:
        InvalidInput: the table is of something else.
    """
    texts = source.texts("sweep.csv")
    if not texts:
        return {}
    if not {"member", "configuration", "seed", "status"} <= set(texts):
        raise InvalidInput(FIELD, source.path / "sweep.csv", "the table of a sweep")
    curves = source.arrays("curves.npz", ranks=2)
    done = {}
    for index, member in enumerate(texts["member"]):
        row: Row = {name: _typed(cells[index]) for name, cells in texts.items()}
        own = {name: values[index] for name, values in curves.items() if index < len(values)}
        done[int(member)] = Done(int(member), row, own)
    return done


def _typed(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell or None
