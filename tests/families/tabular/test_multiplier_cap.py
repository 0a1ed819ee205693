"""λ_max by itself: Slater's bound of a finite problem, whatever the unit of its reward."""

import dataclasses
import math

import numpy as np
import pytest

from fedjax_rl import cmdp
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.tabular.assembly import prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.messages import closing, opening
from fedjax_rl.runs import Problem, fednpg, load_problem
from tests import support

pytestmark = pytest.mark.timeout(120)

DISCOUNT = 0.9


def shop(price=1.0, budget=4.0, costs=(0.0, 1.0)):
    """One state; the second action earns the price and costs 1, the first does neither.

    With V_c ≤ d < 10 the optimum earns price · d, and λ* is the price.
    """
    return cmdp.from_arrays(
        transition=np.ones((1, 2, 1)),
        reward=[[0.0, price]],
        costs=[[list(costs)]],
        budgets=[budget],
        initial=[1.0],
        discount=DISCOUNT,
    )


@pytest.mark.parametrize("price", [1e-3, 1.0, 853.0])
def test_the_bound_is_slaters_and_scales_with_the_reward(price):
    """V_c = 0 at the Slater point: ξ = 4, max V_r = 10 · price, and V_r there is 0."""
    certificate = solve(shop(price))
    assert certificate.dual_bound == pytest.approx(10 * price / 4, rel=1e-9)
    assert certificate.multiplier_bound == pytest.approx(4 * price / 4, rel=1e-9)


def test_the_bound_is_above_every_optimal_multiplier():
    for seed in range(5):
        certificate = solve(support.random_problem(seed))
        bound = certificate.dual_bound
        assert bound >= certificate.multiplier_bound >= certificate.multipliers.sum() - 1e-9


def test_without_a_slater_point_there_is_no_bound():
    problem = shop(budget=0.0)
    assert math.isinf(solve(problem).dual_bound)
    run = fednpg(problem, rounds=50)
    assert math.isinf(run.summary["multiplier_cap"])
    assert run.summary["multipliers_at_cap"] == []
    prepared = prepare(FedNPGConfig(rounds=50), Problem("shop", problem, np.ones((1, 1), bool)))
    assert "so nothing bounds the multipliers" in opening(prepared)


@pytest.mark.parametrize("price", [1e-2, 1.0, 853.0])
def test_a_problem_in_any_unit_of_reward_becomes_feasible(price):
    """A cap of 10 could never hold back a price of 853."""
    run = fednpg(shop(price), rounds=4000)
    assert run.summary["multiplier_cap"] == pytest.approx(2.5 * price)
    assert run.summary["feasible_average"]
    assert run.summary["effective_multipliers"]["constraint-0"] == pytest.approx(price, rel=0.2)
    assert abs(run.summary["occupancy_gap"]) < 0.02 * 4 * price


def test_where_every_policy_earns_the_same_budgets_are_still_enforced():
    run = fednpg(shop(price=0.0), rounds=2000)
    assert run.summary["multiplier_cap"] == 1.0
    assert run.summary["feasible_average"]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_constant_reward_is_no_bound_of_rounding_errors(seed):
    """max V_r − V_r(π_Slater) is 1e-14 here, and a cap of that size would enforce nothing."""
    draw = np.random.default_rng(seed)
    transition = draw.dirichlet(np.ones(5), size=(5, 3))
    reward = np.full((5, 3), draw.uniform(0.1, 5))
    costs = [draw.uniform(size=(5, 3))]
    problem = cmdp.from_arrays(transition, reward, costs, [4.5], np.full(5, 0.2), DISCOUNT)
    assert solve(problem).dual_bound == 0.0
    run = fednpg(problem, rounds=1000)
    assert run.summary["multiplier_cap"] == pytest.approx(1 / np.ptp(costs[0]))
    assert run.summary["feasible_average"]


def test_a_light_weight_in_the_merge_raises_the_cap_of_what_it_multiplies():
    """What counts is N Σ_i p_i w_ij λ_ij: an agent of weight 1/8 of two needs four times λ*."""
    problem = support.random_problem(0)
    equal = fednpg(problem, agents=2, rounds=1).summary["multiplier_cap"]
    light = fednpg(problem, agents=2, rounds=1, merge_weights=(7.0, 1.0))
    assert light.summary["multiplier_cap"] == pytest.approx(4 * equal)


def test_only_a_cap_given_by_hand_below_the_optimum_is_warned_about():
    for cap, warned in (("auto", False), (2000.0, False), (10.0, True)):
        config = FedNPGConfig(rounds=5, multiplier_cap=cap)
        prepared = prepare(config, Problem("shop", shop(853.0), np.ones((1, 1), bool)))
        assert ("out of reach" in opening(prepared)) == warned


def test_agents_alone_at_a_cap_by_hand_are_told_so_too():
    settings = {"rounds": 300, "multiplier_cap": 0.01, "reference": "no-communication"}
    text = closing(fednpg("windy-cliff", **settings))
    assert "Recommended: none" in text and "Multipliers are at --multiplier-cap 0.01" in text


def test_the_warning_knows_that_a_light_weight_needs_more():
    """λ* is about 0.5 to 2.5; of agents that weigh a tenth of the others it must be ten times."""
    problem = load_problem("windy-cliff")
    for weights, warned in ((None, False), ((3.7, 0.1, 0.1, 0.1), True)):
        config = FedNPGConfig(rounds=5, multiplier_cap=5.0, merge_weights=weights)
        assert ("out of reach" in opening(prepare(config, problem))) == warned


def test_a_learner_without_multipliers_has_no_cap_to_speak_of():
    config = FedNPGConfig(rounds=5, learner="crpo")
    problem = load_problem("windy-cliff")
    assert "cap" not in opening(prepare(config, problem))
    with pytest.raises(
        InvalidInput, match=r"--multiplier-cap: got 0\.1; only with a --learner that"
    ):
        prepare(dataclasses.replace(config, multiplier_cap=0.1), problem)


def test_the_default_is_automatic():
    assert FedNPGConfig().multiplier_cap == "auto"
