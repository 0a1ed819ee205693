"""Averages with bands, long tables as matrices, and thinning that hides no spike."""

import math

import numpy as np
import pytest

from fedjax_rl.report.curves import (
    POINTS,
    POINTS_OF_PAGE,
    Axes,
    all_figures,
    banded,
    curve,
    gathered,
    overlaid,
    thin,
    thinned,
)
from fedjax_rl.report.document import Chart, Figure, Page, Section, Series

pytestmark = pytest.mark.timeout(30)


def series(y, name="y", **more):
    return Series(name, (np.arange(len(y), dtype=float),), np.array(y, float), **more)


def test_bands_are_interquartile_means_and_quartiles():
    """Of 0, 1, 2, 3, 100 the middle is 1, 2, 3; quartiles are the second and fourth."""
    values = np.array([[0.0, 1.0, 2.0, 3.0, 100.0], [7.0, math.nan, 7.0, 7.0, math.nan]])
    found = banded(series([0.0, 0.0]), values)
    assert found.y.tolist() == [2.0, 7.0]
    assert found.low.tolist() == [1.0, 7.0] and found.high.tolist() == [3.0, 7.0]


def test_what_is_undefined_has_no_average_and_one_seed_no_band():
    found = banded(series([0.0]), np.full((1, 3), math.nan))
    assert math.isnan(found.y[0]) and math.isnan(found.low[0])
    alone = banded(series([0.0, 0.0]), np.array([[4.0], [5.0]]))
    assert alone.y.tolist() == [4.0, 5.0] and alone.low is None


def test_a_long_table_becomes_a_matrix_whatever_its_order():
    columns = {"round": np.array([2.0, 0.0, 2.0]), "seed": np.array([5.0, 5.0, 6.0])}
    rows, members, values = gathered(
        columns | {"r": np.array([1.0, 2.0, 3.0])}, "round", ("seed",), "r"
    )
    assert rows.tolist() == [0.0, 2.0] and members == [(5.0,), (6.0,)]
    np.testing.assert_array_equal(values, [[2.0, math.nan], [1.0, 3.0]])


def test_colours_and_lines_tell_curves_apart_and_only_the_first_are_drawn():
    axes = Axes(("round",), (np.arange(2.0),))
    styles = [curve(axes, "", np.zeros(2), place) for place in range(15)]
    assert len({(one.colour, one.dash) for one in styles}) == 15
    assert [one.shown for one in styles] == [True] * 7 + [False] * 8


def test_rows_without_an_abscissa_are_left_out():
    axes = Axes(("round", "steps"), (np.array([0.0, math.nan, 2.0]), np.array([0.0, 5.0, 9.0])))
    found = curve(axes, "", np.array([1.0, 2.0, 3.0]))
    assert found.y.tolist() == [1.0, 3.0] and [x.tolist() for x in found.x] == [[0, 2], [0, 9]]


def test_thinning_keeps_ends_spikes_and_gaps():
    y = np.zeros(10_000)
    y[1234], y[7777] = 50.0, -50.0
    y[4000:4500] = math.nan
    found = thin(series(y, low=y - 1, high=y + 1), 100)
    assert len(found.y) <= 100
    assert found.x[0][0] == 0 and found.x[0][-1] == 9999
    assert {50.0, -50.0} <= set(found.y.tolist()) and np.isnan(found.y).any()
    assert (np.diff(found.x[0]) > 0).all()
    np.testing.assert_array_equal(found.low, found.y - 1)
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
    one = Section("one", "", (), curves={("reward", "round"): both, ("kl", "round"): own})
    other = Section("other", "", (), curves={("reward", "round"): both})
    (figure,) = overlaid((one, other))
    (chart,) = figure.views
    assert figure.title == "Reward" and [s.name for s in chart.series] == ["one", "other"]
    assert len({s.colour for s in chart.series}) == 2
    assert overlaid((one,)) == ()
