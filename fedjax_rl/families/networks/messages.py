"""Texts of a run of networks: before it starts, in its live table, when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.collapse import ROUNDS_LOST
from fedjax_rl.families.networks.recommendation import recommendation
from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.figures.numbers import plural
from fedjax_rl.learners.deep.evaluation import STEPS_AT_MOST
from fedjax_rl.terminal.live import order_of, several

HEADER = (
    "round",
    "agent steps",
    "reward",
    "violations (cost - budget)",
    "multipliers",
    "merged: reward",
    "merged: violations",
)
TITLES = {"fedppo": "FedPPO", "fednatural": "Federated natural policy gradient"}


def opening(prepared: DeepPrepared) -> str:
    """The text before a run starts: task, agents, budgets."""
    config, task = prepared.config, prepared.task
    count = prepared.num_agents
    who = {
        "fed": f"{count} agent{'s' * (count > 1)}, {config.local_steps} local "
        f"step{'s' * (config.local_steps > 1)} per round, merging {config.share}",
        "omniscient": "one omniscient agent that sees every cost",
        "no-communication": f"{count} agents that never communicate",
        "one-shot": f"{count} agents that learn alone and are merged once, at the end",
        "unconstrained": "one agent that sees no cost",
    }[config.reference]
    seeds = f", {config.seeds} seeds as one program" if config.seeds > 1 else ""
    budgets = ", ".join(
        f"{name} ≤ {budget:g} per {kind}"
        for name, budget, kind in zip(task.constraint_names, task.budgets, task.kinds, strict=True)
    ).replace("per discounted", "discounted")
    lines = [
        f"{TITLES[prepared.name]} on {config.problem}: {budgets}",
        f"{who}{seeds}; multipliers by {config.duals}",
        f"{config.rounds} rounds of {config.envs} environments × {config.rollout} steps "
        f"per agent and local step; compiling first",
    ]
    if prepared.certificate is not None:
        lines.append(f"exact optimum V* = {prepared.certificate.optimal_value:.6g}")
    lines.append(order_of(task.constraint_names))
    return "\n".join(lines)


def cells(rows: Columns, index: int, prepared: DeepPrepared) -> list[str]:
    """A row of the live table, under `HEADER`."""
    task, count = prepared.task, prepared.num_agents
    pairs = list(zip(task.constraint_names, task.budgets, strict=True))

    def violations(prefix: str) -> str:
        over = [rows[f"{prefix}{name}"][index] - budget for name, budget in pairs]
        return "" if np.isnan(over).all() else several(over, "+.1f")

    multipliers = [rows[name][index] for name in rows if name.startswith("multiplier/")]
    reward, evaluated = rows["reward"][index], rows["evaluation/reward"][index]
    seen = evaluated == evaluated
    return [
        str(int(rows["round"][index])),
        f"{int(rows['environment_steps'][index]) // count}",
        f"{reward:.1f}" if reward == reward else "",
        violations("cost/"),
        several(multipliers, ".2f"),
        f"{evaluated:.1f}" if seen else "",
        violations("evaluation/cost/") if seen else "",
    ]


def closing(result: DeepResult) -> str:
    """The text after a run: reward and costs of the policy, and warnings."""
    summary, config = result.summary, result.prepared.config
    lines = ["", *_diverged(summary)]
    window = summary["evaluations_in_window"]
    lines.append(
        f"Over the last {window} evaluations ({summary['episodes_per_evaluation']} episodes each) "
        f"the {_whose(result)} earn{'s' * ('reward_by_agent' not in summary)} "
        f"{summary['reward']:.4g} per episode:"
    )
    lines += [*_costs(summary), *_unfinished(summary)]
    if "reward_by_agent" in summary:
        lines += _matrix(summary)
    if line := recommendation(summary):
        lines.append(line)
    if summary["collapses"]:
        lines.append(
            f"COLLAPSED: {plural(summary['collapses'], 'time')} the reward fell below half of what "
            f"had been reached within the budgets, for {ROUNDS_LOST} rounds or more."
        )
    if config.seeds > 1:
        share = f"{100 * summary['feasible_share']:.0f} %"
        lines.append(f"Figures are means over {config.seeds} seeds; {share} keep every budget.")
    if summary["multipliers_at_cap"] and not summary["feasible"]:
        largest = max(max(own.values()) for own in summary["multipliers"].values())
        lines.append(
            f"Of the multipliers {summary['multipliers_at_cap']:g} are at their cap: a "
            f"--multiplier-cap above {largest:.3g} would enforce budgets harder."
        )
    if "gap" in summary:
        lines.append(
            f"Evaluated exactly, the last policy is {summary['gap']:+.4g} below V* = "
            f"{summary['optimal_value']:.6g}, and its worst cost is {summary['violation']:+.4g} "
            "above budget."
        )
    lines.append(
        f"{summary['rounds']} rounds in {summary['seconds']:.1f} s, of which compiling took "
        f"{summary['compile_seconds']:.1f} s; {summary['steps_per_second']:.0f} agent-steps/s."
    )
    return "\n".join(lines)


def comparison(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """References side by side: reward, and every cost over its budget."""
    names = list(next(iter(summaries.values()))["budgets"])
    width = max(map(len, summaries)) + 2
    titles = [f"{name}/d" for name in names]
    widths = [max(10, len(title) + 2) for title in titles]
    head = "".join(title.rjust(size) for title, size in zip(titles, widths, strict=True))
    lines = ["", f"{'':{width}}{'reward':>10}{head}  within every budget"]
    for who, summary in summaries.items():
        shares = [
            f"{_share(summary['costs'][name], summary['budgets'][name]):.2f}" for name in names
        ]
        cells = "".join(share.rjust(size) for share, size in zip(shares, widths, strict=True))
        within_budgets = "yes" if summary["feasible"] else "no"
        if summary["seeds"] > 1:
            within_budgets += (
                f"; {100 * summary['feasible_share']:.0f} % of {summary['seeds']} seeds"
            )
        lines.append(f"{who:{width}}{summary['reward']:>10.4g}{cells}  {within_budgets}")
    return "\n".join(lines)


def evaluation(figures: Mapping[str, Any]) -> str:
    """A saved policy in episodes: means and 95 % intervals, beside the budgets."""
    seeds, agents = figures["seeds"], figures["policies_per_seed"]
    each = "each of " * (len(seeds) * agents > 1) + f"{len(seeds) * agents} "
    whose = "policies" if len(seeds) * agents > 1 else "policy"
    names = ["reward", *figures["costs"]]
    width = max(map(len, names)) + 2
    lines = [
        f"{TITLES[figures['algorithm']]} on {figures['problem']}, {figures['reference']}",
        f"{figures['episodes']} episodes of {each}{whose} as it acts, and as many of its mode; "
        f"seed {figures['eval_seed']}",
        f"{'':{width}}{'as it acts':>26}{'its mode':>26}   budget",
    ]
    for name in names:
        means = "".join(_estimate(figures, prefix, name).rjust(26) for prefix in ("", "mode_"))
        lines.append(f"{name:{width}}{means}{_budget(figures, name)}")
    lines.append("± is the half width of a 95 % interval over episodes.")
    lines += _unfinished(figures)
    if len(seeds) * agents > 1:
        lines += _by_policy(figures)
    if "gap" in figures:
        lines.append(
            f"Evaluated exactly, the policy is {figures['gap']:+.4g} below V* = "
            f"{figures['optimal_value']:.6g}, and its worst cost is {figures['violation']:+.4g} "
            "above budget."
        )
    return "\n".join(lines)


def _estimate(figures: Mapping[str, Any], prefix: str, name: str) -> str:
    if name == "reward":
        mean, (_, high) = figures[f"{prefix}reward"], figures[f"{prefix}reward_interval"]
    else:
        mean = figures[f"{prefix}costs"][name]
        high = figures[f"{prefix}cost_intervals"][name][1]
    return f"{mean:.4g} ± {high - mean:.2g}"


def _budget(figures: Mapping[str, Any], name: str) -> str:
    if name == "reward":
        return ""
    cost, budget = figures["costs"][name], figures["budgets"][name]
    above = cost > budget + figures["feasibility_tolerance"] * abs(budget)
    return f"   {budget:g}{'   OVER BUDGET' if above else ''}"


def _by_policy(figures: Mapping[str, Any]) -> list[str]:
    """One line for every stored policy, as it acts."""
    lines = []
    for index, seed in enumerate(figures["seeds"]):
        for agent in range(figures["policies_per_seed"]):
            who = f"seed {seed}" + f", agent {agent}" * (figures["policies_per_seed"] > 1)
            costs = ", ".join(
                f"{name} {by_policy[index][agent]:.4g}"
                for name, by_policy in figures["costs_by_policy"].items()
            )
            reward = figures["reward_by_policy"][index][agent]
            lines.append(f"  {who}: reward {reward:.4g}; {costs}")
    return lines


def _whose(result: DeepResult) -> str:
    if result.prepared.config.reference == "one-shot":
        return "policy merged at the end"
    return "merged policy" if result.prepared.policies == 1 else "agents' own policies"


def _costs(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, cost in summary["costs"].items():
        budget = summary["budgets"][name]
        above = cost > budget + summary["feasibility_tolerance"] * abs(budget)
        lines.append(f"  {name:<24}{cost:>10.4g} of {budget:g}{'   OVER BUDGET' if above else ''}")
    return lines


def _matrix(summary: Mapping[str, Any]) -> list[str]:
    lines = ["Cost of every agent's own policy, of all constraints:"]
    for agent, reward in enumerate(summary["reward_by_agent"]):
        costs = ", ".join(
            f"{name} {by_agent[agent]:.4g}" for name, by_agent in summary["costs_by_agent"].items()
        )
        lines.append(f"  agent {agent}: reward {reward:.4g}; {costs}")
    return lines


def _unfinished(figures: Mapping[str, Any]) -> list[str]:
    """Warnings about episodes that were given up; empty where all ended."""
    return [
        f"GIVEN UP after {STEPS_AT_MOST} steps: {100 * share:.3g} % of the episodes {whose}. Their "
        f"reward and costs are what they had come to by then{consequence}."
        for prefix, whose, consequence in (
            ("", "as it acts", ", and no budget counts as kept"),
            ("mode_", "of its mode", ""),
        )
        if (share := figures[f"{prefix}unfinished_episodes"]) > 0
    ]


def _diverged(summary: Mapping[str, Any]) -> list[str]:
    return [
        f"DIVERGED: seed {failed['seed']} in round {failed['round']}; it is left out of the means "
        "from there on. A smaller --learning-rate should help."
        for failed in summary["failed_seeds"]
    ]


def _share(cost: float, budget: float) -> float:
    return cost / budget if budget else float("nan")
