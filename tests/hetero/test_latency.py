"""Laws of delays: fitted quantiles, draws before clipping, delays after it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

from fedjax_rl.checks import positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero import latency
from fedjax_rl.hetero.latency import (
    ConstantSettings,
    Latency,
    LatencyLaw,
    QuantileSettings,
    constant,
    empirical,
    latencies,
)

FITTED = ["lognormal", "weibull", "exponential"]
SPEC = QuantileSettings(latency_low=60.0, latency_high=1920.0, latency_offset=60.0)


def made(name: str, settings: QuantileSettings = SPEC) -> Latency:
    """A registered law with these settings."""
    law: Latency = latencies.make(name).latency(settings)
    return law


def draws(law: Latency, size: int = 20_000, seed: int = 0) -> latency.Seconds:
    return latency.sample(law, np.random.default_rng(seed), size)


class PaceSettings(NamedTuple):
    """Of the law below."""

    pace: Annotated[float, positive, "Seconds of every delay."] = 7.0


def paced() -> LatencyLaw:
    """A law of the reader's own, as module:factory."""
    return LatencyLaw(lambda settings: latency.fixed(settings.pace), PaceSettings)


def no_law() -> float:
    return 3.0


def test_parameters_are_the_published_ones() -> None:
    mean, deviation = latency.log_normal_parameters(60.0, 1920.0)
    assert (round(mean, 3), round(deviation, 3)) == (5.827, 0.617)
    shape, scale = latency.weibull_parameters(60.0, 1920.0)
    assert (round(shape, 3), round(scale, 1)) == (2.245, 864.9)
    assert latency.exponential_mean(1920.0) == pytest.approx(1920.0 / 5.991464547)


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("lognormal", stats.lognorm(s=0.617293, scale=np.exp(5.8272175))),
        ("weibull", stats.weibull_min(c=2.24497, scale=864.9)),
        ("exponential", stats.expon(scale=320.456)),
    ],
)
def test_draws_before_clipping_follow_the_law(name: str, truth: Any) -> None:
    law = made(name)
    assert stats.kstest(draws(law), truth.cdf).pvalue > 0.01
    assert stats.kstest(draws(law) * 1.05, truth.cdf).pvalue < 1e-6


@pytest.mark.parametrize("name", FITTED)
def test_bounds_are_quantiles_of_the_law(name: str) -> None:
    law = made(name, QuantileSettings(5.0, 70.0))
    assert law.quantile(np.array(0.9975)) == pytest.approx(70.0)
    if name != "exponential":
        assert law.quantile(np.array(0.0025)) == pytest.approx(5.0)
    assert np.mean(draws(law, 200_000) > 70.0) == pytest.approx(0.0025, abs=0.0005)


@pytest.mark.parametrize("name", FITTED)
def test_delays_are_shifted_then_clipped(name: str) -> None:
    law = made(name)
    times = np.array([0.0, 119.0, 130.0, 1000.0, 1980.0, 5000.0])
    expected = [60.0, 60.0, 70.0, 940.0, 1920.0, 1920.0]
    np.testing.assert_array_equal(latency.delay(law, times), expected)


def test_a_constant_is_neither_shifted_nor_clipped() -> None:
    law = constant(ConstantSettings(3.5))
    assert latency.delay(law, draws(law, 4)).tolist() == [3.5] * 4


def test_a_trace_draws_among_its_times() -> None:
    times = (30.0, 10.0, 10.0, 2000.0)
    law = empirical(times)
    probabilities = np.array([0.0, 0.25, 0.5, 0.51, 0.75, 0.76, 0.999])
    expected = [10.0, 10.0, 10.0, 30.0, 30.0, 2000.0, 2000.0]
    assert law.quantile(probabilities).tolist() == expected
    seconds = latency.delay(law, draws(law))
    frequencies = [np.mean(seconds == time) for time in (10.0, 30.0, 2000.0)]
    np.testing.assert_allclose(frequencies, [0.5, 0.25, 0.25], atol=0.015)


@pytest.mark.parametrize("name", FITTED)
def test_a_stream_is_its_delays_in_order(name: str) -> None:
    law = made(name)
    first = list(itertools.islice(latency.stream("x", law, np.random.default_rng(3)), 1200))
    np.testing.assert_array_equal(first, latency.delay(law, draws(law, 1200, seed=3)))


def test_a_law_of_your_own_has_a_name_or_a_reference() -> None:
    law = latencies.make(f"{__name__}:paced")
    assert draws(law.latency(law.settings(pace=3.0)), 2).tolist() == [3.0, 3.0]
    with pytest.raises(InvalidInput, match="latency: got 'lognormal'; that name is taken"):
        latency.register_latency("lognormal", paced)
    with pytest.raises(InvalidInput, match="did you mean 'weibull'"):
        latencies.make("weibul")
    with pytest.raises(InvalidInput, match="a factory of LatencyLaw, not of float"):
        latencies.make(f"{__name__}:no_law")


def test_every_registered_law_says_what_it_is() -> None:
    assert set(latencies) == {"lognormal", "weibull", "exponential", "constant"}
    assert all(latencies.describe(name) for name in latencies)


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (QuantileSettings(latency_low=0.0), "latency_low: got 0.0; a positive number"),
        (QuantileSettings(latency_high=float("inf")), "latency_high: got inf; a positive number"),
        (QuantileSettings(latency_offset=-1.0), "latency_offset: got -1.0; a number of at least 0"),
        (
            QuantileSettings(latency_offset=float("nan")),
            "latency_offset: got nan; a number of at least 0",
        ),
        (QuantileSettings(9.0, 9.0), "latency_low: got 9.0; a time below latency_high = 9.0"),
        (QuantileSettings(9.0, 8.0), "latency_low: got 9.0; a time below latency_high = 8.0"),
    ],
)
def test_bounds_that_make_no_law(name: str, settings: QuantileSettings, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        made(name, settings)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "times: got shape (0,); at least one time, in one list"),
        ([[1.0]], "times: got shape (1, 1); at least one time, in one list"),
        ([1.0, -2.0], "times: got -2.0 at 1; finite times of at least 0 seconds"),
        ([float("nan")], "times: got nan at 0; finite times of at least 0 seconds"),
        ([3.0, float("inf")], "times: got inf at 1; finite times of at least 0 seconds"),
        (["soon"], "times: got ['soon']; a list of times in seconds"),
    ],
)
def test_times_that_make_no_trace(times: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        empirical(times)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (-1.0, "seconds: got -1.0; a number of at least 0"),
        (True, "seconds: got True; a number of at least 0"),
    ],
)
def test_times_that_make_no_constant(seconds: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        constant(ConstantSettings(seconds))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("quantile", "above_zero", "message"),
    [
        (lambda u: u * np.nan, False, "x: got a draw of nan; a law of finite times of at least 0"),
        (lambda u: -1.0 - 0.0 * u, False, "x: got a draw of -1.0; a law of finite times"),
        (lambda u: 0.0 * u, True, "x: got a draw of 0.0; a law of finite times above 0 seconds"),
        (lambda u: 1.0, False, "x: got draws of shape (); a law of finite times"),
    ],
)
def test_draws_that_are_no_times(
    quantile: Callable[[Any], Any], above_zero: bool, message: str
) -> None:
    law = Latency(quantile, low=-float("inf"))
    with pytest.raises(InvalidInput) as raised:
        next(latency.stream("x", law, np.random.default_rng(0), above_zero))
    assert str(raised.value).startswith(message)
