"""Statistics by hand, against rliable, and against truths that simulated data are drawn from."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from fedjax_rl import statistics
from fedjax_rl.errors import InvalidInput
from fedjax_rl.statistics import (
    Interval,
    interquartile_mean,
    log_log_slope,
    median_interval,
    slope_interval,
    stratified_bootstrap,
)

with pytest.MonkeyPatch.context() as patch:
    # rliable 1.2 needs arch < 8, whose import calls this with the arguments of pandas 2.
    patch.setattr("pandas.util._decorators.deprecate_kwarg", lambda *_: lambda function: function)
    from rliable import library, metrics

pytestmark = pytest.mark.timeout(60)

STATISTICS = {
    "iqm": (interquartile_mean, metrics.aggregate_iqm),
    "mean": (np.mean, metrics.aggregate_mean),
}
SCORES = np.random.default_rng(0).normal(size=(10, 3))
TIMES = np.array([1e3, 3e3, 1e4, 3e4])
NAN = math.nan


@pytest.fixture
def global_seed() -> Iterator[None]:
    """rliable draws from NumPy's global generator, whatever ``random_state`` it is given."""
    state = np.random.get_state()
    np.random.seed(0)
    yield
    np.random.set_state(state)


def width(interval):
    return interval.high - interval.low


# --- interquartile mean


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([100, 3, -50, 2, 4, 5, 1, 0], 2.5),  # two at each end go; 1, 2, 3, 4 stay
        ([9, 1, 2, 3, 100], 14 / 3),  # ⌊5 / 4⌋ = 1 at each end
        ([[0, 10], [1, 90], [2, 30], [3, 20]], 35 / 4),  # 2, 3, 10 and 20 stay
        ([1, 2, 90], 31),  # fewer than four: nothing goes
        ([7], 7),
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert interquartile_mean(scores) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("shape", [(3, 1), (4, 1), (5, 7), (10, 26), (23, 3), (101, 2)])
def test_interquartile_mean_is_rliables(shape):
    scores = np.random.default_rng(shape).standard_cauchy(shape)
    assert abs(interquartile_mean(scores) - metrics.aggregate_iqm(scores)) <= 1e-12


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (2, 0), (-2, -1)])
def test_axes_are_pooled_and_the_others_kept(axis):
    scores = np.random.default_rng(1).normal(size=(6, 5, 9))
    pooled = (axis,) if isinstance(axis, int) else axis
    pooled = {index % 3 for index in pooled}
    found = interquartile_mean(scores, axis)
    rest = [index for index in range(3) if index not in pooled]
    assert found.shape == tuple(scores.shape[index] for index in rest)
    for index_found in np.ndindex(found.shape):
        position = [slice(None)] * 3
        for index, value in zip(rest, index_found, strict=True):
            position[index] = value
        expected = metrics.aggregate_iqm(scores[tuple(position)])
        assert found[index_found] == pytest.approx(expected, abs=1e-14)


def test_all_axes_by_name_are_all_axes():
    assert interquartile_mean(SCORES, (0, 1)) == interquartile_mean(SCORES)


# --- bootstrap


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("shape", [(10, 5), (30, 2)])
def test_intervals_are_rliables(name, shape, global_seed):
    """A bound is a quantile of B bootstrap values of spread s, near normal.

    Its standard error is √(p (1 − p) / B) / f(q_p), with p = 0.025 and f(q_p) = 0.0584 / s: for
    B = 5,000 that is 0.038 s, or 0.053 s for the difference of two. The tolerance is 4.5 of
    these, 0.24 s, and a 90 % interval in place of the 95 % one would be 0.31 s off.
    """
    ours, theirs = STATISTICS[name]
    resamples = 5000
    tasks = np.linspace(0, 2, shape[1])
    scores = tasks + np.random.default_rng(shape).normal(size=shape)
    point, bounds = library.get_interval_estimates(
        {"x": scores}, lambda x: np.array([theirs(x)]), reps=resamples
    )
    found = stratified_bootstrap(scores, ours, resamples=resamples, seed=1)
    assert found.estimate == pytest.approx(point["x"][0], abs=1e-12)
    tolerance = 0.24 * width(found) / (2 * 1.96)
    assert abs(found.low - bounds["x"][0, 0]) < tolerance
    assert abs(found.high - bounds["x"][1, 0]) < tolerance


@pytest.mark.parametrize("statistic", [interquartile_mean, np.mean])
def test_the_interval_covers_the_truth_as_often_as_it_says(statistic):
    """Tasks lie at −2, 0 and 2: by symmetry the truth is 0, and pooled resampling covers always.

    Over 200 data sets a true 94 % is seen with a standard error of 1.7 %.
    """
    rng = np.random.default_rng(0)
    intervals = [
        stratified_bootstrap(
            rng.normal([-2, 0, 2], size=(30, 3)), statistic, resamples=1000, seed=seed
        )
        for seed in range(200)
    ]
    covered = np.mean([low <= 0 <= high for _, low, high in intervals])
    assert 0.90 <= covered <= 0.99


def test_tasks_are_never_mixed():
    """Within each task all runs agree: nothing is uncertain. Pooled, runs would differ by 100."""
    scores = np.tile([0.0, 100.0, 40.0], (10, 1))
    assert stratified_bootstrap(scores, np.mean, seed=0) == Interval(*[140 / 3] * 3)
    pooled = stratified_bootstrap(scores.ravel(), np.mean, seed=0)
    assert width(pooled) > 20


def test_tasks_are_resampled_independently():
    """Runs whose two scores cancel have a certain mean only if rows are resampled as a whole."""
    one = np.random.default_rng(3).normal(size=400)
    both = stratified_bootstrap(np.stack([one, -one], axis=1), np.mean, seed=0)
    alone = stratified_bootstrap(one, np.mean, seed=0)
    # The mean of two independent means has 1 / √2 of the spread of one. Widths of 2,000
    # resamples have a standard error of 2 %.
    assert width(both) / width(alone) == pytest.approx(1 / math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_bounds_are_the_quantiles_of_the_mean(confidence):
    """The bootstrap distribution of a mean of 400 is normal, of standard deviation s / √400."""
    normal_quantile = {0.5: 0.6745, 0.8: 1.2816, 0.99: 2.5758}[confidence]
    scores = np.random.default_rng(4).normal(size=400)
    found = stratified_bootstrap(scores, np.mean, resamples=20_000, confidence=confidence, seed=0)
    expected = normal_quantile * scores.std() / 20
    assert found.high - scores.mean() == pytest.approx(expected, rel=0.06)
    assert scores.mean() - found.low == pytest.approx(expected, rel=0.06)


def test_the_seed_decides_everything():
    def found(seed):
        return stratified_bootstrap(SCORES, interquartile_mean, resamples=200, seed=seed)

    np.random.seed(0)
    assert found(1) == found(1)
    assert found(1)[1:] != found(2)[1:]
    assert found(1).estimate == found(2).estimate


def test_batches_are_only_for_memory(monkeypatch):
    whole = stratified_bootstrap(SCORES, np.mean, resamples=100, seed=0)
    monkeypatch.setattr(statistics, "NUMBERS_PER_BATCH", 7 * SCORES.size)
    assert stratified_bootstrap(SCORES, np.mean, resamples=100, seed=0) == whole
    monkeypatch.setattr(statistics, "NUMBERS_PER_BATCH", 1)
    assert stratified_bootstrap(SCORES, np.mean, resamples=100, seed=0) == whole


def test_one_task_may_go_without_its_axis():
    column = stratified_bootstrap(SCORES[:, :1], np.median, resamples=50, seed=0)
    assert stratified_bootstrap(SCORES[:, 0], np.median, resamples=50, seed=0) == column


@pytest.mark.parametrize("scores", [[3.0], [[1.0, 5.0]]])
def test_a_single_run_has_an_estimate_and_no_interval(scores):
    estimate, low, high = stratified_bootstrap(scores, np.mean, seed=0)
    assert estimate == 3.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_median_interval_is_a_bootstrap_of_the_median():
    values = [1.0, 2.0, 4.0, 8.0, 1000.0]
    options = {"resamples": 500, "confidence": 0.8, "seed": 3}
    found = median_interval(values, **options)
    assert found == stratified_bootstrap(values, np.median, **options)
    assert found.estimate == 4.0
    assert {found.low, found.high} <= set(values)
    assert 1.0 <= found.low < 4.0 < found.high < 1000.0


# --- slopes


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0, 2.0])
@pytest.mark.parametrize("floor", [None, 1e-300])
def test_exact_power_laws(power, floor):
    fit = log_log_slope(TIMES, 7 * TIMES**power, floor=floor)
    assert fit.slope == pytest.approx(power, abs=1e-12)
    assert fit.intercept == pytest.approx(math.log(7), abs=1e-11)
    assert fit[2:] == (4, 0, 0)


def test_two_points_make_a_line():
    fit = log_log_slope([1.0, 2.0, 3.0], [5.0, 20.0, 0.0])
    assert fit[:2] == pytest.approx((2.0, math.log(5)), rel=1e-14)
    assert fit.used == 2


def test_a_slope_is_least_squares():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(1, 100, 30), rng.lognormal(size=30)
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    assert log_log_slope(x, y)[:2] == pytest.approx((slope, intercept), rel=1e-10)


def test_values_that_are_not_positive_are_excluded_and_counted():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    y = np.array([1.0, 0.5, -3.0, 0.125, 0.0])
    fit = log_log_slope(x, y)
    assert fit.slope == pytest.approx(-1.0, abs=1e-14)
    assert (fit.used, fit.excluded, fit.floored) == (3, 2, 0)


def test_a_floor_raises_what_is_below_it_and_counts_it():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    fit = log_log_slope(x, [1.0, 0.25, 0.001, -1.0], floor=0.25)
    raised = log_log_slope(x, [1.0, 0.25, 0.25, 0.25])
    assert fit[:2] == raised[:2]
    assert (fit.used, fit.excluded, fit.floored) == (4, 0, 2)


@pytest.mark.parametrize(
    ("x", "y", "used"),
    [
        ([1, 2, 3], [0, -1, -2], 0),
        ([1, 2, 3], [0, 5, -2], 1),
        ([4], [2], 1),
        ([10] * 6 + [5], [1, 2, 3, 4, 5, 6, -1], 6),  # above one another; their mean is rounded
    ],
)
def test_a_slope_without_two_different_x_is_undefined(x, y, used):
    fit = log_log_slope(x, y)
    assert math.isnan(fit.slope)
    assert math.isnan(fit.intercept)
    assert (fit.used, fit.excluded) == (used, len(x) - used)


def test_the_slope_interval_is_of_the_runs_with_a_slope():
    powers = np.array([-0.6, -0.5, -0.45, -0.4, -0.1])
    y = TIMES ** powers[:, None]
    y = np.concatenate([y, -y[:2], [[1.0, 0.0, 0.0, -1.0]]])
    y[0, 1] = 0.0
    found = slope_interval(TIMES, y, resamples=300, confidence=0.8, seed=1)
    expected = median_interval(powers, resamples=300, confidence=0.8, seed=1)
    assert found[:3] == pytest.approx(expected, abs=1e-12)
    assert found.estimate == pytest.approx(-0.45, abs=1e-12)
    assert width(found) > 0.04
    assert (found.undefined, found.excluded, found.floored) == (3, 1 + 8 + 3, 0)


def test_with_a_floor_every_run_has_a_slope():
    y = np.array([[1.0, 1.0, 0.0, 0.0], TIMES**-0.5, [-1.0, -1.0, -1.0, -1.0]])
    found = slope_interval(TIMES, y, floor=1e-3, seed=0)
    assert (found.undefined, found.excluded, found.floored) == (0, 0, 6)
    assert found.estimate == pytest.approx(-0.5, abs=1e-12)


def test_no_slope_at_all_is_told_not_hidden():
    estimate, low, high, *counts = slope_interval(TIMES, -np.ones((3, 4)), seed=0)
    assert all(math.isnan(value) for value in (estimate, low, high))
    assert counts == [3, 12, 0]


# --- errors


def bootstrap(scores=SCORES, statistic=np.mean, **options):
    return stratified_bootstrap(scores, statistic, **{"seed": 0} | options)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: interquartile_mean([]), "scores"),
        (lambda: interquartile_mean(3.0), "scores"),
        (lambda: interquartile_mean([1.0, NAN]), "scores"),
        (lambda: interquartile_mean([[1.0], [1.0, 2.0]]), "scores"),
        (lambda: interquartile_mean(["a"]), "scores"),
        (lambda: interquartile_mean([1j]), "scores"),
        (lambda: interquartile_mean(SCORES, 2), "axis"),
        (lambda: interquartile_mean(SCORES, (0, -2)), "axis"),
        (lambda: interquartile_mean(SCORES, (0, 1, 0)), "axis"),
        (lambda: bootstrap(np.empty((0, 3))), "scores"),
        (lambda: bootstrap(np.empty((3, 0))), "scores"),
        (lambda: bootstrap(1.0), "scores"),
        (lambda: bootstrap(np.ones((2, 2, 2))), "scores"),
        (lambda: bootstrap([0.0, NAN]), "scores"),
        (lambda: bootstrap([0.0, math.inf]), "scores"),
        (lambda: bootstrap(confidence=0.0), "confidence"),
        (lambda: bootstrap(confidence=1.0), "confidence"),
        (lambda: bootstrap(confidence=95), "confidence"),
        (lambda: bootstrap(confidence=NAN), "confidence"),
        (lambda: bootstrap(resamples=0), "resamples"),
        (lambda: bootstrap(resamples=2.5), "resamples"),
        (lambda: bootstrap(seed=-1), "seed"),
        (lambda: bootstrap(seed=None), "seed"),
        (lambda: bootstrap(statistic=lambda scores, axis: scores.mean()), "statistic"),
        (lambda: bootstrap(statistic=lambda scores, axis: scores.mean(axis[0])), "statistic"),
        (lambda: median_interval([], seed=0), "scores"),
        (lambda: median_interval([1.0, 2.0], confidence=2, seed=0), "confidence"),
        (lambda: log_log_slope([], []), "x"),
        (lambda: log_log_slope([0.0, 1.0], [1.0, 1.0]), "x"),
        (lambda: log_log_slope([-1.0, 1.0], [1.0, 1.0]), "x"),
        (lambda: log_log_slope([[1.0]], [1.0]), "x"),
        (lambda: log_log_slope([1.0, NAN], [1.0, 1.0]), "x"),
        (lambda: log_log_slope([1.0, 2.0], [1.0, NAN]), "y"),
        (lambda: log_log_slope([1.0, 2.0], [[1.0, 1.0]]), "y"),
        (lambda: log_log_slope([1.0, 2.0], [1.0]), "y"),
        (lambda: log_log_slope([1.0, 2.0], [1.0, 1.0], floor=0.0), "floor"),
        (lambda: log_log_slope([1.0, 2.0], [1.0, 1.0], floor=NAN), "floor"),
        (lambda: log_log_slope([1.0, 2.0], [1.0, 1.0], floor=math.inf), "floor"),
        (lambda: slope_interval(TIMES, TIMES, seed=0), "y"),
        (lambda: slope_interval(TIMES, np.ones((4, 3)), seed=0), "y"),
        (lambda: slope_interval(TIMES, np.empty((0, 4)), seed=0), "y"),
        (lambda: slope_interval(-TIMES, np.ones((2, 4)), seed=0), "x"),
        (lambda: slope_interval(TIMES, -np.ones((2, 4)), confidence=1.5, seed=0), "confidence"),
        (lambda: slope_interval(TIMES, np.ones((2, 4)), floor=-1.0, seed=0), "floor"),
    ],
)
def test_what_cannot_be_used_is_named(call, field):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
