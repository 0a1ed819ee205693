"""FedNPG from Python: what it must reach, and its reference agents."""

import dataclasses

import numpy as np
import pytest

from fedjax_rl import cmdp
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs import Problem, fednpg, load_problem
from tests import support

pytestmark = pytest.mark.timeout(280)


def test_alone_agents_break_what_they_do_not_see_and_fednpg_does_not():
    settings = {"rounds": 30_000, "step_size": 0.1, "dual_step_size": 0.005}
    together = fednpg("windy-cliff", **settings)
    alone = fednpg("windy-cliff", reference="no-communication", **settings)
    budgets = together.problem.cmdp.budgets
    assert together.summary["average_violation"] < 0.05 * budgets.min()
    costs = np.array(alone.summary["occupancy_costs_by_agent"])
    assert costs.shape == (4, 4)
    for agent in range(4):
        own, unseen = costs[agent, agent], np.delete(costs[agent], agent)
        assert own < 1.05 * budgets[agent], "each keeps the budget that it watches"
        assert unseen.max() > 1.3 * budgets.max(), "and breaks one that it does not"
    assert alone.summary["average_gap"] < 0 < alone.summary["worst_average_violation"]


def test_omniscient_agent_is_the_federation_with_one_local_step():
    settings = {"rounds": 200, "step_size": 0.2, "dual_step_size": 0.01}
    problem = support.random_problem(3)
    together = fednpg(problem, **settings)
    omniscient = fednpg(problem, reference="omniscient", **settings)
    np.testing.assert_allclose(
        together.outcome.last_policy, omniscient.outcome.last_policy, atol=1e-12
    )
    assert omniscient.summary["bytes_exchanged"] == 0
    assert set(omniscient.summary["multipliers"]) == {"0"}


def test_auto_steps_are_the_plain_ones_on_the_problem_rescaled_to_unit_range():
    problem = load_problem("windy-cliff").cmdp
    rounds = 300
    automatic = fednpg(problem, rounds=rounds)
    reward_range, cost_range = 20.1, 10.0
    shift = problem.reward.min() / (1 - problem.discount)
    rescaled = cmdp.from_arrays(
        problem.transition,
        (problem.reward - problem.reward.min()) / reward_range,
        problem.costs / cost_range,
        problem.budgets / cost_range,
        problem.initial,
        problem.discount,
    )
    step = 2 / np.sqrt(rounds)
    plain = fednpg(
        rescaled,
        rounds=rounds,
        step_size=step,
        dual_step_size=0.1 * step,
        multiplier_cap=10.0 * cost_range / reward_range,
    )
    np.testing.assert_allclose(automatic.outcome.last_policy, plain.outcome.last_policy, atol=1e-10)
    unscaled = plain.outcome.multipliers * reward_range / cost_range
    np.testing.assert_allclose(automatic.outcome.multipliers, unscaled, atol=1e-10)
    assert unscaled.max() > 0.5
    value = plain.history["value"] * reward_range + shift
    np.testing.assert_allclose(automatic.history["value"], value, atol=1e-9)


@pytest.mark.slow
def test_four_hospitals_come_within_one_percent_of_the_optimum():
    run = fednpg("icu-sepsis", rounds=300, step_size=20.0, dual_step_size=0.02)
    summary = run.summary
    assert summary["optimal_value"] == pytest.approx(0.7556, abs=5e-5)
    assert abs(summary["occupancy_gap"]) < 0.01 * summary["optimal_value"]
    costs = np.array(list(summary["occupancy_costs"].values()))
    assert (costs <= 1.02 * run.problem.cmdp.budgets).all()
    assert summary["feasible_average"]


@pytest.mark.slow
def test_sampled_evaluation_follows_the_exact_trajectory_as_rollouts_grow():
    """The error falls as one over the root of the rollouts while it is small."""
    problem = support.random_problem(2)
    settings = {"rounds": 30, "step_size": 0.05, "dual_step_size": 0.01}
    exact = fednpg(problem, **settings).history["value"]
    errors = []
    for rollouts in (4, 64):
        sampled = [
            fednpg(problem, evaluation="sampled", rollouts=rollouts, seed=seed, **settings)
            for seed in range(8)
        ]
        assert sampled[0].summary["environment_steps"] > 30 * 4 * 20 * rollouts
        errors.append(np.mean([np.abs(run.history["value"] - exact).mean() for run in sampled]))
    assert errors[0] / errors[1] > 2.5, errors


def test_actions_without_support_are_never_taken():
    problem = support.random_problem(1)
    mask = np.ones((5, 4), bool)
    mask[0, :2] = mask[3, 3] = False
    masked = dataclasses.replace(problem, support=mask, budgets=10 * problem.budgets)
    for merge in ("logits", "probabilities"):
        run = fednpg(masked, rounds=50, local_steps=2, merge=merge)
        for policy in (run.outcome.last_policy, run.outcome.averaged_policy):
            assert (policy[~mask] == 0).all()
            np.testing.assert_allclose(policy.sum(1), 1.0)
        assert run.summary["average_gap"] > -1e-9, "V* is that of the supported actions"


def test_history_and_summary_hold_the_same_figures():
    run = fednpg(support.random_problem(0), rounds=25, local_steps=3, participants=2)
    assert run.history["round"].tolist() == list(range(26))
    assert run.summary["last_gap"] == run.history["gap"][-1]
    assert run.history["bytes_exchanged"][-1] == 25 * (2 + 4) * 5 * 4 * 8


def test_problem_with_its_own_access_matrix():
    problem = support.random_problem(0)
    access = np.array([[1, 1, 1, 0], [0, 0, 1, 1]], bool)
    run = fednpg(Problem("mine", problem, access), rounds=10)
    assert run.summary["num_agents"] == 2
    assert set(run.summary["multipliers"]["0"]) == {f"constraint-{index}" for index in range(3)}
    fewer = fednpg(problem, agents=3, rounds=10)
    assert set(fewer.summary["multipliers"]["0"]) == {"constraint-0", "constraint-3"}


def test_wrong_settings_are_named():
    problem = support.random_problem(0)
    with pytest.raises(InvalidInput, match="settings: got round; known: access"):
        fednpg(problem, round=10)
    with pytest.raises(InvalidInput, match="--rounds: got 0"):
        fednpg(problem, rounds=0)


def test_a_diverged_run_keeps_its_last_finite_state():
    run = fednpg(support.random_problem(0), rounds=50, step_size=1e307)
    failed = run.outcome.failed_round
    assert failed is not None and run.history["round"][-1] == failed - 1
    assert all(np.isfinite(column).all() for column in run.history.values())
    assert np.isfinite(run.outcome.last_policy).all()


@pytest.mark.slow
def test_seeds_are_members_of_one_program():
    problem = support.random_problem(2)
    settings = {"rounds": 20, "evaluation": "sampled", "rollouts": 2, "step_size": 0.1}
    together = fednpg(problem, seeds=3, seed=4, **settings)
    alone = [fednpg(problem, seed=seed, **settings) for seed in (4, 5, 6)]
    for name in ("value", "average_gap", "strong_violation", "multiplier/1/constraint-1"):
        mean = np.mean([run.history[name] for run in alone], axis=0)
        np.testing.assert_allclose(together.history[name], mean, atol=1e-10)
    gaps = [run.summary["last_gap"] for run in alone]
    np.testing.assert_allclose(together.summary["last_gap_by_seed"], gaps, atol=1e-10)
    assert together.outcome.last_policy.shape == (3, 5, 4)
    with pytest.raises(InvalidInput, match="--seeds: got 2; 1 with --reference no-communication"):
        fednpg(problem, seeds=2, reference="no-communication", rounds=5)
