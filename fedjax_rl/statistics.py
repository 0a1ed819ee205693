"""Averages over runs and how far to trust them: IQM, bootstrap intervals, log–log slopes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedjax_rl.errors import InvalidInput

FloatArray = NDArray[np.float64]
Axes = int | tuple[int, ...]
NUMBERS_PER_BATCH = 2**22
"""How many resampled scores are held at once (32 MiB)."""


class Statistic(Protocol):
    """A reduction over axes of an array: np.mean, np.median, `interquartile_mean`.

    `stratified_bootstrap` calls it on [resamples, runs, tasks] with ``axis=(-2, -1)``.
    """

    def __call__(self, scores: FloatArray, /, *, axis: tuple[int, ...]) -> Any:
        """The statistic, without these axes."""


class Interval(NamedTuple):
    """An estimate and its confidence interval, all in the units of the scores.

    Attributes:
        estimate: the statistic of the scores themselves.
        low: lower bound; NaN where a single run leaves nothing to resample.
        high: upper bound; NaN likewise.
    """

    estimate: float
    low: float
    high: float


class SlopeFit(NamedTuple):
    """The line log y = intercept + slope · log x (natural logarithms), and what it rests on.

    Attributes:
        slope: the exponent p of y ≈ c xᵖ, no unit; NaN if fewer than two different x remain.
        intercept: log c, the logarithm of y at x = 1; NaN with the slope.
        used: points that the line was fitted to, floored ones included.
        excluded: points left out because their y is not positive; 0 where a floor was given.
        floored: points whose y was raised to the floor; 0 without one.
    """

    slope: float
    intercept: float
    used: int
    excluded: int
    floored: int


class SlopeInterval(NamedTuple):
    """The median slope over runs, its confidence interval, and what was left out.

    Attributes:
        estimate: median of the slopes that are defined, no unit; NaN if none is.
        low: lower bound; NaN if fewer than two slopes are defined.
        high: upper bound; NaN likewise.
        undefined: runs without a slope; they count in nothing above.
        excluded: points left out over all runs, as in `SlopeFit`.
        floored: points raised to the floor over all runs, as in `SlopeFit`.
    """

    estimate: float
    low: float
    high: float
    undefined: int
    excluded: int
    floored: int


@overload
def interquartile_mean(scores: ArrayLike, axis: None = None) -> float: ...
@overload
def interquartile_mean(scores: ArrayLike, axis: Axes) -> FloatArray: ...
def interquartile_mean(scores: ArrayLike, axis: Axes | None = None) -> float | FloatArray:
    """The mean of the middle half: robust to outliers, and less noisy than the median.

    IQM = mean(x₍ₖ₊₁₎, …, x₍ₙ₋ₖ₎) of the n sorted scores, with k = ⌊n / 4⌋ (arXiv 2108.13264,
    Section 4.3). Runs and tasks are pooled before sorting. Fewer than four scores: their mean.

    Args:
        scores: [runs], [runs, tasks], or any shape; computed in float64.
        axis: axes to pool; None pools all of them.

    Returns:
        In the units of the scores: a number, or an array with ``axis`` gone from the shape.

    Raises:
        InvalidInput: scores that are empty, a scalar, or not finite; axes they do not have.

    Examples:
        >>> interquartile_mean([-1000.0, 1.0, 2.0, 3.0])
        1.5
    """
    array = _finite("scores", scores)
    pooled = array.reshape(1, -1) if axis is None else _last(array, axis)
    count = pooled.shape[-1]
    quartiles = slice(count // 4, count - count // 4)
    ordered = np.partition(pooled, (quartiles.start, quartiles.stop - 1), axis=-1)
    middle = ordered[..., quartiles].mean(-1)
    return float(middle[0]) if axis is None else np.asarray(middle)


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """A percentile bootstrap interval over runs, with every task a stratum of its own.

    Each resample draws, for each task independently, as many runs of that task as there are,
    with replacement; the bounds are the (1 ∓ confidence) / 2 quantiles of the statistic over
    the resamples (arXiv 2108.13264, Section 4.1). The uncertainty is that of other runs of the
    same tasks, not of other tasks. With few runs the interval is too narrow: at 10 runs of 1 or
    3 tasks of normal scores, 95 % covers 89 % to 93 %. The bounds of a single run are NaN.

    Args:
        scores: [runs, tasks], or [runs] for one task.
        statistic: np.mean, np.median, `interquartile_mean`, or another `Statistic`.
        resamples: how many resamples, at least 1.
        confidence: probability that the interval is to cover, in (0, 1).
        seed: of ``np.random.default_rng``; the same seed gives the same interval.

    Raises:
        InvalidInput: scores that are empty, not finite or of another rank; a statistic that
            keeps an axis; resamples, confidence or seed out of range.

    Examples:
        >>> stratified_bootstrap([0.0, 0.0, 1.0, 1.0], interquartile_mean, seed=0)
        Interval(estimate=0.5, low=0.0, high=1.0)
    """
    array = _finite("scores", scores, "[runs] or [runs, tasks]", (1, 2))
    _check_sampling(resamples, confidence, seed)
    table = array.reshape(len(array), -1)
    estimate = float(_reduced(statistic, table[None])[0])
    if len(table) == 1:
        return Interval(estimate, math.nan, math.nan)
    batches = _resampled(table, resamples, np.random.default_rng(seed))
    draws = np.concatenate([_reduced(statistic, batch) for batch in batches])
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def median_interval(
    values: ArrayLike, *, resamples: int = 2000, confidence: float = 0.95, seed: int
) -> Interval:
    """The median of [runs] or [runs, tasks]: `stratified_bootstrap`, its arguments and errors."""
    return stratified_bootstrap(
        values, np.median, resamples=resamples, confidence=confidence, seed=seed
    )


def log_log_slope(x: ArrayLike, y: ArrayLike, *, floor: float | None = None) -> SlopeFit:
    """The power law y ≈ c xᵖ by least squares of log y on log x; p is the slope.

    A logarithm needs y > 0. Values that are not positive are left out and counted as
    ``excluded``; what is left may decay less steeply than all of it. With a floor no value is
    left out: those below it, positive ones too, are raised to it and counted as ``floored``.

    Args:
        x: [T], positive, in any unit.
        y: [T], of any sign, in any unit.
        floor: None, or a positive number in the unit of y.

    Raises:
        InvalidInput: x or y empty, not finite, not of rank 1 or not of one length; x or the
            floor not positive.
    """
    return _fit(*_checked_points(x, y, "[T]", 1, floor), floor)


def slope_interval(
    x: ArrayLike,
    y: ArrayLike,
    *,
    floor: float | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> SlopeInterval:
    """The median over runs of `log_log_slope`, with a bootstrap interval over runs.

    Only runs whose slope is defined enter the median and the resamples; the others are counted.
    All runs share x [T], and y is [runs, T]; the other arguments are those of `log_log_slope`
    and `stratified_bootstrap`.

    Raises:
        InvalidInput: as `log_log_slope` and `stratified_bootstrap` do; y not of rank 2.
    """
    positions, runs = _checked_points(x, y, "[runs, T]", 2, floor)
    _check_sampling(resamples, confidence, seed)
    fits = [_fit(positions, values, floor) for values in runs]
    slopes = [fit.slope for fit in fits if not math.isnan(fit.slope)]
    interval = Interval(math.nan, math.nan, math.nan)
    if slopes:
        interval = median_interval(slopes, resamples=resamples, confidence=confidence, seed=seed)
    excluded, floored = sum(fit.excluded for fit in fits), sum(fit.floored for fit in fits)
    return SlopeInterval(*interval, len(fits) - len(slopes), excluded, floored)


def _fit(positions: FloatArray, values: FloatArray, floor: float | None) -> SlopeFit:
    """`log_log_slope` of what has been checked."""
    floored = 0 if floor is None else int((values < floor).sum())
    raised = values if floor is None else np.maximum(values, floor)
    positive = raised > 0
    used = int(positive.sum())
    log_x, log_y = np.log(positions[positive]), np.log(raised[positive])
    slope = intercept = math.nan
    if used and log_x.min() < log_x.max():
        centred = log_x - log_x.mean()
        slope = float(centred @ log_y / (centred @ centred))
        intercept = float(log_y.mean() - slope * log_x.mean())
    return SlopeFit(slope, intercept, used, len(values) - used, floored)


def _resampled(table: FloatArray, count: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Resamples of [runs, tasks] in batches [B, runs, tasks], tasks independent of one another."""
    num_runs, num_tasks = table.shape
    batch = max(1, NUMBERS_PER_BATCH // table.size)
    for start in range(0, count, batch):
        shape = (min(batch, count - start), num_runs, num_tasks)
        yield table[rng.integers(num_runs, size=shape), np.arange(num_tasks)]


def _reduced(statistic: Statistic, samples: FloatArray) -> FloatArray:
    """The statistic [B] of samples [B, runs, tasks]."""
    values = np.asarray(statistic(samples, axis=(-2, -1)), dtype=np.float64)
    if values.shape != samples.shape[:1]:
        raise InvalidInput(
            "statistic",
            f"shape {values.shape} from {samples.shape}",
            "it must reduce the axes it is given, and only those, as np.mean does",
        )
    return values


def _last(array: FloatArray, axis: Axes) -> FloatArray:
    """The array with these axes pooled into one last axis."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    try:
        moved = np.moveaxis(array, axes, range(-len(axes), 0))
    except ValueError:
        allowed = f"different axes of an array of shape {array.shape} are needed"
        raise InvalidInput("axis", axis, allowed) from None
    return moved.reshape(*moved.shape[: array.ndim - len(axes)], -1)


def _finite(
    field: str, value: ArrayLike, shape: str = "any shape", ranks: tuple[int, ...] = ()
) -> FloatArray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise InvalidInput(field, "a ragged list", f"an array {shape} is needed") from None
    if array.dtype.kind not in "fiub":
        raise InvalidInput(field, f"dtype {array.dtype}", "real numbers are needed")
    if array.ndim == 0 or (ranks and array.ndim not in ranks) or array.size == 0:
        raise InvalidInput(field, f"shape {array.shape}", f"{shape}, not empty, is needed")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(field, f"{array[where]} at index {where}", "finite numbers are needed")
    return array


def _checked_points(
    x: ArrayLike, y: ArrayLike, shape: str, rank: int, floor: float | None
) -> tuple[FloatArray, FloatArray]:
    positions, values = _finite("x", x, "[T]", (1,)), _finite("y", y, shape, (rank,))
    if (positions <= 0).any():
        raise InvalidInput("x", f"{positions.min():g}", "x must be positive to have a logarithm")
    if values.shape[-1] != len(positions):
        allowed = f"{shape} with one value for each of the {len(positions)} x is needed"
        raise InvalidInput("y", f"shape {values.shape}", allowed)
    if floor is not None and not 0 < floor < math.inf:
        raise InvalidInput("floor", floor, "None or a positive number is needed")
    return positions, values


def _check_sampling(resamples: int, confidence: float, seed: int) -> None:
    if not isinstance(resamples, int | np.integer) or resamples < 1:
        raise InvalidInput("resamples", resamples, "an integer of at least 1 is needed")
    if not 0 < confidence < 1:
        raise InvalidInput("confidence", confidence, "a number in (0, 1) is needed")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInput("seed", seed, "an integer of at least 0 is needed")
