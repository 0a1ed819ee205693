"""The order of results: budgets come first, then the metric.

Everything that calls a result the best asks `best_first`: sweeps and searches, ``best``, ``plot``,
``compare``, reports, and a run that recommends one of its two policies.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_rl.checks import checked, in_range
from fedjax_rl.cmdp.model import FloatArray

UNIT = 1.0
"""What an excess over a budget of 0 is divided by: it is counted in the unit of its cost."""
EVERY_SEED = 1.0


class Standing(NamedTuple):
    """The sort key of a result: the smaller is better, the first field first.

    Attributes:
        excess: 0 where the budgets are kept, else the relative violation; infinite if unknown.
        worth: the metric so that less is better; NaN where it has no number.
    """

    excess: float
    worth: float


def best_first(standings: Sequence[Standing]) -> list[int]:
    """Places of those that have a number, the best first; equals stay as they were."""
    counted = [index for index, one in enumerate(standings) if math.isfinite(one.worth)]
    return sorted(counted, key=lambda index: standings[index])


def relative_violation(costs: FloatArray, budgets: FloatArray) -> FloatArray:
    """max_j (V_cj − d_j) / |d_j|; where d_j = 0 the excess itself, in the cost's own unit.

    Args:
        costs: [..., M].
        budgets: [M].

    Returns:
        [...], at most 0 where every budget is kept; 0 without constraints.
    """
    costs, budgets = np.asarray(costs, float), np.asarray(budgets, float)
    if budgets.size == 0:
        return np.zeros(costs.shape[:-1])
    largest: FloatArray = ((costs - budgets) / scales(budgets)).max(-1)
    return largest


def scales(budgets: FloatArray) -> FloatArray:
    """[M], what an excess over each budget is divided by."""
    return np.where(budgets == 0, UNIT, np.abs(budgets))


def excess_of(
    feasible: Sequence[bool], violations: Sequence[float], share: float = EVERY_SEED
) -> float:
    """The relative violation that the asked share of seeds stays within; 0 if they are feasible.

    Of all seeds that is the worst one's, of a share of them the worst one's among so many of the
    best. Hence it is 0 if and only if that share of seeds is feasible.

    Args:
        feasible: [K], whether a seed keeps every budget, within tolerance.
        violations: [K], `relative_violation` of each; NaN where it is not known.
        share: of seeds that must be feasible.
    """
    if not len(feasible):
        return math.inf
    return _excess(*_pairs(feasible, violations)[deciding_seed(feasible, violations, share)])


def deciding_seed(
    feasible: Sequence[bool], violations: Sequence[float], share: float = EVERY_SEED
) -> int:
    """Place of the worst seed among the asked share of the best; arguments as of `excess_of`."""
    pairs = _pairs(feasible, violations)
    order = sorted(range(len(pairs)), key=lambda seed: _excess(*pairs[seed]))
    return order[seeds_needed(share, len(order)) - 1]


def _pairs(feasible: Sequence[bool], violations: Sequence[float]) -> list[tuple[bool, float]]:
    return list(zip(feasible, violations, strict=True))


def _excess(keeps: bool, violation: float) -> float:
    """Of one seed; above 0 where a tolerance of nearly 0 leaves a violation of 0 infeasible."""
    if keeps:
        return 0.0
    return math.inf if math.isnan(violation) else max(violation, sys.float_info.min)


def seeds_needed(share: float, seeds: int) -> int:
    """How many of so many seeds a share of them is, rounded up."""
    return max(1, math.ceil(share * seeds - 1e-9))  # 0.7 of 10 are 7, though 0.7 · 10 is above 7


def worth_of(metric: str, maximize: bool, values: Sequence[float]) -> float:
    """The mean over seeds so that less is better.

    A gap to the optimum that is to be small counts as 0 where it is negative, seed by seed:
    only a policy that breaks a budget earns more than V*.

    Args:
        metric: name of the figure.
        maximize: whether more of it is better.
        values: [K], of each seed.
    """
    numbers = np.asarray(values, float)
    if maximize:
        return -float(numbers.mean())
    return float((np.maximum(numbers, 0.0) if is_gap(metric) else numbers).mean())


def is_gap(metric: str) -> bool:
    """Whether a figure, in whatever view of a comparison, is V* minus what a policy earns."""
    return metric == "gap" or metric.endswith(("_gap", "/gap"))


def check_share(share: object) -> float:
    """The share of seeds that must be feasible.

    Raises:
        InvalidInput: no number above 0 and at most 1.
    """
    rule = in_range(0, 1, "(]").named("a share of seeds: above 0 and at most 1")
    return float(checked("--feasible-seeds", share, rule))


def seeds_clause(share: float, seeds: int) -> str:
    """Of which seeds budgets must be kept: ``in every seed``, or nothing where there is one."""
    if seeds <= 1:
        return ""
    needed = seeds_needed(share, seeds)
    return " in every seed" if needed == seeds else f" in at least {needed} of {seeds} seeds"
