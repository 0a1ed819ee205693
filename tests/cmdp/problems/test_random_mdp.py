"""Dense random problems: their law, their seeds, and the promise that they can be satisfied."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fedjax_rl.cmdp.problems import random_mdp
from fedjax_rl.cmdp.solve import InfeasibleProblem, solve
from fedjax_rl.errors import InvalidInput

pytestmark = pytest.mark.timeout(60)

LARGE = dict(agents=6, states=60, actions=10, infeasible="keep")
FIELDS = ("transition", "reward", "costs", "budgets", "initial")
INFEASIBLE_SEED = 1


def equal(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


def slater_slack(problem):
    """By solving; the certificate's for feasible problems, the exception's for others."""
    try:
        return solve(problem, "decomposition").slater_slack
    except InfeasibleProblem as error:
        return error.slater_slack


@pytest.fixture(scope="module")
def small_and_crowded():
    """First draws of 60 seeds with 8 constraints on 3 states, feasible or not."""
    sizes = dict(agents=8, states=3, actions=5)
    return {seed: random_mdp(**sizes, seed=seed, infeasible="keep") for seed in range(60)}


@pytest.fixture(scope="module")
def slacks(small_and_crowded):
    """Their Slater slacks, by seed."""
    return {seed: slater_slack(problem) for seed, problem in small_and_crowded.items()}


def test_shapes_and_probabilities():
    problem = random_mdp(agents=3, states=7, actions=2)
    assert problem.transition.shape == (7, 2, 7)
    assert problem.reward.shape == (7, 2)
    assert problem.costs.shape == (3, 7, 2)
    np.testing.assert_allclose(problem.transition.sum(-1), 1.0, atol=1e-14)
    assert (problem.transition >= 0).all()
    np.testing.assert_allclose(problem.initial, 1 / 7)
    assert float(problem.discount) == 0.9
    assert problem.support.all()


def test_half_of_the_transitions_and_costs_are_zero_and_the_rest_uniform():
    problem = random_mdp(**LARGE)
    assert (problem.transition > 0).mean() == pytest.approx(0.5, abs=0.01)
    costs = problem.costs[problem.costs > 0]
    assert costs.size / problem.costs.size == pytest.approx(0.5, abs=0.03)
    for signal in (costs, problem.reward.ravel()):
        assert signal.mean() == pytest.approx(0.5, abs=0.04)
        assert signal.std() == pytest.approx(np.sqrt(1 / 12), abs=0.02)
        assert signal.min() >= 0.0
        assert signal.max() <= 1.0


def test_normalised_entries_follow_the_uniform_law():
    """E[u²] / E[u]² = 4/3 for u ~ U[0, 1], and sums of some thirty of them vary little."""
    transition = random_mdp(**LARGE).transition
    inside = transition[transition > 0]
    ratio = (inside**2).mean() / inside.mean() ** 2
    assert ratio == pytest.approx(4 / 3, abs=0.06)


def test_an_empty_row_is_uniform():
    rows = np.concatenate(
        [random_mdp(states=3, seed=seed, infeasible="keep").transition for seed in range(40)]
    ).reshape(-1, 3)
    uniform = (np.abs(rows - 1 / 3) < 1e-15).all(1)
    assert uniform.mean() == pytest.approx(1 / 8, abs=0.05)


def test_budgets_are_a_fraction_of_costs_that_some_policy_incurs():
    whole = random_mdp(agents=3, budget_fraction=1.0, infeasible="keep")
    part = random_mdp(agents=3, budget_fraction=0.25, infeasible="keep")
    np.testing.assert_allclose(part.budgets, 0.25 * whole.budgets, rtol=1e-13)
    assert slater_slack(whole) >= 0, "the anchor itself meets budgets of a fraction of one"


def test_a_seed_is_reproducible_and_matters():
    assert equal(random_mdp(seed=4), random_mdp(seed=4))
    assert not np.allclose(random_mdp(seed=4).transition, random_mdp(seed=5).transition)


@pytest.mark.slow
def test_infeasible_draws_are_common_when_there_are_many_constraints(slacks):
    share = np.mean([slack <= 0 for slack in slacks.values()])
    assert 0.2 < share < 0.8


@pytest.mark.slow
def test_what_is_drawn_by_default_is_feasible_and_says_so(small_and_crowded, slacks):
    redrawn = 0
    for seed in range(12):
        first = small_and_crowded[seed]
        problem = random_mdp(agents=8, states=3, actions=5, seed=seed)
        noted = re.search(r"draw (\d+), Slater slack ([-\d.e]+)", problem.notes)
        assert noted is not None, problem.notes
        slack = slater_slack(problem)
        assert slack > 0
        assert float(noted[2]) == pytest.approx(slack, rel=1e-3)
        assert (int(noted[1]) == 0) == equal(problem, first) == (slacks[seed] > 1e-6)
        redrawn += int(noted[1]) > 0
    assert 0 < redrawn < 12


@pytest.mark.slow
def test_an_infeasible_seed_can_be_refused(small_and_crowded, slacks):
    worst, best = min(slacks, key=slacks.get), max(slacks, key=slacks.get)
    sizes = dict(agents=8, states=3, actions=5, infeasible="error")
    with pytest.raises(InvalidInput, match=rf"seed: got {worst}; .*Slater slack -"):
        random_mdp(**sizes, seed=worst)
    assert equal(random_mdp(**sizes, seed=best), small_and_crowded[best])


def test_redrawing_gives_up():
    """One state with one action leaves nothing to choose: the anchor's cost is every policy's."""
    with pytest.raises(InvalidInput, match="no feasible draw of random-mdp"):
        random_mdp(states=1, actions=1)


@pytest.mark.parametrize("field", ["agents", "states", "actions"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True, "5", None])
def test_sizes_are_whole_numbers(field, value):
    with pytest.raises(InvalidInput, match=f"{field}: got .*whole number of at least 1"):
        random_mdp(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 0.5),
        ("budget_fraction", 0.0),
        ("budget_fraction", -0.7),
        ("budget_fraction", float("nan")),
        ("budget_fraction", float("inf")),
        ("budget_fraction", "much"),
        ("discount", 1.0),
        ("discount", -0.1),
        ("infeasible", "ignore"),
    ],
)
def test_other_settings_are_checked(field, value):
    with pytest.raises(InvalidInput, match=f"^{field}: got "):
        random_mdp(**{field: value})


@pytest.mark.slow
def test_twenty_crowded_seeds_are_all_feasible_and_say_which_draw_they_are():
    for seed in range(20):
        problem = random_mdp(agents=8, states=3, actions=5, seed=seed)
        assert re.fullmatch(rf"seed {seed}, draw \d+, Slater slack [\d.e-]+", problem.notes)
        assert solve(problem, "linear-program").slater_slack > 1e-6
        assert (problem.budgets > 0).all()


def test_a_refused_seed_says_what_to_do_and_a_kept_one_that_nobody_looked():
    sizes = dict(agents=8, states=3, actions=5, seed=INFEASIBLE_SEED)
    with pytest.raises(InvalidInput) as raised:
        random_mdp(**sizes, infeasible="error")
    slack = slater_slack(random_mdp(**sizes, infeasible="keep"))
    assert slack < 0
    assert str(raised.value) == (
        f"seed: got {INFEASIBLE_SEED}; no feasible draw of random-mdp "
        f"(1 tried, Slater slack {slack:.4g}): another seed, fewer agents or larger budgets"
    )
    problem = random_mdp(**sizes, infeasible="keep")
    assert problem.notes == f"seed {INFEASIBLE_SEED}, feasibility not checked"


def test_sizes_counted_by_numpy_are_whole_numbers_too():
    counted = random_mdp(agents=np.int64(3), states=np.int32(4), seed=np.uint8(2))
    assert equal(counted, random_mdp(agents=3, states=4, seed=2))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("states", 0, "states: got 0; a whole number of at least 1"),
        ("seed", -1, "seed: got -1; a whole number of at least 0"),
        ("budget_fraction", True, "budget_fraction: got True; a positive number"),
        ("infeasible", "ignore", "infeasible: got 'ignore'; one of redraw, error, keep"),
    ],
)
def test_a_refusal_is_one_line_with_the_field_the_value_and_what_is_allowed(field, value, message):
    with pytest.raises(InvalidInput) as raised:
        random_mdp(**{field: value})
    assert str(raised.value) == message
