"""Averages with bands, long tables as matrices, and thinning that hides no spike."""

import math

import numpy as np
import pytest

from fedjax_rl.figures import averages
from fedjax_rl.figures.averages import averaged
from fedjax_rl.figures.curves import Axes, curve, gathered, overlaid, thin
from fedjax_rl.figures.description import Band, Chart, Figure, Series, meanings
from fedjax_rl.report.document import Page, Section
from fedjax_rl.report.thinning import POINTS, POINTS_OF_PAGE, all_figures, thinned
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap

pytestmark = pytest.mark.timeout(30)


def series(y, name="y", **more):
    return Series(name, (np.arange(len(y), dtype=float),), np.array(y, float), **more)


def test_bands_are_intervals_of_interquartile_means_over_seeds():
    """The same that tables print, and no narrower or wider than it by more than resampling."""
    values = np.array([[0.0, 1.0, 2.0, 3.0, 100.0], [7.0, math.nan, 7.0, 7.0, math.nan]])
    found = averaged(series([0.0, 0.0]), values)
    assert found.y.tolist() == [2.0, 7.0], "of 0, 1, 2, 3, 100 the middle is 1, 2, 3"
    interval = stratified_bootstrap(values[0], interquartile_mean, seed=1)
    assert found.band.low[0] == pytest.approx(interval.low, abs=0.4)
    assert found.band.high[0] == pytest.approx(interval.high, rel=0.4) and found.band.filled
    assert (found.band.low[1], found.band.high[1]) == (7.0, 7.0), "three seeds are alike"
    assert found.band.meaning == "95 % interval of the interquartile mean over 5 seeds"


def test_configurations_are_strata_and_agents_alone_have_a_range():
    """Seeds differ within strata by 2, strata by 100: only the former is uncertainty."""
    values = np.array([[[0.0, 100.0], [2.0, 102.0], [0.0, 100.0], [2.0, 102.0]]])
    found = averaged(series([0.0]), values, "configuration")
    assert found.band.meaning.endswith("over 4 seeds × 2 configurations")
    assert 20 < found.band.low[0] <= found.y[0] == 51.0 <= found.band.high[0] < 80
    alone = averaged(series([0.0]), values[:, :1])
    assert (alone.band.low[0], alone.y[0], alone.band.high[0]) == (0.0, 50.0, 100.0)
    assert alone.band.meaning.startswith("range over 2 agents") and not alone.band.filled


def test_bands_are_as_smooth_as_their_curves():
    """Every point is resampled in the same way, whatever its batch."""
    values = np.tile(np.random.default_rng(0).normal(size=30), (1000, 1))
    band = averaged(series(np.zeros(1000)), values).band
    assert np.ptp(band.low) == 0 and np.ptp(band.high) == 0 and band.low[0] < band.high[0]


def test_bands_of_very_many_seeds_are_straight_between_points(monkeypatch):
    """Both ends are resampled, and what lies between them is a line here."""
    values = np.linspace(0, 9, 10)[:, None] + np.random.default_rng(0).normal(size=20)
    every = averaged(series(np.zeros(10)), values).band
    monkeypatch.setattr(averages, "RESAMPLED", 1)
    few = averaged(series(np.zeros(10)), values).band
    np.testing.assert_allclose(few.low, every.low)
    np.testing.assert_allclose(few.high, every.high)


def test_what_is_undefined_has_no_average_and_one_seed_no_band():
    found = averaged(series([0.0]), np.full((1, 3), math.nan))
    assert math.isnan(found.y[0]) and math.isnan(found.band.low[0])
    alone = averaged(series([0.0, 0.0]), np.array([[4.0], [5.0]]))
    assert alone.y.tolist() == [4.0, 5.0] and alone.band is None


def test_legends_name_every_meaning_once_and_whose_it_is():
    one, other = (Band(np.zeros(1), np.ones(1), "", text, text == "a") for text in "ab")
    same = [series([0.0], name=name, band=one) for name in ("x", "y")]
    assert [tuple(found) for found in meanings(same)] == [("a", True)]
    found = meanings([*same, series([0.0], name="z", band=other), series([0.0])])
    assert [tuple(each) for each in found] == [("a: x, y", True), ("b: z", False)]


def test_a_long_table_becomes_a_matrix_whatever_its_order():
    columns = {"round": np.array([2.0, 0.0, 2.0]), "seed": np.array([5.0, 5.0, 6.0])}
    rows, members, values = gathered(
        columns | {"r": np.array([1.0, 2.0, 3.0])}, "round", ("seed",), "r"
    )
    assert rows.tolist() == [0.0, 2.0] and members == [(5.0,), (6.0,)]
    np.testing.assert_array_equal(values, [[2.0, math.nan], [1.0, 3.0]])


def test_colours_and_lines_tell_curves_apart_and_only_the_first_are_drawn():
    axes = Axes(("round",), (np.arange(2.0),))
    styles = [curve(axes, "", np.zeros(2), index) for index in range(15)]
    assert len({(one.colour, one.dash) for one in styles}) == 15
    assert [one.visible for one in styles] == [True] * 7 + [False] * 8


def test_rows_without_an_abscissa_are_left_out():
    axes = Axes(("round", "steps"), (np.array([0.0, math.nan, 2.0]), np.array([0.0, 5.0, 9.0])))
    found = curve(axes, "", np.array([1.0, 2.0, 3.0]))
    assert found.y.tolist() == [1.0, 3.0] and [x.tolist() for x in found.x] == [[0, 2], [0, 9]]


def test_thinning_keeps_ends_spikes_and_gaps():
    y = np.zeros(10_000)
    y[1234], y[7777] = 50.0, -50.0
    y[4000:4500] = math.nan
    found = thin(series(y, band=Band(y - 1, y + 1, "", "")), 100)
    assert len(found.y) <= 100
    assert found.x[0][0] == 0 and found.x[0][-1] == 9999
    assert {50.0, -50.0} <= set(found.y.tolist()) and np.isnan(found.y).any()
    assert (np.diff(found.x[0]) > 0).all()
    np.testing.assert_array_equal(found.band.low, found.y - 1)
    np.testing.assert_array_equal(found.y, y[found.x[0].astype(int)])


def test_short_curves_are_as_they_were():
    short = series(range(POINTS[0]))
    assert thin(short, POINTS[0]) is short


def test_the_whole_page_has_a_budget_of_points():
    chart = Chart("", ("round",), "y", tuple(series(np.zeros(5000)) for _ in range(300)))
    part = Section("part", "", (), figures=(Figure("", (chart,)),))
    page = Page(
        "", (Section("whole", "", (), figures=(Figure("", (chart,)),), parts=(part,)),), (), (), ""
    )
    found = [one for f in all_figures(thinned(page)) for view in f.views for one in view.series]
    assert len(found) == 600
    assert sum(len(one.y) for one in found) <= POINTS_OF_PAGE


def test_only_what_two_have_is_laid_over_one_another():
    both, own = series([1.0, 2.0]), series([3.0])
    one, other = {("reward", "round"): both, ("kl", "round"): own}, {("reward", "round"): both}
    (figure,) = overlaid({"one": one, "other": other})
    (chart,) = figure.views
    assert figure.title == "Reward" and [s.name for s in chart.series] == ["one", "other"]
    assert len({s.colour for s in chart.series}) == 2
    assert overlaid({"one": one}) == ()
