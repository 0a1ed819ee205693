"""The windy cliff against a restatement cell by cell, and against known optima."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp.problems import windy_cliff
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(60)

CELLS = [(row, column) for row in range(4) for column in range(10)]


def neighbour(cell, action):
    """The cell a step leads to without wind; walls stop it."""
    row, column = cell
    wished = {
        "right": (row, column + 1),
        "left": (row, column - 1),
        "down": (row + 1, column),
        "up": (row - 1, column),
    }[action]
    return wished if wished in CELLS else cell


def successors(cell, action):
    """Probability of each next cell."""
    if action == "down":
        return {neighbour(cell, "down"): 1.0}
    outcomes = dict.fromkeys(CELLS, 0.0)
    outcomes[neighbour(cell, "down")] += 0.4
    outcomes[neighbour(cell, action)] += 0.6
    return outcomes


@pytest.mark.parametrize(("index", "action"), [(0, "right"), (1, "left"), (2, "down"), (3, "up")])
def test_every_transition_is_the_wind_restated(index, action):
    transition = windy_cliff().transition
    for state, cell in enumerate(CELLS):
        expected = [successors(cell, action).get(other, 0.0) for other in CELLS]
        np.testing.assert_allclose(transition[state, index], expected, atol=1e-15)


def test_rewards_are_those_of_the_cell_that_is_left():
    problem = windy_cliff()
    for state, cell in enumerate(CELLS):
        assert (problem.reward[state] == (20.0 if cell == (3, 9) else -0.1)).all()
    assert CELLS[int(problem.initial.argmax())] == (3, 0)
    assert problem.initial.max() == 1.0


SEGMENTS = {
    1: [[2, 3, 4, 5, 6, 7]],
    2: [[2, 3, 4], [5, 6, 7]],
    3: [[2, 3], [4, 5], [6, 7]],
    4: [[2], [3], [4], [5]],
    5: [[2], [3], [4], [5], [6]],
    6: [[2], [3], [4], [5], [6], [7]],
}


@pytest.mark.parametrize("agents", SEGMENTS)
def test_each_agent_watches_its_segment_of_the_bottom_row(agents):
    problem = windy_cliff(agents)
    assert problem.num_constraints == agents
    for cost, columns in zip(problem.costs, SEGMENTS[agents], strict=True):
        for state, (row, column) in enumerate(CELLS):
            assert (cost[state] == (10.0 if row == 3 and column in columns else 0.0)).all()
    np.testing.assert_array_equal(problem.budgets, np.full(agents, 2.0))


def test_the_known_optimum_of_four_agents():
    certificate = solve(windy_cliff())
    assert certificate.optimal_value == pytest.approx(23.84, abs=5e-3)
    assert certificate.unconstrained_value == pytest.approx(42.56, abs=5e-3)
    np.testing.assert_allclose(certificate.multipliers, [0.533, 0.471, 0.516, 2.518], atol=5e-4)


def test_the_discount_is_a_setting():
    assert float(windy_cliff(discount=0.5).discount) == 0.5
    assert float(windy_cliff().discount) == 0.9


@pytest.mark.parametrize("agents", [0, -1, 7, 2.0, True, "four", None])
def test_segments_would_be_empty(agents):
    with pytest.raises(InvalidInput, match=r"agents: got .*1 to 6 segments"):
        windy_cliff(agents)


def test_a_discount_of_one_is_refused():
    with pytest.raises(InvalidInput, match="discount: got 1"):
        windy_cliff(discount=1.0)


@pytest.mark.parametrize("agents", [7, 0, True, 2.5])
def test_a_refusal_says_how_many_segments_there_is_room_for(agents):
    with pytest.raises(InvalidInput) as raised:
        windy_cliff(agents)
    assert str(raised.value) == f"agents: got {agents}; windy-cliff has room for 1 to 6 segments"


def test_a_count_made_by_numpy_is_a_whole_number_too():
    assert windy_cliff(np.int64(3)).constraint_names == ("segment-0", "segment-1", "segment-2")
