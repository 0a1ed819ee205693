"""Costs beside their budgets, as bars and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.figures.description import FloatArray
from fedjax_rl.figures.numbers import NOTHING, brief, number, percent, plural
from fedjax_rl.report.document import Bar, Satisfaction

ROUNDING = 1e-9
"""What a cost may be above its budget in any case: a share of the larger of the two; of 1 where the
budget is 0, of which there is no share."""
TRACK = 1.25, 2.5
"""A track ends at this many budgets: at least, and at most; a bar beyond is cut off there."""


class Members(NamedTuple):
    """Costs of one policy for several seeds, agents or members of a sweep.

    Attributes:
        what: one of them, as ``seed``.
        costs: [K, M]; NaN for one that diverged.
    """

    what: str
    costs: FloatArray


def satisfaction(
    whose: str,
    costs: Mapping[str, Any],
    budgets: Mapping[str, Any],
    tolerance: float,
    members: Members | None = None,
    *,
    unfinished: bool = False,
) -> Satisfaction | None:
    """Bars of the constraints that have both a cost and a budget; None if there are none.

    Args:
        whose: the policy.
        costs: V_cj or J_cj by name; means where there are several members.
        budgets: d_j by name.
        tolerance: share of a budget by which a cost may exceed it and still count as kept.
        members: of which the costs are means; columns in the order of ``costs``.
        unfinished: whether episodes were given up: what they would have cost is not known, and
            no budget counts as kept.
    """
    names = [name for name in costs if name in budgets]
    if not names:
        return None
    pairs = {name: (number(costs[name]), number(budgets[name])) for name in names}
    longest = max(_ratio(*pair) for pair in pairs.values())
    track = min(max(1.15 * longest, TRACK[0]), TRACK[1])
    by_member = members.costs if members is not None else np.zeros((0, 0))
    several = by_member.ndim == 2 and by_member.shape[0] > 1 and by_member.shape[1] == len(costs)
    within = _kept(by_member, [pairs.get(name, (0, math.nan))[1] for name in costs], tolerance)
    within &= not unfinished
    bars = []
    for index, name in enumerate(costs):
        if name not in pairs:
            continue
        share = ""
        if members is not None and several:
            share = f"kept by {int(within[:, index].sum())} of {plural(len(within), members.what)}"
        own = bar(name, *pairs[name], tolerance, track, share)
        if unfinished and own.verdict in ("kept", "tolerated"):
            own = own._replace(verdict="unknown", verdict_text="not known: episodes were given up")
        bars.append(own)
    count = sum(one.verdict in ("kept", "tolerated") for one in bars)
    summary = f"{count} of {plural(len(bars), 'budget')} kept"
    if members is not None and several:
        summary += (
            f"; all of them by {int(within.all(1).sum())} of {plural(len(within), members.what)}"
        )
    return Satisfaction(whose, tuple(bars), f"{summary}{_allowed(tolerance)}")


def bar(
    name: str, cost: float, budget: float, tolerance: float, track: float, share: str = ""
) -> Bar:
    """A cost beside its budget.

    Where both are positive the track is so many budgets long, so that the marks of all budgets
    are below one another; otherwise it reaches from the smallest of 0, cost and budget to the
    largest.
    """
    verdict, verdict_text = verdict_of(cost, budget, tolerance)
    if not (math.isfinite(cost) and math.isfinite(budget)):
        return Bar(name, cost, budget, verdict, verdict_text, share, 0.0, 1 / track)
    if cost >= 0 and budget > 0:
        fill, mark = min(cost / budget / track, 1.0), 1 / track
    else:
        low, high = min(0.0, cost, budget), max(0.0, cost, budget)
        span = (high - low) * TRACK[0] or 1.0
        fill, mark = (cost - low) / span, (budget - low) / span
    return Bar(name, cost, budget, verdict, verdict_text, share, fill, mark)


def verdict_of(cost: float, budget: float, tolerance: float) -> tuple[str, str]:
    """The verdict on a cost, as a key and as text."""
    if not (math.isfinite(cost) and math.isfinite(budget)):
        return "unknown", "no finite figure"
    excess = cost - budget
    if abs(excess) <= _slack(cost, budget):
        return "kept", "satisfied, at its budget"
    if excess < 0:
        return "kept", f"satisfied, {percent(-excess, budget)} below its budget"
    if excess <= tolerance * abs(budget):
        return "tolerated", f"within tolerance, {percent(excess, budget)} above its budget"
    return "broken", f"exceeded by {percent(excess, budget)}"


def cost_of_budget(one: Bar) -> str:
    """A cost beside its budget: ``1.85 of 2``."""
    known = math.isfinite(one.cost) and math.isfinite(one.budget)
    return f"{brief(one.cost)} of {brief(one.budget)}" if known else NOTHING


def budgets_kept(found: Satisfaction | None) -> str:
    """The number of budgets kept, for key figures and tables: ``3 of 4``."""
    if found is None:
        return NOTHING
    return f"{sum(one.verdict in ('kept', 'tolerated') for one in found.bars)} of {len(found.bars)}"


def worst(found: Satisfaction | None) -> str:
    """The name of the worst constraint and by how much its budget is exceeded."""
    if found is None:
        return NOTHING
    broken = [one for one in found.bars if one.verdict == "broken"]
    if not broken and any(one.verdict == "unknown" for one in found.bars):
        return "which are exceeded is not known"
    if not broken:
        return "none exceeded"
    one = max(broken, key=lambda each: _ratio(each.cost, each.budget))
    return f"{one.name} {one.verdict_text}"


def _ratio(cost: float, budget: float) -> float:
    return cost / budget if budget > 0 and math.isfinite(cost) else 0.0


def _slack(cost: float, budget: float) -> float:
    return ROUNDING * (max(abs(cost), abs(budget)) if budget else max(abs(cost), 1.0))


def _kept(costs: FloatArray, budgets: list[float], tolerance: float) -> np.ndarray:
    """[K, M], whether a member keeps a budget within tolerance; not if it has no number."""
    if costs.ndim != 2 or costs.shape[1] != len(budgets):
        return np.zeros((0, len(budgets)), bool)
    limits = np.array(budgets)
    allowed = tolerance * np.abs(limits)
    scale = np.maximum(np.abs(costs), np.where(limits == 0, 1.0, np.abs(limits)))
    allowed = np.maximum(allowed, ROUNDING * scale)
    # A constraint without a budget is nobody's to break.
    return np.asarray((costs - limits <= allowed) | np.isnan(limits))


def _allowed(tolerance: float) -> str:
    return f", counting up to {100 * tolerance:g} % above as kept." if tolerance > 0 else "."
