"""The figures of ``summary.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray
from fedjax_rl.cmdp.solve import Certificate, evaluate_policy
from fedjax_rl.columns import Columns
from fedjax_rl.families.tabular.programs import merge_of
from fedjax_rl.learners.tabular.agent import effective_multipliers
from fedjax_rl.ranking import Standing, best_first, excess_of, relative_violation, worth_of
from fedjax_rl.sources.problems import Problem

if TYPE_CHECKING:
    from fedjax_rl.families.tabular.assembly import Prepared

FEASIBILITY_TOLERANCE = 0.02
"""A policy counts as feasible when no cost is more than this share of its budget above it."""

ROUNDING = 1e-9
"""What a cost may be above its budget in any case, as a share of the largest possible cost."""


class Outcome(NamedTuple):
    """Multipliers and policies at the end of a run.

    Attributes:
        multipliers: [N, K] in each agent's own order (K slots), or [N, 1, K] without
            communication.
        last_policy: [S, A], π after the last round; [N, S, A] without communication.
        averaged_policy: the stationary policy of the occupancy averaged over rounds, same shape.
        failed_round: the round whose result was not finite, or None.
    """

    multipliers: FloatArray
    last_policy: FloatArray
    averaged_policy: FloatArray
    failed_round: int | None


class Evaluated(NamedTuple):
    """P policies evaluated exactly.

    Attributes:
        gap: [P], V* − V_r.
        violation: [P], max_j (V_cj − d_j).
        relative_violation: [P], max_j (V_cj − d_j) / |d_j|; see `relative_violation`.
        feasible: [P] booleans, within the tolerance.
        costs: [P, M].
    """

    gap: FloatArray
    violation: FloatArray
    relative_violation: FloatArray
    feasible: np.ndarray
    costs: FloatArray


def stationary_policy(occupancy: FloatArray, elsewhere: FloatArray) -> FloatArray:
    """π(a | s) = q(s, a) / Σ_a q(s, a); where a state is never visited, ``elsewhere``."""
    visits = occupancy.sum(-1, keepdims=True)
    return np.where(visits > 0, occupancy / np.where(visits > 0, visits, 1.0), elsewhere)


def evaluate(cmdp: CMDP, policies: FloatArray, optimal_value: float) -> Evaluated:
    """Evaluates policies [P, S, A] (or one, [S, A]) against the optimum and the budgets."""
    stacked = policies if policies.ndim == 3 else policies[None]
    evaluated = [evaluate_policy(cmdp, policy) for policy in stacked]
    values = np.array([value for value, _, _ in evaluated])
    costs = np.array([costs for _, costs, _ in evaluated])
    excess = costs - cmdp.budgets
    return Evaluated(
        gap=optimal_value - values,
        violation=excess.max(1),
        relative_violation=relative_violation(costs, cmdp.budgets),
        feasible=np.all(excess <= tolerances(cmdp), axis=1),
        costs=costs,
    )


def tolerances(cmdp: CMDP) -> FloatArray:
    """[M], how far above its budget a cost may be: 2 % of it, and rounding."""
    scale = np.abs(cmdp.costs).max((1, 2)) / (1.0 - cmdp.discount)
    return np.maximum(FEASIBILITY_TOLERANCE * np.abs(cmdp.budgets), ROUNDING * scale)


def recommended(averaged: Evaluated, last: Evaluated) -> str:
    """``averaged`` or ``last``, whichever is better in the order of `fedjax_rl.ranking`.

    Ties go to the averaged policy, which the theory is about; with several agents the worst
    one counts.
    """
    standings = [
        Standing(
            excess_of(policy.feasible.tolist(), policy.relative_violation.tolist()),
            worth_of("gap", False, [policy.gap.max()]),
        )
        for policy in (averaged, last)
    ]
    return "last" if best_first(standings)[:1] == [1] else "averaged"


def summarise(prepared: Prepared, history: Columns, outcome: Outcome) -> dict[str, Any]:
    """Everything ``summary.json`` holds but the timing."""
    config, problem, certificate = prepared.config, prepared.problem, prepared.certificate
    cmdp = problem.cmdp
    averaged = evaluate(cmdp, outcome.averaged_policy, certificate.optimal_value)
    last = evaluate(cmdp, outcome.last_policy, certificate.optimal_value)
    final = {name: float(column[-1]) for name, column in history.items()}
    summary: dict[str, Any] = {
        "algorithm": "fednpg",
        "reference": config.reference,
        "learner": config.learner,
        "merge": merge_of(config),
        "correction": config.correction,
        "problem": problem.name,
        "num_states": cmdp.num_states,
        "num_actions": cmdp.num_actions,
        "num_agents": len(problem.access),
        "num_constraints": cmdp.num_constraints,
        "local_steps": config.local_steps,
        "rounds": int(final["round"]),
        "seed": config.seed,
        "seeds": config.seeds,
        "step_size": float(prepared.hparams.federation.learner.step_size),
        "dual_step_size": float(prepared.hparams.federation.learner.dual_step_size),
        "optimal_value": certificate.optimal_value,
        "optimal_multipliers": dict(
            zip(cmdp.constraint_names, certificate.multipliers, strict=True)
        ),
        "optimal_multipliers_unique": certificate.multipliers_unique,
        "certified_gap": certificate.certified_gap,
        "slater_slack": certificate.slater_slack,
        "average_value": certificate.optimal_value - final["average_gap"],
        "average_gap": final["average_gap"],
        "average_violation": final["average_violation"],
        "strong_violation": final["strong_violation"],
        "occupancy_gap": averaged.gap.mean(),
        "occupancy_violation": averaged.violation.mean(),
        "last_value": final["value"],
        "last_gap": final["gap"],
        "last_violation": final["violation"],
        "feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "feasible_average": bool(averaged.feasible.all()),
        "feasible_last": bool(last.feasible.all()),
        "relative_violation_average": averaged.relative_violation.max(),
        "relative_violation_last": last.relative_violation.max(),
        "recommended_policy": recommended(averaged, last),
        "environment_steps": int(final["environment_steps"]),
        "bytes_exchanged": int(final["bytes_exchanged"]),
        "failed_round": outcome.failed_round,
    }
    summary |= _multipliers(prepared, outcome)
    summary |= _costs(cmdp, averaged, last, "seed" if config.seeds > 1 else "agent")
    summary |= {name: value for name, value in final.items() if name.startswith("worst_")}
    return summary


def certificate_figures(problem: Problem, solution: Certificate) -> dict[str, Any]:
    """What ``solution.json`` holds."""
    cmdp = problem.cmdp

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(cmdp.constraint_names, values.tolist(), strict=True))

    return {
        "problem": problem.name,
        "num_states": cmdp.num_states,
        "num_actions": cmdp.num_actions,
        "num_constraints": cmdp.num_constraints,
        "optimal_value": solution.optimal_value,
        "unconstrained_value": solution.unconstrained_value,
        "optimal_multipliers": named(solution.multipliers),
        "multiplier_intervals": named(solution.multiplier_intervals),
        "multipliers_unique": solution.multipliers_unique,
        "multiplier_bound": solution.multiplier_bound,
        "slater_slack": solution.slater_slack,
        "costs": named(solution.costs),
        "budgets": named(cmdp.budgets),
        "certified_gap": solution.certified_gap,
        "solvers": solution.solvers,
        "disagreement": solution.disagreement,
    }


def _multipliers(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    names, agents = prepared.layout.constraint_names, prepared.hparams.federation.agents
    multipliers = outcome.multipliers
    cap = float(prepared.hparams.federation.learner.multiplier_cap)
    multipliers = multipliers.reshape(-1, *np.shape(agents.weights))
    capped: BoolArray = np.any(multipliers >= cap, axis=0)
    multipliers = multipliers.mean(0)
    by_agent: dict[str, dict[str, float]] = {}
    for agent, slot, constraint in prepared.layout.watched:
        by_agent.setdefault(str(agent), {})[names[constraint]] = multipliers[agent, slot]
    effective: FloatArray | list[None] = [None] * len(names)
    if prepared.config.reference != "no-communication":
        effective = effective_multipliers(
            agents, multipliers, len(names), prepared.hparams.federation.merge_weights
        )
    return {
        "multiplier_cap": cap,
        "multipliers": by_agent,
        "effective_multipliers": dict(zip(names, effective, strict=True)),
        "multipliers_at_cap": [
            f"{agent}/{names[constraint]}"
            for agent, slot, constraint in prepared.layout.watched
            if capped[agent, slot]
        ],
    }


def _costs(cmdp: CMDP, averaged: Evaluated, last: Evaluated, member: str) -> dict[str, Any]:
    names = cmdp.constraint_names
    costs: dict[str, Any] = {
        "budgets": dict(zip(names, cmdp.budgets, strict=True)),
        "occupancy_costs": dict(zip(names, averaged.costs.mean(0), strict=True)),
        "last_costs": dict(zip(names, last.costs.mean(0), strict=True)),
    }
    if len(averaged.costs) > 1:
        costs |= {
            f"occupancy_costs_by_{member}": averaged.costs,
            f"last_costs_by_{member}": last.costs,
            f"occupancy_gap_by_{member}": averaged.gap,
            f"last_gap_by_{member}": last.gap,
            f"occupancy_violation_by_{member}": averaged.violation,
            f"last_violation_by_{member}": last.violation,
            f"feasible_average_by_{member}": averaged.feasible,
            f"feasible_last_by_{member}": last.feasible,
            f"relative_violation_average_by_{member}": averaged.relative_violation,
            f"relative_violation_last_by_{member}": last.relative_violation,
            "worst_occupancy_gap": averaged.gap.max(),
            "worst_occupancy_violation": averaged.violation.max(),
        }
    return costs
