"""Solves a CMDP exactly and certifies the answer, with one solver or with two that must agree."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, get_args

import numpy as np

from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.solve.certificate import Certificate
from fedjax_rl.cmdp.solve.decomposition import (
    Mixture,
    mixed_occupancy,
    solve_decomposition,
    solve_slack,
)
from fedjax_rl.cmdp.solve.evaluation import evaluate_in, policy_of_occupancy
from fedjax_rl.cmdp.solve.linear_program import (
    program_size,
    solve_linear_program,
    solve_slack_program,
)
from fedjax_rl.cmdp.solve.policy_iteration import PricedPolicy, first_policy, price
from fedjax_rl.cmdp.solve.process import Process, process_of
from fedjax_rl.cmdp.solve.uniqueness import multiplier_face
from fedjax_rl.errors import InvalidInput, SolverFailure

SolverName = Literal["auto", "both", "linear-program", "decomposition"]

PROGRAM_ENTRIES = 100_000
"""Non-zero transition entries up to which "auto" also runs the linear program."""
DISAGREEMENT_TOLERANCE = 1e-6
SLACK_TOLERANCE = 1e-9
"""Slater slack, over the least of the costs' largest entries, that counts as zero; from γ = 0.9
on it is a tenth of this per step of the horizon 1 / (1 − γ), which is what HiGHS can tell."""


class SolverDisagreement(SolverFailure):
    """Two solvers found different optima; neither is to be trusted.

    Attributes:
        quantity: ``optimal value`` or ``Slater slack``.
        values: what each solver found, by its name.
    """

    def __init__(self, quantity: str, values: dict[str, float]):
        results = ", ".join(f"{name} {value:.12g}" for name, value in values.items())
        super().__init__(
            f"the solvers disagree on the {quantity}: {results}; the problem is numerically hard, "
            "--solver decomposition states its own certified gap"
        )
        self.quantity = quantity
        self.values = values


class InfeasibleProblem(InvalidInput):
    """No policy meets all budgets.

    Attributes:
        slater_slack: negative; raising every budget by its magnitude makes them attainable.
        constraint: name of the constraint most exceeded by the policy that comes closest.
    """

    def __init__(self, budgets: FloatArray, slater_slack: float, constraint: str):
        super().__init__(
            "budgets",
            np.array2string(budgets, precision=6, separator=", ", max_line_width=10**6),
            f"no policy meets them all; the one that comes closest exceeds {constraint!r} by "
            f"{-slater_slack:.6g} (Slater slack {slater_slack:.6g}); raising that one may do, "
            "raising all of them by as much does",
        )
        self.slater_slack = slater_slack
        self.constraint = constraint


class _Slater(NamedTuple):
    """Slack ξ and V_r of a policy that attains it, and its costs [M]; the problem's units."""

    slack: float
    value: float
    costs: FloatArray


class _Optimum(NamedTuple):
    """A solver's answer in the problem's units; cuts are the policies it priced."""

    value: float
    policy: FloatArray
    multipliers: FloatArray
    cuts: tuple[PricedPolicy, ...]


def solve(problem: CMDP, solver: SolverName = "auto") -> Certificate:
    """Optimal value, policy and multipliers of a CMDP with a certified gap.

    Args:
        problem: the CMDP.
        solver: ``linear-program`` (HiGHS on the occupancy measure), ``decomposition``
            (Dantzig–Wolfe), ``both``, or ``auto``: both for problems of at most
            `PROGRAM_ENTRIES` transition entries, decomposition alone above. The certified gap,
            intervals and costs are computed alike whoever found the optimum.

    Raises:
        InfeasibleProblem: no policy meets the budgets.
        SolverDisagreement: both ran and differ in V* by more than 1e-6 relative.
        InvalidInput: unknown `solver`.
        ProgramFailure: HiGHS gave up.

    Examples:
        V_r = V_c = 2p for the probability p of action 1, so that V* is the budget and λ* is 1.

        >>> from fedjax_rl.cmdp import from_arrays
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> optimum = solve(coin)
        >>> round(optimum.optimal_value, 6), optimum.policy.round(6).tolist()
        (0.5, [[0.75, 0.25]])
        >>> optimum.multipliers.round(6).tolist()
        [1.0]
    """
    if solver not in get_args(SolverName):
        raise InvalidInput("solver", repr(solver), f"one of {', '.join(get_args(SolverName))}")
    if solver == "auto":
        solver = "both" if program_size(problem) <= PROGRAM_ENTRIES else "decomposition"
    process = process_of(problem)
    if solver == "linear-program":
        slater = _feasible(problem, process, _slater_by_program(problem, process))
        problem, process = _attainable(problem, process, slater)
        return _certify(problem, process, slater, (_by_program(problem, process),), (solver,))
    mixture = solve_slack(process)
    slater = _slater_by_decomposition(process, mixture)
    if solver == "both" and _is_infeasible(process, slater):
        _compare_slack(process, slater, _slater_by_program(problem, process))
    slater = _feasible(problem, process, slater)
    problem, process = _attainable(problem, process, slater)
    optimum = _by_decomposition(process, mixture)
    if solver == "decomposition":
        return _certify(problem, process, slater, (optimum,), (solver,))
    second = _by_program(problem, process)
    names = ("decomposition", "linear-program")
    return _certify(problem, process, slater, (optimum, second), names)


def _slater_by_program(problem: CMDP, process: Process) -> _Slater:
    solution = solve_slack_program(problem, process)
    value, costs, _ = evaluate_in(problem, process, solution.policy)
    return _Slater(solution.slack, value, costs)


def _slater_by_decomposition(process: Process, mixture: Mixture) -> _Slater:
    values = mixture.values
    return _Slater(
        mixture.lower * process.slack_scale,
        float(values[0]) * process.reward_scale,
        values[1:] * process.cost_scales,
    )


def _is_infeasible(process: Process, slater: _Slater) -> bool:
    return slater.slack < -_zero_slack(process)


def _zero_slack(process: Process) -> float:
    horizon = 1.0 / (1.0 - process.discount)
    return SLACK_TOLERANCE * max(1.0, 0.1 * horizon) * process.slack_scale


def _feasible(problem: CMDP, process: Process, slater: _Slater) -> _Slater:
    if _is_infeasible(process, slater):
        worst = int(np.argmax(slater.costs - problem.budgets))
        raise InfeasibleProblem(problem.budgets, slater.slack, problem.constraint_names[worst])
    return slater


def _compare_slack(process: Process, first: _Slater, second: _Slater) -> None:
    size = max(abs(first.slack), process.slack_scale)
    if abs(first.slack - second.slack) > DISAGREEMENT_TOLERANCE * size:
        values = {"decomposition": first.slack, "linear-program": second.slack}
        raise SolverDisagreement("Slater slack", values)


def _attainable(problem: CMDP, process: Process, slater: _Slater) -> tuple[CMDP, Process]:
    """The problem with budgets raised by the rounding in a Slater slack of zero."""
    missing = max(-slater.slack, 0.0)
    if missing == 0.0:
        return problem, process
    relaxed = dataclasses.replace(problem, budgets=problem.budgets + missing)
    return relaxed, process._replace(budgets=relaxed.budgets / process.cost_scales)


def _by_program(problem: CMDP, process: Process) -> _Optimum:
    solution = solve_linear_program(problem, process)
    return _Optimum(solution.value, solution.policy, solution.multipliers, ())


def _by_decomposition(process: Process, slack: Mixture) -> _Optimum:
    mixture = solve_decomposition(process, slack)
    return _Optimum(
        mixture.lower * process.reward_scale,
        policy_of_occupancy(mixed_occupancy(process, mixture), process.support),
        mixture.multipliers * process.multiplier_scales,
        mixture.columns,
    )


def _disagreement(process: Process, values: dict[str, float]) -> float:
    low, high = min(values.values()), max(values.values())
    relative = (high - low) / max(abs(low), abs(high), process.reward_scale)
    if relative > DISAGREEMENT_TOLERANCE:
        raise SolverDisagreement("optimal value", values)
    return relative


def _certify(
    problem: CMDP,
    process: Process,
    slater: _Slater,
    optima: tuple[_Optimum, ...],
    names: tuple[str, ...],
) -> Certificate:
    """The first optimum with its gap, multiplier bound and dual face."""
    found = dict(zip(names, (optimum.value for optimum in optima), strict=True))
    disagreement = _disagreement(process, found) if len(optima) > 1 else None
    best = optima[0]
    value, costs, occupancy = evaluate_in(problem, process, best.policy)

    multipliers = best.multipliers / process.multiplier_scales
    reward_only = np.append(1.0, np.zeros(len(multipliers)))
    first = best.cuts[0] if best.cuts else first_policy(process, reward_only)
    unconstrained = price(process, reward_only, first)
    dual = price(process, np.append(1.0, -multipliers), unconstrained.policy)
    upper = dual.upper + float(multipliers @ process.budgets)
    excess = best.multipliers @ np.maximum(costs - problem.budgets, 0.0)

    slack = slater.slack if slater.slack > _zero_slack(process) else 0.0
    bound = max(value - slater.value, 0.0) / slack if slack > 0 else np.inf
    face = multiplier_face(
        process,
        (*best.cuts, unconstrained.policy, dual.policy),
        multipliers,
        upper,
        bound * process.slack_scale / process.reward_scale,
    )
    return Certificate(
        optimal_value=value,
        policy=best.policy,
        multipliers=best.multipliers,
        multiplier_intervals=face.intervals * process.multiplier_scales[:, None],
        multipliers_unique=face.unique,
        occupancy=occupancy,
        costs=costs,
        slater_slack=slack,
        multiplier_bound=float(bound),
        certified_gap=max(upper * process.reward_scale - value + float(excess), 0.0),
        solvers=names,
        disagreement=disagreement,
        num_columns=len(best.cuts),
        unconstrained_value=float(unconstrained.policy.values[0]) * process.reward_scale,
    )
