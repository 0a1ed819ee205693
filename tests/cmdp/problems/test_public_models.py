"""Public models against their own tables, published values and restatements, with their budgets."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np
import pytest
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv
from scipy.stats import poisson

from fedjax_rl.cmdp import with_settings
from fedjax_rl.cmdp.problems import (
    admission_queue,
    cliff_walking,
    forest,
    frozen_lake,
    inventory,
    taxi,
)
from fedjax_rl.cmdp.solve import evaluate_policy, solve
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs import fednpg, load_problem
from tests.support import value

pytestmark = pytest.mark.timeout(120)

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "problems.md"
NAMES = ("frozen-lake", "cliff-walking", "taxi", "forest", "inventory", "admission-queue")
LARGER = "frozen-lake map_name=8x8"


@pytest.fixture(scope="module")
def solved():
    """The problem and its certificate by name and arguments; each is solved once."""
    known = {}

    def look_up(reference):
        if reference not in known:
            name, *arguments = reference.split()
            problem = load_problem(name, arguments=dict(word.split("=") for word in arguments)).cmdp
            known[reference] = problem, solve(problem)
        return known[reference]

    return look_up


# --- Budgets and optima -----------------------------------------------------------------------


@pytest.mark.parametrize("reference", [*NAMES, LARGER])
def test_budgets_can_be_kept_and_all_of_them_bind(reference, solved):
    problem, certificate = solved(reference)
    assert problem.num_constraints == 2
    assert certificate.slater_slack > 1e-3
    np.testing.assert_allclose(certificate.costs, problem.budgets, rtol=1e-8)
    assert (certificate.multipliers > 1e-2).all() and certificate.multipliers_unique is True
    assert certificate.optimal_value < certificate.unconstrained_value - 1e-3


@pytest.mark.parametrize("reference", [*NAMES, LARGER])
def test_two_solvers_agree(reference, solved):
    _, certificate = solved(reference)
    assert certificate.solvers == ("decomposition", "linear-program")
    assert certificate.disagreement < 1e-9
    assert certificate.certified_gap < 1e-8


@pytest.mark.parametrize("reference", [*NAMES, LARGER])
def test_the_page_says_what_is_so(reference, solved):
    problem, certificate = solved(reference)
    found = re.search(rf"^\| `{re.escape(reference)}` \|(.*)\|$", PAGE.read_text(), re.M)
    assert found, f"{reference} has no row"
    row_on_page = [cell.strip() for cell in found[1].split("|")]
    names = ", ".join(f"`{name}`" for name in problem.constraint_names)
    budgets = ", ".join(f"{budget:g}" for budget in problem.budgets)
    multipliers = ", ".join(f"{multiplier:.4g}" for multiplier in certificate.multipliers)
    sizes = f"{problem.num_states} × {problem.num_actions}"
    optima = (certificate.unconstrained_value, certificate.optimal_value)
    values = (f"{round(optimum, 9) + 0.0:.5g}" for optimum in optima)
    expected = [sizes, f"{problem.discount:g}", names, budgets, *values, multipliers]
    assert [cell.replace("−", "-") for cell in row_on_page] == expected


RUNS = {
    "frozen-lake": dict(rounds=2000, step_size=5.0, dual_step_size=5.0),
    "cliff-walking": dict(rounds=2000, step_size=0.05, dual_step_size=0.005),
    "taxi": dict(rounds=300, step_size=2.0, dual_step_size=0.3),
    "forest": dict(rounds=10_000, step_size=0.01, dual_step_size=0.02),
    "inventory": dict(rounds=10_000, step_size=0.02, dual_step_size=0.05),
    "admission-queue": dict(rounds=5000, step_size=0.2, dual_step_size=0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_federation_comes_near_the_optimum(name):
    """The averaged policy is within a few per cent, of the value and of every budget."""
    run = fednpg(name, **RUNS[name])
    summary, best = run.summary, run.certificate
    assert len(run.problem.access) == 2
    lost = best.unconstrained_value - best.optimal_value
    assert abs(summary["occupancy_gap"]) < max(0.04 * abs(best.optimal_value), 0.1 * lost)
    assert summary["occupancy_violation"] < 0.04 * run.problem.cmdp.budgets.max()


def test_another_unit_of_the_reward_changes_nothing_but_the_unit():
    """Rewards times 100 and steps to match: multipliers of 648 need a cap that grows along."""
    plain = fednpg("inventory", rounds=500, step_size=0.02, dual_step_size=0.05).summary
    scale = {"problem_args": ("scale=100",), "step_size": 2e-4, "dual_step_size": 5.0}
    scaled = fednpg("inventory", rounds=500, **scale).summary
    assert scaled["multiplier_cap"] == pytest.approx(100 * plain["multiplier_cap"], rel=1e-6)
    for name, cost in plain["occupancy_costs"].items():
        assert scaled["occupancy_costs"][name] == pytest.approx(cost, rel=1e-6)
    assert max(scaled["effective_multipliers"].values()) > 100


# --- Gymnasium's tables -----------------------------------------------------------------------


def held_against(problem, environment, is_end):
    """Every row of the environment's own table; the ends stay where they are, for nothing."""
    assert problem.num_states == len(environment.P)
    np.testing.assert_allclose(problem.initial, environment.initial_state_distrib, atol=1e-15)
    for state, actions in environment.P.items():
        for action, entries in actions.items():
            row, reward = np.zeros(problem.num_states), 0.0
            for probability, after, earned, terminated in entries:
                row[after] += probability
                reward += probability * earned
                assert is_end(state) or terminated == is_end(after)
            if is_end(state):
                row, reward = np.eye(problem.num_states)[state], 0.0
                assert not problem.costs[:, state].any()
            np.testing.assert_allclose(problem.transition[state, action], row, atol=1e-15)
            assert problem.reward[state, action] == pytest.approx(reward, abs=1e-15)
    assert problem.support.all()


@pytest.mark.parametrize("map_name", ["4x4", "8x8"])
def test_frozen_lake_is_gymnasiums(map_name):
    environment = FrozenLakeEnv(map_name=map_name, is_slippery=True)
    tiles = environment.desc.astype(str).ravel()
    problem = frozen_lake(map_name)
    held_against(problem, environment, lambda state: tiles[state] in "GH")
    width = environment.ncol
    halves = [np.arange(width) < width / 2, np.arange(width) >= width / 2]
    for cost, half in zip(problem.costs, halves, strict=True):
        holes = (tiles == "H") & np.tile(half, width)
        moves = problem.transition * (np.isin(tiles, list("SF")))[:, None, None]
        np.testing.assert_allclose(cost, moves @ holes.astype(float), atol=1e-15)


def test_cliff_walking_is_gymnasiums():
    problem = cliff_walking()
    held_against(problem, CliffWalkingEnv(), lambda state: state == 47)
    rows = np.zeros((2, 4, 12))
    rows[0, 2, 1:11] = rows[1, 1, 1:11] = 1.0
    np.testing.assert_array_equal(problem.costs, np.tile(rows.reshape(2, 48, 1), 4))


def test_taxi_is_gymnasiums():
    environment, problem = TaxiEnv(), taxi()

    def is_end(state):
        row, column, passenger, destination = environment.decode(state)
        return passenger == destination and (row, column) == environment.locs[destination]

    reached = problem.initial > 0
    for _ in range(100):
        reached |= problem.transition[reached].any((0, 1))
    assert reached.sum() == 404, "as Gymnasium says"
    # Where the passenger is at the destination from the start, nobody ever comes.
    for state in np.flatnonzero(~reached):
        for action, entries in environment.P[state].items():
            environment.P[state][action] = [(*entry[:3], is_end(entry[1])) for entry in entries]
    held_against(problem, environment, is_end)
    for state in range(500):
        row, column, *_ = environment.decode(state)
        for action in range(6):
            after = environment.decode(environment.P[state][action][0][1])
            drove = after[:2] != (row, column) and not is_end(state)
            assert problem.costs[0, state, action] == (drove and row == 2)
            assert problem.costs[1, state, action] == (drove and column >= 3)


def test_the_shortest_walk_along_the_cliff():
    problem = cliff_walking()
    for discount in (0.5, 0.95, 0.999):
        free = solve(with_settings(problem, budgets=[1e3, 1e3], discount=discount))
        walk = -(1 - discount**13) / (1 - discount)
        assert free.optimal_value == pytest.approx(walk, rel=1e-9)
    ledge = sum(0.95**step for step in range(2, 12))
    free = solve(with_settings(problem, budgets=[1e3, 1e3]))
    np.testing.assert_allclose(free.costs, [ledge, 0.0], atol=1e-9)


# --- The textbooks' models --------------------------------------------------------------------


def test_forest_has_the_published_values(solved):
    problem, certificate = solved("forest")
    assert certificate.unconstrained_value == pytest.approx(26.244, abs=5e-4)
    waiting = np.eye(2)[[0, 0, 0]]
    np.testing.assert_allclose(
        value(problem, waiting, problem.reward), [26.244, 29.484, 33.484], atol=5e-4
    )
    for first, published in zip(np.eye(3), [26.244, 29.484, 33.484], strict=True):
        free = dataclasses.replace(problem, budgets=np.full(2, 1e3), initial=first)
        assert solve(free).optimal_value == pytest.approx(published, abs=5e-4)


def test_forest_of_four_classes_by_hand():
    problem = forest(states=4, waiting_reward=7.0, cutting_reward=5.0, fire=0.2)
    wait = [[0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0], [0.2, 0, 0, 0.8], [0.2, 0, 0, 0.8]]
    np.testing.assert_allclose(problem.transition[:, 0], wait, atol=1e-15)
    np.testing.assert_array_equal(problem.transition[:, 1], np.eye(4)[[0, 0, 0, 0]])
    np.testing.assert_array_equal(problem.reward, [[0, 0], [0, 1], [0, 1], [7, 5]])
    np.testing.assert_array_equal(problem.costs[0], [[1, 1], [1, 0], [1, 0], [1, 0]])
    np.testing.assert_array_equal(problem.costs[1], [[0, 0], [0, 1], [0, 1], [0, 0]])


def test_inventory_restated():
    problem = inventory(capacity=4, demand=1.5, scale=10.0)
    for stock in range(5):
        for order in range(5):
            assert problem.support[stock, order] == (stock + order <= 4)
            if stock + order > 4:
                continue
            held, row, unmet = stock + order, np.zeros(5), 0.0
            for demand in range(60):
                chance = poisson.pmf(demand, 1.5)
                row[max(held - demand, 0)] += chance
                unmet += chance * max(demand - held, 0)
            np.testing.assert_allclose(problem.transition[stock, order], row, atol=1e-12)
            paid = 4 * (order > 0) + 2 * order + held
            assert problem.reward[stock, order] == pytest.approx(-10.0 * paid, abs=1e-12)
            assert problem.costs[0, stock, order] == pytest.approx(unmet, abs=1e-12)
            assert problem.costs[1, stock, order] == (order > 0)


def test_scale_of_an_inventory_scales_its_multipliers(solved):
    problem, certificate = solved("inventory")
    hundred = solve(inventory(scale=100.0))
    assert hundred.optimal_value == pytest.approx(100 * certificate.optimal_value, rel=1e-9)
    np.testing.assert_allclose(hundred.multipliers, 100 * certificate.multipliers, rtol=1e-6)
    nothing = np.eye(problem.num_actions)[np.zeros(problem.num_states, int)]
    assert certificate.unconstrained_value == pytest.approx(0.0, abs=1e-9)
    _, costs, _ = evaluate_policy(problem, nothing)
    assert costs[0] == pytest.approx(2.0 / (1 - 0.9), rel=1e-9), "all demand is unmet"


def test_a_queue_that_admits_everybody_is_that_of_the_textbook():
    """M/M/1/C in the long run: ρⁿ (1 − ρ) / (1 − ρᶜ⁺¹), and arrivals see time averages."""
    discount = 1 - 1e-8
    problem = admission_queue(5, first_rate=0.6, second_rate=0.4, service_rate=1.25)
    problem = with_settings(problem, discount=discount)
    load = 1.0 / 1.25
    stationary = load ** np.arange(6) * (1 - load) / (1 - load**6)
    events = 0.6 + 0.4 + 1.25
    everybody = np.eye(4)[np.full(6, 3)]
    earned, costs, _ = evaluate_policy(problem, everybody)
    averages = (1 - discount) * np.array([earned, *costs])
    admitted = 1 - stationary[-1]
    expected = [
        (5.0 * 0.6 + 0.4) / events * admitted,
        stationary @ np.arange(6),
        0.4 / events * stationary[-1],
    ]
    np.testing.assert_allclose(averages, expected, rtol=1e-6)


def test_a_queue_of_one_by_hand():
    """Class 1 only: V(0) = a (r + γ V(1)) + γ (1 − a) V(0), V(1) = γ (m V(0) + (1 − m) V(1))."""
    problem = admission_queue(1, first_rate=1.0, second_rate=2.0, service_rate=5.0)
    arrival, service, discount = 1 / 8, 5 / 8, 0.95
    back = discount * service / (1 - discount * (1 - service))
    empty = arrival * 5.0 / (1 - discount * (1 - arrival) - discount * arrival * back)
    earned, costs, _ = evaluate_policy(problem, np.eye(4)[[1, 1]])
    assert earned == pytest.approx(empty, rel=1e-12)
    assert costs[1] == pytest.approx(2 / 8 / (1 - discount), rel=1e-12)


def test_unconstrained_admission_by_value_iteration(solved):
    """Event by event, in rates; the textbook admits a class where its reward pays for the rest."""
    _, certificate = solved("admission-queue")
    values = np.zeros(11)
    for _ in range(2000):
        updated = np.zeros(11)
        for customers in range(11):
            stay = values[customers]
            gains = [0.95 * stay, 0.95 * stay]
            if customers < 10:
                gains = [
                    max(0.95 * stay, reward + 0.95 * values[customers + 1]) for reward in (5.0, 1.0)
                ]
            leaves = 0.95 * values[max(customers - 1, 0)]
            updated[customers] = 0.25 * sum(gains) + 0.5 * leaves
        values = updated
    assert certificate.unconstrained_value == pytest.approx(values[0], abs=1e-9)


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "settings", "message"),
    [
        (frozen_lake, {"map_name": "16x16"}, "map_name: got '16x16'; one of 4x4, 8x8"),
        (frozen_lake, {"map_name": [4]}, "map_name: got [4]; one of 4x4, 8x8"),
        (forest, {"states": 1}, "states: got 1; a whole number of at least 2"),
        (forest, {"fire": 1.5}, "fire: got 1.5; a probability"),
        (forest, {"fire": True}, "fire: got True; a number of at least 0"),
        (inventory, {"capacity": 0}, "capacity: got 0; a whole number of at least 1"),
        (inventory, {"demand": 0.0}, "demand: got 0.0; a positive number"),
        (inventory, {"demand": "x"}, "demand: got x; a positive number"),
        (inventory, {"order_cost": -1}, "order_cost: got -1; a number of at least 0"),
        (inventory, {"scale": float("nan")}, "scale: got nan; a positive number"),
        (admission_queue, {"capacity": 0}, "capacity: got 0; a whole number of at least 1"),
        (admission_queue, {"service_rate": 0}, "service_rate: got 0; a positive number"),
        (admission_queue, {"first_reward": "x"}, "first_reward: got x; a finite number"),
        (forest, {"waiting_reward": "x"}, "waiting_reward: got x; a finite number"),
    ],
)
def test_settings_that_make_no_sense_are_named(factory, settings, message):
    with pytest.raises(InvalidInput) as raised:
        factory(**settings)
    assert str(raised.value) == message


@pytest.mark.parametrize("factory", [cliff_walking, taxi, frozen_lake, forest, inventory])
def test_a_discount_of_one_is_refused(factory):
    with pytest.raises(InvalidInput, match="discount: got 1"):
        factory(discount=1.0)
