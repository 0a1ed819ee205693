"""What a PNG file shows of a description: every curve, reference and band, and how it is cut."""

import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from fedjax_rl.figures import png
from fedjax_rl.figures.description import Band, Chart, Figure, HeatMap, Parallel, Series
from fedjax_rl.figures.style import COLOURS

pytestmark = pytest.mark.timeout(60)


def series(y, name="y", **more):
    x = np.arange(len(y), dtype=float)
    return Series(name, (x, 10 * x), np.array(y, float), **more)


def chart(*curves, name="", **more):
    return Chart(name, ("round", "steps"), "cost", curves, **more)


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_a_chart_has_every_curve_its_reference_and_its_band():
    y = np.array([1.0, 2.0, math.nan, 4.0, 5.0])
    one = series(y, "left", band=Band(y - 1, y + 1, "interval", "what it is"), reference=3.0)
    other = series(y, "right", band=Band(y, y, "range", "other", filled=False), colour=1)
    one = one._replace(reference_name="budget")
    hidden = series(y, "hidden", visible=False)
    (axes,) = png.drawn([Figure("Costs", (chart(one, other, hidden),))]).axes
    filled = [each for each in axes.collections if isinstance(each, PolyCollection)]
    assert len(filled) == 1, "a range is outlined"
    solid, dashed, *outline, last = axes.lines
    np.testing.assert_array_equal(solid.get_ydata(), y)
    assert dashed.get_ydata()[0] == 3.0 and dashed.get_color() == COLOURS[0]
    assert len(outline) == 2 and last.get_color() == COLOURS[1]
    assert texts(axes.get_legend()) == [
        *("left", "right", "budget", "what it is: left", "other: right", "2 of 3 curves"),
    ]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("round", "cost", "Costs")


def test_points_between_gaps_are_seen():
    y = [1, math.nan, 3, math.nan, 5, 6]
    (axes,) = png.drawn([Figure("", (chart(series(y)),))]).axes
    assert axes.lines[0].get_markevery() == [0, 2]


def test_details_are_left_out_and_abscissas_stand_side_by_side():
    views = chart(series([1, 2]), name="a"), chart(series([1, 2]), name="b", detail=True)
    drawing = png.drawn([Figure("", views, abscissas=2)])
    assert [axes.get_xlabel() for axes in drawing.axes] == ["round", "steps"]
    assert drawing.axes[1].lines[0].get_xdata().tolist() == [0.0, 10.0]


@pytest.mark.parametrize(
    ("y", "scale", "scales", "label"),
    [
        ([3, 2, 1], "linear", ("linear", "linear"), "cost"),
        ([3, 2, 0], "log", ("linear", "log"), "cost"),
        ([3, 2, 1], "log-log", ("log", "log"), "cost"),
        ([0, -1], "log", ("linear", "linear"), "cost: nowhere positive"),
        ([3], "log-log", ("linear", "linear"), "cost: nowhere positive"),
    ],
)
def test_logarithms_only_where_something_can_be_seen(y, scale, scales, label):
    """The last run diverged in its first round: its only row is round 0."""
    drawing = png.drawn([Figure("", (chart(series(y), scale=scale),))])
    drawing.canvas.draw()
    (axes,) = drawing.axes
    assert (axes.get_xscale(), axes.get_yscale()) == scales and axes.get_ylabel() == label


def test_a_legend_that_all_share_stands_once_below():
    views = tuple(chart(series([1, 2], "a"), series([2, 1], "b"), name=n) for n in "xyz")
    drawing = png.drawn([Figure("", views, "Read it so.")], "hill")
    (legend,) = drawing.legends
    assert texts(legend) == ["a", "b"] and not any(a.get_legend() for a in drawing.axes)
    assert [axes.get_title() for axes in drawing.axes] == ["x", "y", "z"]
    assert (drawing.get_suptitle(), legend.get_title().get_text()) == ("hill", "Read it so.")


def test_maps_and_parallel_axes_have_their_numbers():
    values = np.array([[1.0, math.nan], [2.0, 3.0]])
    found = HeatMap("gap", "step_size", "seeds", ("0.1", "1"), ("2", "4"), values, False)
    axes, bar = png.drawn([Figure("", (found,))]).axes
    assert {text.get_text() for text in axes.texts} == {"1", "2", "3"}
    assert bar.get_ylabel() == "mean gap; the smallest is best"
    ticks = (((0.0, "small"), (1.0, "large")), ((0.0, "1"), (1.0, "2")))
    lines = Parallel("gap", ("size", "gap"), ticks, np.array([[0, 0.5], [1, 1.0]]), np.ones(2))
    (axes,) = png.drawn([Figure("", (lines,))]).axes
    assert {text.get_text().strip() for text in axes.texts} == {"small", "large", "1", "2"}
    assert [line.get_linewidth() for line in axes.lines][:2] == [1.0, 2.5], "the first in front"


def test_files_are_those_that_figures_name(tmp_path):
    figures = [Figure("a", (chart(series([1, 2])),), file=name) for name in ("x.png", "", "y.png")]
    assert png.write([*figures, figures[0]], tmp_path) == ["x.png", "y.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "y.png"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
