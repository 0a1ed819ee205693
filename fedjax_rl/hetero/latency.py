"""Laws of delays: how long a sampler stays with the parameters it has.

That is the time between two syncs (`clock`), not the one that a batch travels.

A law is fitted so that ``latency_low`` and ``latency_high`` are its 0.25 % and 99.75 % quantiles
(arXiv 2508.17850). A draw T becomes the delay clip(T − offset, low, high); the offset is the time
that a round trip takes anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from fedjax_rl.algorithm import Registry
from fedjax_rl.checks import checked, not_negative, positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.plugins import NoSettings

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


class LatencyLaw(NamedTuple):
    """A law and the constants that it reads.

    Attributes:
        latency: (settings) -> `Latency`; ``settings`` has the fields below, as Python floats.
            What it refuses it calls by their names.
        settings: a NamedTuple of real numbers with defaults, as of a `hetero.losses.Loss`: flags,
            settings in YAML and in Python and axes of sweeps where the law is named.
    """

    latency: Callable[[Any], Latency]
    settings: Any = NoSettings


Low = Annotated[
    float,
    positive,
    "Shortest delay in seconds, the law's 0.25 % quantile; the delay of --latency constant.",
]
"""Of two laws, which may stand in one sweep."""


class QuantileSettings(NamedTuple):
    """Settings of laws that are fitted to quantiles.

    Attributes:
        latency_low: the 0.25 % quantile, and the shortest delay, seconds.
        latency_high: the 99.75 % quantile, and the longest delay, seconds.
        latency_offset: seconds that a round trip takes anyway.
    """

    latency_low: Low = 60.0
    latency_high: Annotated[
        float, positive, "Longest delay in seconds, the law's 99.75 % quantile."
    ] = 1920.0
    latency_offset: Annotated[
        float,
        not_negative,
        "Seconds of every delay that a round trip takes anyway, which are subtracted.",
    ] = 60.0


class ConstantSettings(NamedTuple):
    """Settings of the constant law.

    Attributes:
        latency_low: every delay, seconds.
    """

    latency_low: Low = QuantileSettings().latency_low


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


def log_normal(settings: QuantileSettings) -> Latency:
    """Log-normal, fitted to both quantiles.

    Raises:
        InvalidInput: quantiles that are none, or not in their order.
    """
    _check_quantiles(settings)
    mean, deviation = log_normal_parameters(settings.latency_low, settings.latency_high)
    return _fitted(settings, lambda u: np.exp(mean + deviation * ndtri(u)))


def weibull(settings: QuantileSettings) -> Latency:
    """Weibull, fitted to both quantiles; raises as `log_normal`."""
    _check_quantiles(settings)
    shape, scale = weibull_parameters(settings.latency_low, settings.latency_high)
    return _fitted(settings, lambda u: scale * (-np.log1p(-u)) ** (1.0 / shape))


def exponential(settings: QuantileSettings) -> Latency:
    """Exponential, fitted to the upper quantile; raises as `log_normal`."""
    _check_quantiles(settings)
    mean = exponential_mean(settings.latency_high)
    return _fitted(settings, lambda u: -mean * np.log1p(-u))


def constant(settings: ConstantSettings) -> Latency:
    """One time, as it is."""
    return fixed(settings.latency_low)


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


def _fitted(settings: QuantileSettings, quantile: Callable[[Seconds], Seconds]) -> Latency:
    low, high = float(settings.latency_low), float(settings.latency_high)
    return Latency(quantile, float(settings.latency_offset), low, high)


def _check_quantiles(settings: QuantileSettings) -> None:
    low, high, offset = settings
    checked("latency_low", low, positive)
    checked("latency_high", high, positive)
    checked("latency_offset", offset, not_negative)
    if low >= high:
        raise InvalidInput("latency_low", low, f"a time below latency_high = {high}")


def _check_times(times: Any) -> Seconds:
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("times", repr(times)[:60], "a list of times in seconds") from None
    if array.ndim != 1 or array.size == 0:
        raise InvalidInput("times", f"shape {array.shape}", "at least one time, in one list")
    valid = np.isfinite(array) & (array >= 0.0)
    if not valid.all():
        index = int(np.argmin(valid))
        raise InvalidInput(
            "times", f"{array[index]} at {index}", "finite times of at least 0 seconds"
        )
    return array


latencies = Registry("latency", LatencyLaw)
register_latency = latencies.register


def _register(name: str, latency: Callable[[Any], Latency], settings: Any) -> None:
    def factory() -> LatencyLaw:
        return LatencyLaw(latency, settings)

    factory.__doc__ = latency.__doc__
    register_latency(name, factory)


_register("lognormal", log_normal, QuantileSettings)
_register("weibull", weibull, QuantileSettings)
_register("exponential", exponential, QuantileSettings)
_register("constant", constant, ConstantSettings)
