"""ICU-Sepsis: a miniature by hand, and the facts known of the real model."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from fedjax_rl.cmdp.problems.icu_sepsis import icu_sepsis
from fedjax_rl.cmdp.solve import evaluate_policy, solve
from fedjax_rl.sources.problems import clinicians_policy, load_problem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

installed = pytest.mark.skipif(
    importlib.util.find_spec("icu_sepsis") is None, reason="icu-sepsis is not installed"
)
TERMINAL = slice(-3, None)


@pytest.fixture
def miniature():
    """Two states in care, then death, survival and the end; all 25 actions are alike."""
    transition = np.zeros((5, 25, 5))
    transition[0, :, 1] = 1.0
    transition[1, :, [2, 3]] = np.array([[0.25], [0.75]])
    transition[2:, :, 4] = 1.0
    reward = np.zeros((5, 25, 5))
    reward[:, :, 3] = 1.0
    expert = np.zeros((5, 25))
    expert[0, 7] = expert[1, 0] = 1.0
    return dict(
        tx_mat=transition,
        r_mat=reward,
        d_0=np.eye(5)[0],
        expert_policy=expert,
        sofa_scores=np.array([6.0, 12.0, 0.0, 0.0, 0.0]),
    )


def test_costs_of_the_miniature(miniature):
    problem = icu_sepsis(miniature)
    assert problem.constraint_names == ("vasopressor", "fluid", "sofa", "unusual-treatment")
    vasopressor, fluid, sofa, unusual = problem.costs
    for action in range(25):
        for state in (0, 1):
            assert fluid[state, action] == (action // 5) / 4
            assert vasopressor[state, action] == (action % 5) / 4
    np.testing.assert_array_equal(sofa[:, 0], [0.25, 0.5, 0, 0, 0])
    np.testing.assert_array_equal(sofa, np.repeat(sofa[:, :1], 25, axis=1))
    assert unusual[0, 7] == unusual[1, 0] == 0.0
    assert unusual[:2].sum() == 48.0
    assert not problem.costs[:, TERMINAL].any()
    np.testing.assert_allclose(problem.reward[:, 0], [0.0, 0.75, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(problem.budgets, [0.1, 1.0, 3.0, 0.1])
    assert float(problem.discount) == 0.99


def test_the_arrays_given_are_left_alone(miniature):
    before = {name: array.copy() for name, array in miniature.items()}
    icu_sepsis(miniature)
    for name, array in before.items():
        np.testing.assert_array_equal(miniature[name], array)


@pytest.fixture(scope="module")
def sepsis():
    return load_problem("icu-sepsis").cmdp


@pytest.fixture(scope="module")
def certificate(sepsis):
    return solve(sepsis)


def best_actions(problem, signal, allowed, actions):
    """Greedy improvement of ``signal`` over allowed actions, and the last action values."""
    states = np.arange(problem.num_states)
    for _ in range(100):
        operator = np.eye(problem.num_states) - 0.99 * problem.transition[states, actions]
        values = np.linalg.solve(operator, signal[states, actions])
        gains = np.where(allowed, signal + 0.99 * problem.transition @ values, -np.inf)
        better = gains.max(1) > values + 1e-11
        if not better.any():
            return actions, gains
        actions = np.where(better, gains.argmax(1), actions)
    raise AssertionError("policy iteration did not settle")


@pytest.fixture(scope="module")
def optimum(sepsis):
    """Policy iteration from action 0 everywhere, and every optimal action [S, A]."""
    everything = np.ones(sepsis.reward.shape, bool)
    start = np.zeros(sepsis.num_states, int)
    actions, gains = best_actions(sepsis, sepsis.reward, everything, start)
    return actions, gains > gains.max(1, keepdims=True) - 1e-9


@installed
def test_size_of_the_model(sepsis):
    assert sepsis.transition.shape == (716, 25, 716)
    np.testing.assert_allclose(sepsis.transition.sum(-1), 1.0, atol=1e-12)
    successors = (sepsis.transition > 0).any(1).sum(1)
    assert np.median(successors) == 93
    assert successors.max() == 213
    assert not sepsis.reward[TERMINAL].any()
    assert not sepsis.costs[:, TERMINAL].any()


@installed
def test_the_value_of_what_clinicians_did(sepsis):
    policy = clinicians_policy()
    value, costs, _ = evaluate_policy(sepsis, policy)
    assert value == pytest.approx(0.7222, abs=5e-5)
    assert costs[3] == pytest.approx(0.0, abs=1e-12), "they did nothing that no clinician did"


@installed
def test_the_unconstrained_optimum_and_its_costs(sepsis, optimum):
    value, costs, _ = evaluate_policy(sepsis, np.eye(25)[optimum[0]])
    assert value == pytest.approx(0.8013, abs=5e-5)
    np.testing.assert_allclose(costs, [0.415, 3.898, 2.151, 0.0236], atol=5e-4)


@installed
def test_optimal_policies_differ_in_their_costs(sepsis, optimum):
    """In 237 states all actions lead to the same; hence bounds, and one SOFA cost."""
    actions, optimal = optimum
    assert (optimal[:-3].all(1)).sum() == 237
    bounds = [
        [
            sign * float(sepsis.initial @ value_of(sepsis, sign * cost, optimal, actions))
            for sign in (-1, 1)
        ]
        for cost in sepsis.costs
    ]
    expected = [[0.4152, 2.6169], [3.8984, 6.1002], [2.1511, 2.1511], [0.0, 2.2017]]
    np.testing.assert_allclose(bounds, expected, atol=1e-4)


def value_of(problem, signal, allowed, actions):
    best, _ = best_actions(problem, signal, allowed, actions)
    states = np.arange(problem.num_states)
    operator = np.eye(problem.num_states) - 0.99 * problem.transition[states, best]
    return np.linalg.solve(operator, signal[states, best])


@installed
def test_the_constrained_optimum(certificate):
    assert certificate.optimal_value == pytest.approx(0.7556, abs=5e-5)
    np.testing.assert_allclose(certificate.multipliers, [0.0194, 0.0771, 0.0, 0.0241], atol=5e-5)


@installed
def test_the_constrained_optimum_is_certified_and_its_multipliers_unique(sepsis, certificate):
    assert certificate.certified_gap <= 1e-8
    assert certificate.multipliers_unique is True
    assert certificate.unconstrained_value == pytest.approx(0.8013, abs=5e-5)
    assert (certificate.costs <= sepsis.budgets + 1e-8).all()
    value, costs, _ = evaluate_policy(sepsis, certificate.policy)
    assert value == pytest.approx(certificate.optimal_value, abs=1e-12)
    np.testing.assert_allclose(costs, certificate.costs, atol=1e-10)


@installed
def test_costs_and_rewards_of_the_real_model_restated(sepsis):
    location = importlib.util.find_spec("icu_sepsis").submodule_search_locations[0]
    with np.load(f"{location}/envs/assets/dynamics.npz", allow_pickle=False) as data:
        sofa, expert = data["sofa_scores"], data["expert_policy"]
        survival = data["r_mat"] * data["tx_mat"]
    vasopressor, fluid, organ_failure, unusual = sepsis.costs
    for state in range(716):
        care = float(state < 713)
        for action in range(25):
            assert vasopressor[state, action] == care * (action - 5 * (action // 5)) / 4
            assert fluid[state, action] == care * (action // 5) / 4
            assert organ_failure[state, action] == care * (sofa[state] / 24)
            assert unusual[state, action] == (care if expert[state, action] == 0 else 0.0)
    np.testing.assert_allclose(sepsis.reward, survival.sum(-1), atol=1e-14)


@installed
def test_loading_imports_neither_the_package_nor_gym(run_python):
    done = run_python(
        """
import sys
from fedjax_rl.sources.problems import clinicians_policy, load_problem
assert load_problem("icu-sepsis").cmdp.num_states == 716
assert clinicians_policy().shape == (716, 25)
print(sorted({name.split(".")[0] for name in sys.modules} & {"icu_sepsis", "gym", "gymnasium"}))
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
