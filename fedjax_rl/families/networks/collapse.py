"""Collapses: rewards that are lost for long after the budgets had been kept."""

from __future__ import annotations

import math

import numpy as np

SHARE_LOST = 0.5
"""Of what the best policy within the budgets had gained over the first policy."""
ROUNDS_LOST = 50
"""From the first evaluation of a collapse to its last, at least."""


def collapses(round: np.ndarray, reward: np.ndarray, kept: np.ndarray) -> int:
    """How often the evaluated reward collapsed once every budget had been kept.

    A reward J is measured from that of the first policy, J_0, and against the best J* of the
    policies so far that kept every budget: it is lost where (J − J_0) / (J* − J_0) < 1/2, whatever
    the sign of rewards. A stretch of evaluations in a row that are lost is one collapse if its last
    is at least 50 rounds after its first. Before every budget was kept for the first time there is
    none, nor while no policy within the budgets was better than the first. An evaluation without a
    number (of a seed that diverged) ends a stretch.

    Args:
        round: [Q], ascending; the first is that of the first policy.
        reward: [Q], per episode; NaN where it is not known.
        kept: [Q] booleans, whether every budget was kept there.

    Returns:
        A count.
    """
    since: float | None = None
    first, best, count = float(reward[0]), -math.inf, 0
    for now, own, within in zip(map(int, round), map(float, reward), kept, strict=True):
        if within:
            best = max(best, own)
        lost = best > first and own - first < SHARE_LOST * (best - first)
        if not lost:
            since = None
        elif since is None:
            since = now
        if since is not None and now - since >= ROUNDS_LOST:
            # Counted where it has lasted long enough, and not again until it has ended.
            count, since = count + 1, math.inf
    return count
