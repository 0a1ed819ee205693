"""How well means over episodes are known: intervals, and upper bounds of costs."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

NORMAL_QUANTILE = 1.959964
"""Of a 95 % interval; an evaluation has at least 100 episodes."""
CONFIDENCE = 0.95
"""With which a recommended policy keeps every budget."""
ATTEMPTS = 3
"""Candidates of a seed that are tried at most."""


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of the mean of [K, P, episodes], by the normal law, policies being what they are."""
    policies, episodes = values.shape[0] * values.shape[1], values.shape[2]
    variance = values.var(2, ddof=1, dtype=np.float64).sum() / (policies**2 * episodes)
    half, mean = NORMAL_QUANTILE * float(np.sqrt(variance)), float(values.mean(dtype=np.float64))
    return mean - half, mean + half


def level(constraints: int) -> float:
    """The probability of error that one bound may have, by Bonferroni's correction.

    α / (M · A) for M constraints and A attempts: whichever attempt is the one that is confirmed,
    all its bounds hold with probability 1 − α at least.
    """
    return (1 - CONFIDENCE) / (max(constraints, 1) * ATTEMPTS)


def upper_bound(costs: np.ndarray, error: float) -> float:
    """A one-sided upper confidence bound of the mean cost of independent episodes.

    The larger of two, with q the 1 − α quantile of Student's t with n − 1 degrees of freedom, m the
    mean, s the deviation and g the skewness of the costs:

    - Student's, m + q s / √n, which policies are judged by in Thomas, Theocharous and
      Ghavamzadeh, High Confidence Policy Improvement (ICML 2015);
    - Hall's, m + (3 s / g) [1 − (1 − g (q / √n + g / (6 n)))^(1/3)], which takes the skewness out
      to second order (Hall, On the removal of skewness by transformation, 1992). Costs that are
      rare and large have means for which Student's bound is too low.

    Both assume that the mean of n episodes is about normal but for its skewness. So neither knows
    of a cost that is so rare that none of the n episodes had it; of costs that are all alike, the
    bound is their value.

    Args:
        costs: [n], of independent episodes, n at least 2.
        error: α of this bound, in (0, 1/2).

    Returns:
        In the unit of the costs; NaN if one of them is not a number.
    """
    values = np.asarray(costs, np.float64)
    count, mean, deviation = len(values), float(values.mean()), float(values.std(ddof=1))
    if not deviation > 0:
        return mean + 0.0 * deviation
    quantile = float(stdtrit(count - 1, 1 - error))
    step = quantile / math.sqrt(count)
    skewness = float((((values - mean) / deviation) ** 3).mean())
    bound = mean + deviation * step
    if abs(skewness) < 1e-9:  # where Hall's is Student's, but for a division by zero
        return bound
    root = math.cbrt(1 - skewness * (step + skewness / (6 * count)))
    return max(bound, mean + 3 * deviation / skewness * (1 - root))


def margin(evaluated: int, confirmed: int, constraints: int) -> float:
    """By how many standard errors below its budget a cost is likely to be confirmed.

    With r = √(n / n′) the confirmation's standard error is r times the evaluation's, and its mean
    deviates from the evaluation's by √(1 + r²). q r of Student's bound and one such deviation leave
    each cost about five chances in six.

    Args:
        evaluated: n, episodes of an evaluation.
        confirmed: n′, episodes of a confirmation.
        constraints: M.
    """
    ratio = math.sqrt(evaluated / confirmed)
    quantile = float(stdtrit(confirmed - 1, 1 - level(constraints)))
    return quantile * ratio + math.sqrt(1 + ratio**2)
