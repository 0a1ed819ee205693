"""Texts of a run on a finite problem: before it starts and when it has ended."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.solve import Certificate
from fedjax_rl.families.tabular.assembly import Prepared, least_share
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.programs import merge_of
from fedjax_rl.families.tabular.training import FedNPGResult
from fedjax_rl.sources.problems import Problem
from fedjax_rl.terminal.live import order_of

CONSTRAINTS_LISTED = 12


def opening(prepared: Prepared) -> str:
    """The text before a run starts: problem, agents, step sizes, exact optimum."""
    config, certificate, cmdp = prepared.config, prepared.certificate, prepared.problem.cmdp
    learner = prepared.hparams.federation.learner
    who = {
        "fed": f"{len(prepared.problem.access)} agents, {config.local_steps} local "
        f"step{'s' * (config.local_steps > 1)} per round, merging {merge_of(config)}",
        "omniscient": "one omniscient agent that sees every cost",
        "no-communication": f"{len(prepared.problem.access)} agents that never communicate",
    }[config.reference]
    lines = [
        f"FedNPG on {_described(prepared.problem)}",
        f"{who}{_how(config)}",
        f"step size {float(learner.step_size):.6g}, dual step size "
        f"{float(learner.dual_step_size):.6g}{_scaled(prepared)}, {config.rounds} rounds",
        f"exact optimum V* = {certificate.optimal_value:.6g} "
        f"(certified to {certificate.certified_gap:.1e}); multipliers "
        f"{_listed(cmdp.constraint_names, certificate.multipliers)}",
    ]
    lines.append(order_of(cmdp.constraint_names))
    return "\n".join([*lines, *_cap(prepared)])


def _cap(prepared: Prepared) -> list[str]:
    """What is to be known of λ_max before the start; nothing of a learner without multipliers."""
    cap, federation = prepared.config.multiplier_cap, prepared.hparams.federation
    if prepared.config.learner == "crpo":
        return []
    largest = prepared.certificate.multipliers.max() / least_share(federation.merge_weights)
    if cap != "auto" and cap < largest:
        return [
            f"Warning: an agent's multiplier may have to be {largest:.4g}, above --multiplier-cap "
            f"{cap:g}; the optimum is out of reach: raise it, or leave it out."
        ]
    if np.isinf(federation.learner.multiplier_cap):
        return [
            "No policy is strictly within every budget, so nothing bounds the multipliers: they "
            "have no cap."
        ]
    return []


def closing(result: FedNPGResult) -> str:
    """The text after a run: both policies against the exact optimum, and warnings."""
    summary, cmdp = result.summary, result.problem.cmdp
    lines = [""]
    if (failed := result.outcome.failed_round) is not None:
        lines.append(
            f"DIVERGED: round {failed} produced a value that is not finite. The state and rows "
            f"up to round {failed - 1} are kept; a smaller --step-size should help."
        )
    for kind, label in (("averaged", "averaged-occupancy"), ("last", "last")):
        lines.append(_policy_sentence(summary, cmdp, kind, label))
    if "occupancy_costs_by_agent" in summary:
        lines.append(_matrix(summary, cmdp))
    if summary["seeds"] > 1:
        lines.append(
            f"Figures are means over {summary['seeds']} seeds; the averaged policy of the worst "
            f"one violates by {summary['worst_occupancy_violation']:.4g}."
        )
    lines.append(_recommendation(result))
    lines.append(
        f"{summary['rounds']} rounds in {summary['seconds']:.1f} s, compiling included; "
        f"{summary['rounds_per_second']:.0f} rounds/s once compiled."
    )
    return "\n".join(lines)


def certificate(problem: Problem, solution: Certificate) -> str:
    """The answer of ``fedjax-rl solve`` as text."""
    cmdp = problem.cmdp
    proof = f"{solution.certified_gap:.1e}   by {' and '.join(solution.solvers)}"
    if solution.disagreement is not None:
        proof += f", which differ by {solution.disagreement:.1e}"
    lines = [
        _described(problem),
        f"  optimal value V*      {solution.optimal_value:.8g}   "
        f"(without constraints {solution.unconstrained_value:.8g})",
        f"  certified gap         {proof}",
        f"  Slater slack          {solution.slater_slack:.6g}   "
        f"(so the multipliers sum to at most {solution.multiplier_bound:.6g})",
        f"  multipliers unique    {_unique(solution.multipliers_unique)}",
        f"  {'constraint':<24}{'cost':>14}{'budget':>14}{'multiplier':>14}",
    ]
    for index, name in enumerate(cmdp.constraint_names):
        lines.append(
            f"  {name:<24}{solution.costs[index]:>14.6g}{cmdp.budgets[index]:>14.6g}"
            f"{solution.multipliers[index]:>14.6g}"
        )
    return "\n".join(lines)


def _how(config: FedNPGConfig) -> str:
    """Settings of the agents that are not the default, for the opening."""
    said = []
    if config.participants is not None:
        said.append(f"{config.participants} drawn in each round")
    if config.learner != "npg" or config.correction != "none":
        corrected = "" if config.correction == "none" else f" with {config.correction}"
        said.append(f"learner {config.learner}{corrected}")
    if config.evaluation == "sampled":
        said.append(f"evaluated by {config.rollouts} rollouts per state and action")
    if config.reference != "fed":
        said.append("policy step divided by the number of agents, for equal pace")
    return "".join(f"; {part}" for part in said)


def _described(problem: Problem) -> str:
    cmdp = problem.cmdp
    text = (
        f"{problem.name} ({cmdp.num_states} states, {cmdp.num_actions} actions, "
        f"{cmdp.num_constraints} constraints, discount {float(cmdp.discount):g})"
    )
    return f"{text}; {cmdp.notes}" if cmdp.notes else text


def _scaled(prepared: Prepared) -> str:
    scale = prepared.hparams.federation.agents.dual_scale
    return "" if np.all(scale == 1.0) else " (times each constraint's scale)"


def _listed(names: tuple[str, ...], numbers: np.ndarray) -> str:
    if len(names) > CONSTRAINTS_LISTED:
        return f"from {numbers.min():.4g} to {numbers.max():.4g}"
    return ", ".join(f"{name} {number:.4g}" for name, number in zip(names, numbers, strict=True))


def _unique(unique: bool | None) -> str:
    return {True: "yes", False: "no: several λ* are optimal", None: "not certified"}[unique]


def _policy_sentence(summary: dict[str, Any], cmdp: CMDP, kind: str, label: str) -> str:
    prefix = "occupancy" if kind == "averaged" else "last"
    gap, optimum = summary[f"{prefix}_gap"], summary["optimal_value"]
    costs = np.array(list(summary[f"{prefix}_costs"].values()))
    over = [
        f"{name} {cost:.4g} against {budget:.4g} ({_percent(cost - budget, budget)})"
        for name, cost, budget in zip(cmdp.constraint_names, costs, cmdp.budgets, strict=True)
        if cost > budget
    ]
    side = "below" if gap >= 0 else "above"
    value = f"{optimum - gap:.6g}, {_percent(abs(gap), optimum, sign=False)} {side} V*"
    feasible = summary["feasible_average" if kind == "averaged" else "feasible_last"]
    verdict = "feasible within tolerance" if feasible else "NOT feasible"
    if not over:
        return f"The {label} policy earns {value}; feasible, every cost is within its budget."
    listed = over[:CONSTRAINTS_LISTED]
    more = f" and {len(over) - len(listed)} more" if len(over) > len(listed) else ""
    return f"The {label} policy earns {value}; {verdict}, over budget: {', '.join(listed)}{more}."


def _recommendation(result: FedNPGResult) -> str:
    """Which policy to take, and whether it keeps the budgets."""
    summary = result.summary
    choice = summary["recommended_policy"]
    allowed = f"{100 * summary['feasibility_tolerance']:g} %"
    if summary["feasible_average" if choice == "averaged" else "feasible_last"]:
        return f"Recommended: the {choice} policy; no cost is more than {allowed} over its budget."
    if "occupancy_costs_by_agent" in summary:
        none = f"Recommended: none; not every agent's policy keeps every budget within {allowed}."
        return f"{none} {_at_cap(result)}".rstrip()
    return (
        f"Recommended: neither is within {allowed} of every budget; the {choice} policy is the "
        f"less violating one. {_at_cap(result) or 'More rounds should help.'}"
    )


def _at_cap(result: FedNPGResult) -> str:
    """What would help a run that is held back by the cap it was given, or nothing."""
    cap, capped = result.config.multiplier_cap, result.summary["multipliers_at_cap"]
    if cap == "auto" or not capped:
        return ""
    listed = ", ".join(capped[:CONSTRAINTS_LISTED])
    if len(capped) > CONSTRAINTS_LISTED:
        listed += f" and {len(capped) - CONSTRAINTS_LISTED} more"
    return f"Multipliers are at --multiplier-cap {cap:g} ({listed}): raise it, or leave it out."


def _percent(part: float, whole: float, sign: bool = True) -> str:
    if whole == 0:
        return f"{part:+.3g}" if sign else f"{part:.3g}"
    return f"{100 * part / abs(whole):{'+' if sign else ''}.2f} %"


def _matrix(summary: dict[str, Any], cmdp: CMDP) -> str:
    if cmdp.num_constraints > CONSTRAINTS_LISTED:
        return (
            f"Figures above are means over agents; the worst agent's gap is "
            f"{summary['worst_occupancy_gap']:.4g}, the worst violation of one "
            f"{summary['worst_occupancy_violation']:.4g}. summary.json has every agent's costs."
        )
    rows = [f"  {'agent':>6}" + "".join(f"{name:>16}" for name in cmdp.constraint_names)]
    for agent, costs in enumerate(np.asarray(summary["occupancy_costs_by_agent"])):
        cells = "".join(
            f"{f'{cost:.4g}' + ('!' if cost > budget else ' '):>16}"
            for cost, budget in zip(costs, cmdp.budgets, strict=True)
        )
        rows.append(f"  {agent:>6}{cells}")
    head = (
        f"Figures above are means over agents; the worst agent violates by "
        f"{summary['worst_occupancy_violation']:.4g}. Costs of each agent's averaged policy "
        "(! over budget):"
    )
    return "\n".join([head, *rows])
