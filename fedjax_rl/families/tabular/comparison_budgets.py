"""How the policies of a variant keep their budgets, at the end and after an earlier round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.families.tabular.summary import tolerances
from fedjax_rl.ranking import (
    Standing,
    deciding_seed,
    excess_of,
    relative_violation,
    scales,
    worth_of,
)

if TYPE_CHECKING:
    from fedjax_rl.families.tabular.training import FedNPGResult

POLICIES = ("average", "last")
"""The two policies of a run, as names of columns end."""
JUDGED_BY = {"averaged": ("average", "average_gap"), "last": ("last", "gap")}
"""The same in words, with the measure that says what each is worth."""


def judged(result: FedNPGResult, share: float) -> dict[str, Any]:
    """Whether the averaged and the last policy keep every budget at the end, and by how much not.

    Of agents that do not communicate every one must keep them.

    Args:
        result: of one run, over any number of seeds.
        share: of the seeds that must keep them.

    Returns:
        For both policies ``feasible_…``, ``relative_violation_…`` of the worst seed that counts,
        and ``feasible_share_…``, of all seeds.
    """
    summary = result.summary
    kept: dict[str, Any] = {}
    for policy in POLICIES:
        columns = (f"feasible_{policy}", f"relative_violation_{policy}")
        by_seed = [np.atleast_1d(summary.get(f"{name}_by_seed", summary[name])) for name in columns]
        feasible, violations = (values.tolist() for values in by_seed)
        seed = deciding_seed(feasible, violations, share)
        kept |= dict(zip(columns, (feasible[seed], violations[seed]), strict=True))
        kept[f"feasible_share_{policy}"] = float(np.mean(feasible))
    return kept


def judged_after(result: FedNPGResult, round: int, averages_feasible: bool) -> dict[str, Any]:
    """The same after any round, from its columns.

    Of several policies (seeds, or agents alone) only the worst violation is on record. They count
    as feasible when it is within the smallest tolerance, and it is taken relative to the smallest
    budget, which may be too strict; which share of them is feasible is not known.

    Args:
        result: of one run.
        round: between 1 and T.
        averages_feasible: whether averages are over rounds that keep the tolerance of the run.
    """
    history, cmdp = result.history, result.problem.cmdp
    allowed = tolerances(cmdp)
    shares: tuple[float | None, ...] = (None, None)
    if "worst_violation" in history:
        worst = [history[f"worst_{name}"][round] for name in ("average_violation", "violation")]
        feasible = [bool(violation <= allowed.min()) for violation in worst]
        relative = [float(violation / scales(cmdp.budgets).min()) for violation in worst]
    else:
        policies = _costs_after(result, round, averages_feasible)
        feasible = [bool((costs - cmdp.budgets <= allowed).all()) for costs in policies]
        relative = [float(relative_violation(costs, cmdp.budgets)) for costs in policies]
        shares = tuple(map(float, feasible))
    kept: dict[str, Any] = {}
    for policy, keeps, violation, part in zip(POLICIES, feasible, relative, shares, strict=True):
        kept |= {f"feasible_{policy}": keeps, f"relative_violation_{policy}": violation}
        kept[f"feasible_share_{policy}"] = part
    return kept


def _costs_after(
    result: FedNPGResult, round: int, averages_feasible: bool
) -> tuple[FloatArray, FloatArray]:
    """[M] costs of the averaged and of the last policy of a round."""
    cmdp = result.problem.cmdp
    columns = [result.history[f"cost/{name}"] for name in cmdp.constraint_names]
    costs = np.stack(columns)[:, 1 : round + 1]
    counted = np.full(costs.shape[1], True)
    if averages_feasible:
        excess = costs - cmdp.budgets[:, None]
        counted = np.all(excess <= getattr(result.config, "tolerance", 0.0), axis=0)
    averaged: FloatArray = costs[:, counted].mean(1) if counted.any() else costs[:, -1]
    return averaged, costs[:, -1]


def standing(row: Mapping[str, Any], policy: str, gap: str) -> Standing:
    """What decides about one of the two policies of a row.

    Args:
        row: of a view.
        policy: ``average`` or ``last``.
        gap: the measure that says what it is worth.
    """
    violation = row.get(f"relative_violation_{policy}")
    excess = excess_of([row[f"feasible_{policy}"]], [math.nan if violation is None else violation])
    return Standing(excess, worth_of(gap, False, [row[gap]]))
