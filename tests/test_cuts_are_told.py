"""Where tables and figures leave something out, they say how much."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedjax_rl.families.tabular import messages
from fedjax_rl.figures import png
from fedjax_rl.figures.curves import MEMBERS_DRAWN, STYLES, Axes, multipliers, too_many
from fedjax_rl.sweeps import figures
from fedjax_rl.sweeps.best import Candidate, Objective
from fedjax_rl.sweeps.execution import Done

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(("capped", "message"), [(12, ""), (15, " and 3 more")])
def test_multipliers_at_their_cap(capped, message):
    summary = {"multipliers_at_cap": [f"0/c{index}" for index in range(capped)]}
    run = SimpleNamespace(summary=summary, config=SimpleNamespace(multiplier_cap=10.0))
    assert messages._at_cap(run).split("): raise it")[0].endswith(f"0/c11{message}")


def test_many_constraints_of_agents_alone_do_not_hide_the_worst_violation():
    cmdp = SimpleNamespace(num_constraints=messages.CONSTRAINTS_LISTED + 1)
    summary = {"worst_occupancy_gap": 1.25, "worst_occupancy_violation": 7.5}
    matrix = messages._matrix(summary, cmdp)
    assert "1.25" in matrix and "7.5" in matrix and "summary.json" in matrix


@pytest.mark.parametrize("agents", [7, 9])
def test_multipliers_of_many_agents(agents):
    rows = {f"multiplier/{agent}/{name}": np.zeros(2) for agent in range(agents) for name in "abcd"}
    axes = Axes(("round",), (np.arange(2.0),))
    (figure,) = multipliers(axes, rows, {})
    drawing = png.drawn([figure])
    legend = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert ("28 of 36 curves" in legend) == (agents == 9)
    assert len(drawing.axes[0].lines) == 4 * 7


METRICS = tuple(f"metric-{index}" for index in range(8))


def swept(count):
    """So many configurations of four settings, one seed each, and what their members did."""
    found, done = [], {}
    for at in range(count):
        row = {"member": at, "status": "finished", **dict.fromkeys(METRICS, float(at))}
        combination = {"a": at, "b": at % 2, "c": at % 3, "d": 0}
        found.append(Candidate(at, combination, (row,)))
        done[at] = Done(at, row, {"round": np.arange(3.0), **dict.fromkeys(METRICS, np.ones(3))})
    return found, done


@pytest.mark.parametrize("count", [2, 9, 40])
def test_curves_of_a_sweep(count):
    arguments = *swept(count), Objective(METRICS[0]), METRICS[0]
    (best,) = figures.curves_of_best(*arguments, "curves.png")
    assert ("the best 6 of" in best.note) == (count > 6)
    assert len(best.views[0].series) == min(count, 6)
    (by,) = figures.curves_by(*arguments, "a")
    assert by.note == ("These are the first 28 of 40." if count == 40 else "")
    assert len(by.views[0].series) == min(count, STYLES)
    drawing = png.drawn([by])
    titles = [legend.get_title().get_text() for legend in drawing.legends]
    assert by.note in (drawing.get_supxlabel(), *titles)


def test_a_report_of_a_sweep():
    found, done = swept(9)
    (maps,) = figures.heat_maps(found, list("abcd"), METRICS, Objective(METRICS[0]))
    assert "first 3 of 6 pairs" in maps.note and "No map: metric-6, metric-7." in maps.note
    assert len(maps.views) == 3 * 6
    (few,) = figures.heat_maps(found, list("ab"), METRICS[:6], Objective(METRICS[0]))
    assert "pairs" not in few.note and "No map" not in few.note
    (lines,) = figures.best_curves(found, done, METRICS[0])
    assert "the best 6 of 9" in lines.note and "Not drawn" not in lines.note
    (lines,) = figures.best_curves(found[:3], done, METRICS[0])
    assert "the best" not in lines.note


def test_many_members_are_not_drawn_one_by_one():
    assert too_many(MEMBERS_DRAWN) == ""
    assert str(MEMBERS_DRAWN + 1) in too_many(MEMBERS_DRAWN + 1)
