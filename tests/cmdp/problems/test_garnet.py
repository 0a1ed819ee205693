"""Garnets: exactly b successors, gaps between uniform cut points, and feasibility."""

from __future__ import annotations

import numpy as np
import pytest

from fedjax_rl.cmdp.problems import garnet
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(("states", "branching"), [(20, 4), (6, 1), (5, 5), (1, 1), (30, 2)])
def test_each_pair_has_exactly_so_many_successors(states, branching):
    problem = garnet(states=states, actions=3, branching=branching, infeasible="keep")
    assert problem.transition.shape == (states, 3, states)
    np.testing.assert_array_equal((problem.transition > 0).sum(-1), branching)
    np.testing.assert_allclose(problem.transition.sum(-1), 1.0, atol=1e-14)


def test_successors_are_equally_likely_to_be_any_state():
    problem = garnet(states=10, actions=400, branching=3, infeasible="keep")
    frequency = (problem.transition > 0).mean((0, 1))
    np.testing.assert_allclose(frequency, 0.3, atol=0.03)
    own = np.einsum("sas->sa", problem.transition > 0).mean()
    assert own == pytest.approx(0.3, abs=0.03)


def test_probabilities_are_gaps_between_uniform_cut_points():
    """A gap of b − 1 sorted uniforms is Beta(1, b − 1): mean 1/b, E[p²] = 2/(b (b + 1))."""
    problem = garnet(states=50, actions=40, branching=4, infeasible="keep")
    gaps = problem.transition[problem.transition > 0]
    assert gaps.mean() == pytest.approx(1 / 4, abs=1e-12)
    assert (gaps**2).mean() == pytest.approx(2 / (4 * 5), abs=0.005)
    for level in (0.1, 0.3, 0.6):
        assert (gaps > level).mean() == pytest.approx((1 - level) ** 3, abs=0.02)


def test_costs_are_sparse_and_signals_uniform():
    problem = garnet(agents=5, states=50, actions=20, infeasible="keep")
    assert problem.costs.shape == (5, 50, 20)
    assert (problem.costs > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert problem.costs[problem.costs > 0].mean() == pytest.approx(0.5, abs=0.03)
    assert problem.reward.mean() == pytest.approx(0.5, abs=0.04)
    np.testing.assert_allclose(problem.initial, 1 / 50)


def test_a_seed_is_reproducible_and_matters():
    first, again, other = garnet(seed=7), garnet(seed=7), garnet(seed=8)
    for name in ("transition", "reward", "costs", "budgets"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_by_default_is_feasible_and_says_so(seed):
    problem = garnet(agents=4, states=6, actions=3, branching=2, seed=seed)
    slack = solve(problem, "decomposition").slater_slack
    assert slack > 0
    assert float(problem.notes.rpartition("Slater slack ")[2]) == pytest.approx(slack, rel=1e-3)


def test_more_successors_than_states():
    with pytest.raises(InvalidInput, match="branching: got 6; at most the number of states, 5"):
        garnet(states=5, branching=6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agents", 0),
        ("states", 0),
        ("actions", 2.5),
        ("branching", 0),
        ("branching", True),
        ("seed", -1),
        ("budget_fraction", 0),
        ("discount", 1.0),
        ("infeasible", "never"),
    ],
)
def test_settings_are_checked(field, value):
    with pytest.raises(InvalidInput, match=f"^{field}: got "):
        garnet(**{field: value})


def test_one_successor_is_certain():
    problem = garnet(states=7, actions=3, branching=1, infeasible="keep")
    np.testing.assert_array_equal(np.unique(problem.transition), [0.0, 1.0])


@pytest.mark.parametrize("field", ["agents", "states", "actions", "branching"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4"])
def test_sizes_are_whole_numbers(field, value):
    with pytest.raises(InvalidInput) as raised:
        garnet(**{field: value})
    assert str(raised.value) == f"{field}: got {value}; a whole number of at least 1"
