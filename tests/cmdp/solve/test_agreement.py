"""The linear program and the decomposition share no algorithm; they must share every answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.solve import evaluate_policy, policy_of_occupancy
from fedjax_rl.cmdp.solve.decomposition import (
    Mixture,
    mixed_occupancy,
    solve_decomposition,
    solve_slack,
)
from fedjax_rl.cmdp.solve.linear_program import (
    ProgramSolution,
    SlackSolution,
    solve_linear_program,
    solve_slack_program,
)
from fedjax_rl.cmdp.solve.process import Process, process_of

pytestmark = pytest.mark.slow

NUM_PROBLEMS = 100


class Solved(NamedTuple):
    problem: CMDP
    process: Process
    slack: Mixture
    mixture: Mixture
    slack_program: SlackSolution
    program: ProgramSolution

    @property
    def policy(self) -> FloatArray:
        occupancy = mixed_occupancy(self.process, self.mixture)
        return policy_of_occupancy(occupancy, self.problem.support)


@pytest.fixture(scope="module")
def solved(random_problem) -> list[Solved]:
    rng = np.random.default_rng(20260101)
    found: list[Solved] = []
    while len(found) < NUM_PROBLEMS:
        problem = random_problem(rng, constraints=2 + len(found) % 7)
        process = process_of(problem)
        slack_program = solve_slack_program(problem, process)
        if slack_program.slack < 1e-6:
            continue
        slack = solve_slack(process)
        mixture = solve_decomposition(process, slack)
        program = solve_linear_program(problem, process)
        found.append(Solved(problem, process, slack, mixture, slack_program, program))
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_problems_are_varied(solved):
    states = {each.problem.num_states for each in solved}
    constraints = {each.problem.num_constraints for each in solved}
    active = sum(bool(each.program.multipliers.max() > 1e-3) for each in solved)
    assert min(states) <= 6
    assert max(states) >= 36
    assert constraints == set(range(2, 9))
    assert active >= 95


@pytest.mark.timeout(240)
def test_the_optimal_values_agree(solved):
    for each in solved:
        value = each.mixture.lower * each.process.reward_scale
        np.testing.assert_allclose(value, each.program.value, rtol=1e-8)


@pytest.mark.timeout(240)
def test_the_slater_slacks_agree(solved):
    for each in solved:
        slack = each.slack.lower * each.process.slack_scale
        np.testing.assert_allclose(slack, each.slack_program.slack, rtol=1e-6, atol=1e-8)


@pytest.mark.timeout(240)
def test_both_policies_attain_the_value_of_the_program(solved):
    for each in solved:
        for policy in (each.policy, each.program.policy):
            value, costs, _ = evaluate_policy(each.problem, policy)
            assert abs(value - each.program.value) <= 1e-8
            assert (costs <= each.problem.budgets + 1e-8).all()


@pytest.mark.timeout(240)
def test_the_gap_is_certified_and_contains_the_program(solved):
    for each in solved:
        scale = each.process.reward_scale
        assert each.mixture.upper - each.mixture.lower + 1e-12 >= 0
        assert (each.mixture.upper - each.mixture.lower) * scale <= 1e-8
        assert each.program.value <= each.mixture.upper * scale + 1e-8


@pytest.mark.timeout(240)
def test_multipliers_and_policies_are_complementary(solved):
    for each in solved:
        _, costs, _ = evaluate_policy(each.problem, each.policy)
        own = each.mixture.multipliers * each.process.multiplier_scales
        for multipliers in (own, each.program.multipliers):
            room = each.problem.budgets - costs
            np.testing.assert_allclose(multipliers * room, 0.0, atol=1e-7)


@pytest.mark.timeout(240)
def test_multipliers_respect_the_slater_bound(solved):
    for each in solved:
        value = each.slack.values[0] * each.process.reward_scale
        slack = each.slack.lower * each.process.slack_scale
        bound = (each.program.value - value) / slack
        assert each.program.multipliers.sum() <= bound * (1 + 1e-6) + 1e-8
