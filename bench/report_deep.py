"""The sections of docs/results.md on networks."""

from __future__ import annotations

import pathlib
import re
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from fedjax_rl.figures.style import COLOURS

TITLES = {
    "fed": "federated",
    "omniscient": "omniscient",
    "no-communication": "no communication",
    "unconstrained": "unconstrained",
}
REASONS: dict[str, str] = {
    "acrobot-theta1-2": (
        "What planning finds on this task nobody learns in a million samples per agent, silent "
        "agents without budgets to keep neither: it is the learner that falls short, and not the "
        "constraints. Rewards still rise at the end. Discounts of 0.995 came to the same (three "
        "seeds)."
    ),
    "acrobot-easier-empty-left-bottom": (
        "Budgets are kept with room to spare. As on the other Acrobot, silent agents reach no more "
        "of what planning finds, and rewards still rise at the end."
    ),
    "pendulum": (
        "No swing-up from rest has fewer than about 7 fast steps of the 8.5 that the budget "
        "allows, so that a policy within the budgets has to be nearly the planned one. Multipliers "
        "rise until costs may take three times the range of rewards. Costs go on falling "
        "along with the deviation of actions, which shrinks slowly: three seeds over 600 rounds "
        "came from 1.9 and 2.3 to 1.5 and 1.6 budgets at a reward of -184. What was tried besides: "
        "a smaller first deviation and one that moves faster, with which all and two of three "
        "seeds never learn to swing up, and a penalty of at most once the range of rewards, which "
        "changed nothing. One federated seed does not swing up at all."
    ),
    "inverted-pendulum-adj3": (
        "Budgets are kept by falling early. Episodes begin in a band that costs, and the gap that "
        "is free of all costs is 0.2 m wide, 0.6 m away. The pole is balanced for 490 of 500 steps "
        "within ten rounds, at 7 to 14 budgets; from there falling is the nearest way to pay less, "
        "since every step costs as much as it earns. The cart does move towards the gap where "
        "costs begin to weigh more slowly, but no run came within the budgets there: least "
        "multipliers of a share of the costs instead of the budget held 500 steps for twenty "
        "rounds at 20 budgets, discounts of 0.998 and slower multipliers (an insistence of 0.02 "
        "and 0.05) for fifty at 4 to 15. Evolution strategies find 500 within the budgets, from "
        "the sum of costs and not step by step."
    ),
    "random-mdp with 8 agents and 1 local step": (
        "The optimum's multipliers, which a linear program knows, take 5.4 of reward with all "
        "budgets together: 1.8 times the range of rewards that learning sees (two agents: 0.3 "
        "times, four: 0.8). The share that all costs may take begins at 0.4 and rises by the error "
        "times the insistence a round, so that it is not there after 200 rounds, for the "
        "omniscient agent as little."
    ),
    "random-mdp with 4 agents and 4 local steps": (
        "Fifty merges. The omniscient agent, which has nothing to merge, comes down to 1.00 of its "
        "budgets in as many steps: it is drift between two merges that is paid for here."
    ),
    "point-robot by natural gradients": (
        "After twenty rounds of two hundred rewards are above what is attainable within budgets; "
        "costs fall from 3.2 of them, and still fall at the end. The omniscient agent is no "
        "faster: it is the step that is slow here, and not "
        "what agents tell each other."
    ),
    "cartpole-pos2 with 4 agents and 4 local steps": (
        "Twenty merges. Multipliers move with every local step, but a policy answers to the costs "
        "of others only at a merge; two of five seeds end above a budget, by 9 % at most."
    ),
    "cartpole-pos2-paper": (
        "The settings of the experiments of arXiv 2405.03236 at a million samples per agent and "
        "local step. Multipliers rise by 1e-3 per round and unit of violation, to 1 at most: they "
        "weigh after fifty rounds, when reward and costs turn back, and end at 0.88 while the "
        "costs still fall. The final window lies in the middle of that, for the omniscient agent "
        "as well."
    ),
    "acrobot-theta1-2-paper": (
        "Both goals are kept, by hardly moving: budgets bind from the first round, and multipliers "
        "have grown before anybody has learned to swing. Federated and omniscient agents settle "
        "below the first policy's reward, so that the normalised scale is turned around: what lies "
        "above 0 is worse than the start. Silent agents break the budgets they do not see."
    ),
    "cartpole-force-adj3-paper": (
        "The same lag: rewards rise to 200 and are taken back while multipliers grow (0.65 to 0.96 "
        "in the end, 1 at most). Costs cross their budgets within the final window and end below "
        "them; the federation does as the omniscient agent does."
    ),
}
"""What is to be said of a row, and why a goal is missed."""
GOAL, OF_ATTAINABLE, ALLOWED, SHARE = 0.9, 0.8, 1.05, 0.8


class Outcome(NamedTuple):
    """What goals are about.

    Attributes:
        share: federated reward of the omniscient agent's, both above the first policy's; NaN where
            that agent earns no more.
        omniscient: its reward, of the attainable.
        worst: the federation's largest mean cost, in budgets.
        within: share of its seeds within every budget.
    """

    share: float
    omniscient: float
    worst: float
    within: float


def learned(figures: dict[str, Any], allowed: dict[str, Any]) -> str:
    """What federated agents learn on constrained tasks.

    Args:
        figures: of `bench.learning`.
        allowed: of `bench.attainable`.
    """
    lines = [
        "## Learning with networks",
        "",
        "FedPPO by its defaults on every task, at the task's own number of agents and E = 1,",
        "beside an omniscient agent and agents that never communicate, at equal samples per agent.",
        "No row has settings of its own but its length (and, where episodes end at random, more of",
        "them to an evaluation); [the defaults were searched](defaults.md).",
        "Reward and costs are those of the merged policy in episodes of its own, means over the",
        "last four evaluations; IQM over seeds with 95 % bootstrap intervals. The normalised",
        "reward is 0 for the first policy and 1 for what is [attainable](#what-the-tasks-allow)",
        "within the budgets by other means. Costs are shares of their budgets; for agents that",
        "never communicate, of the worst agent. A recommended policy was confirmed on fresh",
        "episodes to keep every budget; a collapse is a loss of more than half of what was reached",
        "for 50 rounds. Seconds were measured beside other work on the machine. The rows of the",
        "paper's settings are older than both columns on policies recommended and collapsed.",
        "",
    ]
    lines += _overview(figures["runs"], allowed)
    for name, run in figures["runs"].items():
        lines += _section(name, run, allowed)
    return "\n".join(lines)


def _overview(runs: dict[str, Any], allowed: dict[str, Any]) -> list[str]:
    """One line a row: what counts, and a star where it misses its goal."""
    lines = [
        f"A star marks what misses its goal: federated at least {GOAL} of omniscient, "
        f"omniscient at least {OF_ATTAINABLE} of the attainable, no mean cost above {ALLOWED} of "
        f"its budget, {100 * SHARE:.0f} % of seeds within every budget.",
        "",
        "| | federated / omniscient | omniscient / attainable | largest mean cost / d "
        "| seeds within every budget | recommended |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        own = outcome(run["rows"], *scale(run, allowed))
        recommended = run["rows"]["fed"]["recommended"]
        cells = [
            _starred(own.share, own.share >= GOAL),
            _starred(own.omniscient, own.omniscient >= OF_ATTAINABLE),
            _starred(own.worst, own.worst <= ALLOWED),
            f"{100 * own.within:.0f} %" + " *" * (own.within < SHARE),
            "–" if recommended is None else f"{recommended} of {run['rows']['fed']['seeds']}",
        ]
        lines.append(f"| [{name}](#{anchor_of(name)}) | {' | '.join(cells)} |")
    return [*lines, ""]


def _section(name: str, run: dict[str, Any], allowed: dict[str, Any]) -> list[str]:
    constraints = list(run["rows"]["fed"]["cost_over_budget"])
    low, high = scale(run, allowed)
    named = len(constraints) <= 3
    costs = [f"{constraint} / d" for constraint in constraints] if named else ["largest cost / d"]
    lines = [
        f"### {name}",
        "",
        f"`{run['command']}` ({run['rows']['fed']['seeds']} seeds)",
        "",
        "| | samples per agent, in all | reward | normalised | "
        + " | ".join(costs)
        + " | seeds within every budget | worst seed: reward, cost / d | recommended | collapses "
        "| exchanged | seconds |",
        "|---" * (10 + len(costs)) + "|",
    ]
    lines += [_row(who, row, low, high, named) for who, row in run["rows"].items()]
    lines += ["", _verdict(run["rows"], low, high), ""]
    lines += [f"![Curves of {name}](figures/{file_of(name)}.png)", ""]
    return [*lines, REASONS[name], ""] if name in REASONS else lines


def scale(run: dict[str, Any], allowed: dict[str, Any]) -> tuple[float, float]:
    """Rewards of the first policy, and attainable within the budgets."""
    problem = allowed["tasks"].get(run["problem"])
    high = run["optimal_value"] if problem is None else problem["reward"]["mean"]
    return run["initial_reward"], high


def file_of(name: str) -> str:
    """The name of a row as that of a file."""
    return re.sub("[^a-z0-9]+", "-", name.lower())


def draw_learned(figures: dict[str, Any], directory: pathlib.Path) -> None:
    """Reward and the largest cost of every reference against rounds, a figure for each task."""
    for name, run in figures["runs"].items():
        figure = Figure(figsize=(10, 3.6), layout="constrained", dpi=120)
        reward, cost = figure.subplots(1, 2)
        for colour, (who, row) in zip(COLOURS, run["rows"].items(), strict=False):
            curve = row["curve"]
            for axes, field in ((reward, "reward"), (cost, "cost")):
                title = TITLES[who].replace("`", "")
                axes.plot(curve["round"], curve[f"{field}_50"], color=colour, label=title)
                low, high = curve[f"{field}_25"], curve[f"{field}_75"]
                axes.fill_between(curve["round"], low, high, color=colour, alpha=0.15, lw=0)
        cost.axhline(1.0, color="black", ls="--", lw=1)
        reward.set(xlabel="round", ylabel="reward per episode", title=f"{name}: median, quartiles")
        cost.set(xlabel="round", ylabel="largest cost / budget", title="budget dashed")
        reward.legend(fontsize="small")
        figure.savefig(directory / f"{file_of(name)}.png")


def _row(who: str, row: dict[str, Any], low: float, high: float, named: bool) -> str:
    shares = [_interval(share) for share in row["cost_over_budget"].values()]
    if not named:
        worst = max(row["mean_cost_over_budget"], key=row["mean_cost_over_budget"].__getitem__)
        shares = [_interval(row["cost_over_budget"][worst])]
    known = who == "fed" and row["recommended"] is not None
    recommended = f"{row['recommended']} of {row['seeds']}" if known else "–"
    collapses = "–" if row["collapses"] is None else row["collapses"]
    return (
        f"| {TITLES[who]} | {row['samples_per_agent']:,}, {row['samples']:,} | "
        f"{_interval(row['reward'], 1)} | {_interval(normalised(row['reward'], low, high))} | "
        f"{' | '.join(shares)} | {100 * row['seeds_within_every_budget']:.0f} % | "
        f"{row['worst_seed_reward']:.1f}, {row['worst_cost_over_budget']:.2f} | {recommended} | "
        f"{collapses} | {row['bytes_exchanged'] / 1e6:.1f} MB | {row['seconds']:.0f} |"
    )


def normalised(interval: dict[str, float], low: float, high: float) -> dict[str, float]:
    """An interval of rewards between two of them; IQMs move as rewards do."""
    return {name: (value - low) / (high - low) for name, value in interval.items()}


def _interval(row: dict[str, float], digits: int = 2) -> str:
    return f"{row['iqm']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _verdict(rows: dict[str, Any], low: float, high: float) -> str:
    """Which goals were met, from the figures."""
    alone, own = rows.get("no-communication"), outcome(rows, low, high)
    share, omniscient, worst, within = own
    said = [
        f"The federation reaches {share:.2f} of the omniscient agent "
        f"({_met(share >= GOAL)} {GOAL}), which reaches {omniscient:.2f} of the attainable "
        f"({_met(omniscient >= OF_ATTAINABLE)} {OF_ATTAINABLE})."
        if omniscient > 0
        else "Federated and omniscient agents earn no more than the first policy.",
        f"Its largest mean cost is {worst:.2f} of the budget "
        f"({_met(worst <= ALLOWED)} at most {ALLOWED}), and {100 * within:.0f} % of its seeds keep "
        f"every budget ({_met(within >= SHARE)} {100 * SHARE:.0f} %).",
    ]
    if alone is not None:
        unseen = max(alone["mean_cost_over_budget"].values())
        said += [
            "Agents that never communicate "
            + (
                f"break a budget that they do not see: the largest mean cost is {unseen:.2f} of it."
                if unseen > ALLOWED
                else f"break no budget: the largest mean cost is {unseen:.2f} of it."
            )
        ]
    return " ".join(said)


def outcome(rows: dict[str, Any], low: float, high: float) -> Outcome:
    """What goals are about, of one row."""
    reached, omniscient = (
        normalised(rows[who]["reward"], low, high)["iqm"] for who in ("fed", "omniscient")
    )
    return Outcome(
        share=reached / omniscient if omniscient > 0 else float("nan"),
        omniscient=omniscient,
        worst=max(rows["fed"]["mean_cost_over_budget"].values()),
        within=rows["fed"]["seeds_within_every_budget"],
    )


def _starred(value: float, met: bool) -> str:
    return "–" if value != value else f"{value:.2f}" + " *" * (not met)


def anchor_of(name: str) -> str:
    """The anchor that the site gives to a row's heading."""
    return re.sub(r"[^\w]+", "-", re.sub(r"[^\w\s-]", "", name.lower())).strip("-")


def _met(is_met: bool) -> str:
    return "goal" if is_met else "missed: goal"
