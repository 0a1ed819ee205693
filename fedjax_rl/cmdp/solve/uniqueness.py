"""Intervals of each multiplier on the dual optimal face, by cutting planes (Kelley 1960).

A column k bounds the dual function g(λ) from below by the cut V_r^k − λ·(V_c^k − d). The
sublevel set {λ ≥ 0 : cuts ≤ g* + τ} contains the face {λ ≥ 0 : g(λ) ≤ g* + τ}; pricing at an
extreme point either shows that it lies on the face or adds the cut that removes it.

A dual of slope κ has width τ/κ at level τ, so a width alone cannot tell a unique multiplier
from a flat face. For a fixed set of cuts the greatest λ_j is concave in τ and the least is
convex. The line through two levels therefore bounds both at τ = 0 from outside, and removes
τ/κ exactly where the dual is a cone: `unique` is decided on these extrapolated intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import BoolArray, FloatArray
from fedjax_rl.cmdp.solve.highs import ProgramFailure, minimise
from fedjax_rl.cmdp.solve.policy_iteration import PricedPolicy, price
from fedjax_rl.cmdp.solve.process import Process

LEVEL = 1e-11
"""τ, over the larger of 1 and |g*|, in the units of the process. It has to be this low: where
states are rarely visited (the sepsis problem) a dual of many slopes is 1e-5 wide at 1e-8."""
LEVEL_RATIO = 10.0
"""The second level of the extrapolation is this much higher."""
STEPS = (1e-4, 1e-2, 1.0)
"""Programs are solved for (λ − λ*) / step, so that HiGHS's tolerance of 1e-10 is 1e-14 here;
the larger steps are for faces so long that HiGHS fails at the first."""
WIDTH_TOLERANCE = 1e-6
"""Intervals narrower than this times max(1, largest multiplier) count as one point."""
PRICINGS_PER_END = 25
UNBOUNDED_FROM = 1e4
"""With zero Slater slack the face may be unbounded; a multiplier that reaches this many units
of the process (reward scale per cost scale) is said to be."""


class Face(NamedTuple):
    """Extent of the dual optimal face, in the units of the process.

    Attributes:
        intervals: [M, 2], least and greatest λ_j: outer bounds, infinite where unbounded.
        unique: True if every interval is a point within `WIDTH_TOLERANCE` (certified by cuts
            alone); False if two multipliers further apart both have dual values within 10 τ of
            the optimum and the cuts do not part them at τ = 0; None if the pricings ran out or
            rounding hid the answer.
        pricings: unconstrained problems solved.
    """

    intervals: FloatArray
    unique: bool | None
    pricings: int


def multiplier_face(
    process: Process,
    columns: tuple[PricedPolicy, ...],
    multipliers: FloatArray,
    optimum: float,
    total_bound: float,
    max_pricings: int | None = None,
) -> Face:
    """Intervals of every multiplier over the dual optimal face.

    Args:
        process: the problem in the solvers' units, M constraints.
        columns: priced policies whose cuts are known; at least one.
        multipliers: [M], an optimal λ.
        optimum: g(λ), the least dual value known.
        total_bound: bound on Σ_j u_j λ_j over the face (V* − V_r(slater)) / ξ, infinite when
            the Slater slack is zero.
        max_pricings: `PRICINGS_PER_END` for each of the 2 M ends unless given.
    """
    count = len(multipliers)
    budget = 2 * count * PRICINGS_PER_END if max_pricings is None else max_pricings
    cuts = _Cuts(process, columns, multipliers, optimum, total_bound)
    width_tolerance = WIDTH_TOLERANCE * max(1.0, float(multipliers.max()))
    intervals = cuts.intervals()
    attained = np.full((count, 2), np.nan)
    pricings = 0
    for index in np.flatnonzero(np.ptp(intervals, axis=1) > width_tolerance):
        for end in range(2):
            attained[index, end], spent = cuts.refine(int(index), end, budget - pricings)
            pricings += spent
    if pricings:
        intervals = cuts.intervals()
    wide = np.ptp(intervals, axis=1) > width_tolerance
    flat = wide & (np.ptp(attained, axis=1) > width_tolerance)
    intervals[wide] = np.where(cuts.unbounded(intervals[wide]), np.inf, intervals[wide])
    unique = True if not wide.any() else False if flat.any() else None
    return Face(intervals, unique, pricings)


class _Cuts:
    """Cutting-plane model of the dual function around an optimal λ*; grows by pricing."""

    def __init__(
        self,
        process: Process,
        columns: tuple[PricedPolicy, ...],
        multipliers: FloatArray,
        optimum: float,
        total_bound: float,
    ):
        self._process = process
        self._columns = list(columns)
        self._centre = multipliers
        self._optimum = optimum
        self._level = LEVEL * max(1.0, abs(optimum))
        self._capped = not np.isfinite(total_bound)
        # At level τ the Slater bound grows by τ/ξ: a row at twice the bound never binds.
        self._total = UNBOUNDED_FROM if self._capped else 2.0 * total_bound + 1.0

    def extreme(self, index: int, end: int, level: float) -> FloatArray | None:
        """λ [M] of the least (end 0) or greatest (end 1) λ_index at a level; None if unknown."""
        rows, room = self._rows(level)
        objective = np.zeros(len(self._centre))
        objective[index] = 1.0 if end == 0 else -1.0
        for step in STEPS:
            bounds = np.stack([-self._centre / step, np.full(len(objective), np.inf)], axis=1)
            try:
                found = minimise(objective, upper=(rows, room / step), bounds=bounds)
            except ProgramFailure:
                continue
            return np.maximum(self._centre + step * found.x, 0.0)
        return None

    def _rows(self, level: float) -> tuple[FloatArray, FloatArray]:
        """The cuts and the cap on Σ_j u_j λ_j as rows·(λ − λ*) ≤ room, rows of size one."""
        values = np.stack([column.values for column in self._columns])
        budgets = self._process.budgets
        sizes = np.maximum(np.maximum(np.abs(values[:, 1:]), np.abs(budgets)), 1.0)
        # Costs are known to their rounding: without it a long flat face would be cut short.
        rounding = 4.0 * np.finfo(np.float64).eps / (1.0 - self._process.discount) * sizes
        excess = values[:, 1:] - budgets + rounding
        room = self._optimum + level - (values[:, 0] - excess @ self._centre)
        weights = self._process.slack_weights
        rows = np.concatenate([-excess, weights[None]])
        room = np.append(
            np.maximum(room, level), max(self._total - float(weights @ self._centre), 0.0)
        )
        lengths = np.abs(rows).max(1)
        nonzero = lengths > 0
        return rows[nonzero] / lengths[nonzero, None], room[nonzero] / lengths[nonzero]

    def _end(self, index: int, end: int, level: float) -> float:
        """λ_index at an extreme; what the cap allows if HiGHS cannot tell."""
        point = self.extreme(index, end, level)
        if point is not None:
            return float(point[index])
        return 0.0 if end == 0 else float(self._total / self._process.slack_weights[index])

    def intervals(self) -> FloatArray:
        """[M, 2], outer bounds at level 0 by extrapolation; they contain λ*."""
        near, far = (
            np.array(
                [
                    [self._end(index, end, level) for end in range(2)]
                    for index in range(len(self._centre))
                ]
            )
            for level in (self._level, LEVEL_RATIO * self._level)
        )
        ends = near - (far - near) / (LEVEL_RATIO - 1.0)
        ends[:, 0] = np.clip(ends[:, 0], 0.0, self._centre)
        ends[:, 1] = np.maximum(ends[:, 1], self._centre)
        return ends

    def refine(self, index: int, end: int, max_pricings: int) -> tuple[float, int]:
        """Adds cuts until an extreme point lies on the face.

        Returns:
            λ_index there, NaN if pricings or progress ran out, and the pricings spent.
        """
        for spent in range(max_pricings):
            point = self.extreme(index, end, self._level)
            if point is None:
                return np.nan, spent
            weights = np.append(1.0, -point)
            start = max(self._columns, key=lambda column: float(weights @ column.values))
            priced = price(self._process, weights, start)
            if priced.upper + point @ self._process.budgets <= self._acceptable(point):
                return float(point[index]), spent + 1
            if np.array_equal(priced.policy.actions, start.actions):
                return np.nan, spent + 1
            self._columns.append(priced.policy)
        return np.nan, max(max_pricings, 0)

    def unbounded(self, ends: FloatArray) -> BoolArray:
        """Which ends stopped only at the cap that stands for infinity."""
        return self._capped & (ends >= 0.1 * UNBOUNDED_FROM)

    def _acceptable(self, point: FloatArray) -> float:
        """Dual value of λ [M] that counts as optimal: its terms are rounded to their size."""
        size = max(1.0, abs(self._optimum), float(point @ np.abs(self._process.budgets)))
        return self._optimum + LEVEL_RATIO * LEVEL * size
