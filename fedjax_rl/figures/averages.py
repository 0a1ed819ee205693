"""Averages over seeds and the bands around them: one meaning in every figure.

A line is an interquartile mean, and a band its 95 % bootstrap interval over seeds, as in tables.
Agents of one seed that never meet are not resampled: around them is their range, outlined.
"""

from __future__ import annotations

import numpy as np

from fedjax_rl.figures.description import Band, FloatArray, Series
from fedjax_rl.figures.numbers import plural
from fedjax_rl.statistics import NUMBERS_PER_BATCH, interquartile_mean

RESAMPLES = 500
RESAMPLED = 2**24
"""With more resampled numbers than this a band is made at fewer points, and straight between."""
BOUNDS = 0.025, 0.975
INTERVAL = "95 % interval"
RANGE = "range"


def averaged(series: Series, values: FloatArray, strata: str = "agent") -> Series:
    """The series with averages over K seeds in each of P strata, and a band that says what it is.

    A seed that has a stratum without a number is left out of that point; a point without seeds
    has no average. A single run is taken as it is and has no band.

    Args:
        series: whose y is replaced.
        values: [Q, K], or [Q, K, P]; NaN for what is not there.
        strata: one of them.
    """
    table = values.reshape(*values.shape[:2], -1)
    seeds, many = table.shape[1:]
    if seeds * many == 1:
        return series._replace(y=table[:, 0, 0])
    middle, low, high = np.full((3, len(table)), np.nan)
    alive = np.isfinite(table).all(2)
    for pattern in np.unique(alive, axis=0):
        if pattern.any():
            at = np.flatnonzero((alive == pattern).all(1))
            middle[at], low[at], high[at] = _estimates(table[at][:, pattern])
    of = f" × {plural(many, strata)}" if many > 1 else ""
    if seeds > 1:
        meaning = f"{INTERVAL} of the interquartile mean over {plural(seeds, 'seed')}{of}"
        return series._replace(y=middle, band=Band(low, high, INTERVAL, meaning))
    low, high = table.min((1, 2)), table.max((1, 2))
    meaning = f"{RANGE} over {plural(many, strata)}, around their interquartile mean"
    return series._replace(y=middle, band=Band(low, high, RANGE, meaning, filled=False))


def _estimates(table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Interquartile means [Q] of [Q, K, P], and the ends of their intervals; NaN for K = 1.

    Strata are resampled independently (arXiv 2108.13264, Section 4.1), in the same way at every
    point, so that a band is no rougher than its curves.
    """
    count, seeds, strata = table.shape
    middle = interquartile_mean(table, axis=(1, 2))
    if seeds == 1:
        return middle, np.full(count, np.nan), np.full(count, np.nan)
    drawn = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds, strata))
    some = np.linspace(0, count - 1, max(2, min(count, RESAMPLED // drawn.size)))
    at = np.unique(some.round().astype(int))
    batches = []
    for points in np.array_split(table[at], -(-drawn.size * len(at) // NUMBERS_PER_BATCH)):
        means = interquartile_mean(points[:, drawn, np.arange(strata)], axis=(2, 3))
        batches.append(np.quantile(means, BOUNDS, axis=1))
    low, high = (np.interp(np.arange(count), at, end) for end in np.concatenate(batches, axis=1))
    return middle, low, high
