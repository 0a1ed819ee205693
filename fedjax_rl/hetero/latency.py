"""Laws of delays: how long a sampler stays with the parameters it has.

A law is fitted so that ``low`` and ``high`` are its 0.25 % and 99.75 % quantiles (arXiv
2508.17850). A draw T becomes the delay clip(T − offset, low, high); the offset is the time that
a round trip takes anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from fedjax_rl.algorithm import Registry
from fedjax_rl.checks import checked, not_negative, positive
from fedjax_rl.errors import InvalidInput

TAIL = 0.0025
"""The probability below ``low``, and above ``high``."""

DRAWS_AT_ONCE = 512

Seconds = np.ndarray[Any, np.dtype[np.float64]]


class Latency(NamedTuple):
    """A law of non-negative times, in seconds.

    Attributes:
        quantile: (probabilities in [0, 1), any shape) -> times T, before offset and clipping.
        offset: what is subtracted from T.
        low: the shortest delay, at least 0.
        high: the longest delay.
    """

    quantile: Callable[[Seconds], Seconds]
    offset: float = 0.0
    low: float = 0.0
    high: float = math.inf


class LatencyChoices(NamedTuple):
    """What a registered law is built from; each takes what it needs.

    Attributes:
        low: the 0.25 % quantile, and the shortest delay, seconds.
        high: the 99.75 % quantile, and the longest delay, seconds.
        offset: seconds that a round trip takes anyway.
        times: measured delays, seconds; the constant law takes one.
    """

    low: float = 60.0
    high: float = 1920.0
    offset: float = 60.0
    times: tuple[float, ...] = ()


def sample(law: Latency, generator: np.random.Generator, size: int) -> Seconds:
    """Independent draws T [size], before offset and clipping."""
    return law.quantile(generator.random(size))


def delay(law: Latency, times: Seconds) -> Seconds:
    """clip(T − offset, low, high), entry by entry."""
    return np.clip(times - law.offset, law.low, law.high)


def stream(
    field: str, law: Latency, generator: np.random.Generator, above_zero: bool = False
) -> Iterator[float]:
    """Delays for ever, drawn in blocks; ``field`` names the law in errors.

    Raises:
        InvalidInput: the law gives what is no time, or 0 where that is not allowed.
    """
    allowed = f"a law of finite times {'above' if above_zero else 'of at least'} 0 seconds"
    while True:
        block = np.asarray(delay(law, sample(law, generator, DRAWS_AT_ONCE)), np.float64)
        if block.shape != (DRAWS_AT_ONCE,):
            raise InvalidInput(field, f"draws of shape {block.shape}", allowed)
        wrong = block[~np.isfinite(block) | (block < 0.0) | (above_zero & (block == 0.0))]
        if wrong.size:
            raise InvalidInput(field, f"a draw of {wrong[0]}", allowed)
        yield from block.tolist()


def log_normal_parameters(low: float, high: float) -> tuple[float, float]:
    """(μ, σ) of ln T with the given quantiles: μ = (ln lo + ln hi)/2, σ = (ln hi − ln lo)/2z."""
    deviations = -float(ndtri(TAIL))
    logs = math.log(low), math.log(high)
    return sum(logs) / 2.0, (logs[1] - logs[0]) / (2.0 * deviations)


def weibull_parameters(low: float, high: float) -> tuple[float, float]:
    """(shape k, scale λ) with the given quantiles: lo = λ(−ln .9975)^1/k, hi = λ(−ln .0025)^1/k."""
    near, far = -math.log1p(-TAIL), -math.log(TAIL)
    shape = math.log(far / near) / math.log(high / low)
    return shape, high / far ** (1.0 / shape)


def exponential_mean(high: float) -> float:
    """The mean of the exponential law whose 99.75 % quantile is ``high``."""
    return -high / math.log(TAIL)


def log_normal(choices: LatencyChoices) -> Latency:
    """Log-normal, fitted to both quantiles."""
    _check_quantiles(choices)
    mean, deviation = log_normal_parameters(choices.low, choices.high)
    return _fitted(choices, lambda u: np.exp(mean + deviation * ndtri(u)))


def weibull(choices: LatencyChoices) -> Latency:
    """Weibull, fitted to both quantiles."""
    _check_quantiles(choices)
    shape, scale = weibull_parameters(choices.low, choices.high)
    return _fitted(choices, lambda u: scale * (-np.log1p(-u)) ** (1.0 / shape))


def exponential(choices: LatencyChoices) -> Latency:
    """Exponential, fitted to the upper quantile."""
    _check_quantiles(choices)
    mean = exponential_mean(choices.high)
    return _fitted(choices, lambda u: -mean * np.log1p(-u))


def constant(choices: LatencyChoices) -> Latency:
    """The one time given, as it is.

    Raises:
        InvalidInput: not exactly one time.
    """
    if np.shape(choices.times) != (1,):
        raise InvalidInput("times", f"{np.size(choices.times)} times", "exactly one, in seconds")
    return fixed(choices.times[0])


def trace(choices: LatencyChoices) -> Latency:
    """Draws among the measured times given, as they are."""
    return empirical(choices.times)


def fixed(seconds: float) -> Latency:
    """Always ``seconds``.

    Raises:
        InvalidInput: a negative time, or no number.
    """
    checked("seconds", seconds, not_negative)
    return Latency(lambda u: np.full(np.shape(u), float(seconds)))


def empirical(times: Any) -> Latency:
    """Independent draws, with replacement, among measured times [n] in seconds.

    The quantile at u is the smallest time that at least a fraction u of the times do not exceed.
    A trace is of delays themselves: nothing is subtracted, nothing clipped.

    Raises:
        InvalidInput: no times, a time that is negative or not finite, or no list of numbers.
    """
    ordered = np.sort(_check_times(times))

    def quantile(u: Seconds) -> Seconds:
        rank = np.ceil(np.asarray(u) * len(ordered)).astype(np.int64) - 1
        return ordered[np.clip(rank, 0, len(ordered) - 1)]

    return Latency(quantile)


def _fitted(choices: LatencyChoices, quantile: Callable[[Seconds], Seconds]) -> Latency:
    return Latency(quantile, float(choices.offset), float(choices.low), float(choices.high))


def _check_quantiles(choices: LatencyChoices) -> None:
    checked("low", choices.low, positive)
    checked("high", choices.high, positive)
    checked("offset", choices.offset, not_negative)
    if choices.low >= choices.high:
        raise InvalidInput("low", choices.low, f"a time below high = {choices.high}")


def _check_times(times: Any) -> Seconds:
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("times", repr(times)[:60], "a list of times in seconds") from None
    if array.ndim != 1 or array.size == 0:
        raise InvalidInput("times", f"shape {array.shape}", "at least one time, in one list")
    valid = np.isfinite(array) & (array >= 0.0)
    if not valid.all():
        place = int(np.argmin(valid))
        raise InvalidInput(
            "times", f"{array[place]} at {place}", "finite times of at least 0 seconds"
        )
    return array


latencies = Registry("latency", Latency)
register_latency = latencies.register

register_latency("lognormal", log_normal)
register_latency("weibull", weibull)
register_latency("exponential", exponential)
register_latency("constant", constant)
register_latency("trace", trace)
