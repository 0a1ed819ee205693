"""The section of docs/results.md on what the constrained tasks allow."""

from __future__ import annotations

from typing import Any


def attainable(figures: dict[str, Any]) -> str:
    """What is attained within every budget, beside the policy that training starts from."""
    episodes = next(iter(figures["tasks"].values()))["episodes"]
    lines = [
        "## What the tasks allow",
        "",
        "Rewards that are attained within every budget without learning: by plans on a grid",
        "(value iteration with a price on every cost), or by small policies from evolution",
        "strategies. A linear program mixes what was found; each episode draws one of the mixed",
        f"controllers. Means over {episodes:,} fresh episodes of the task with 95 % intervals;",
        "costs as shares of their budgets d. An optimum is at least the reward attained and at",
        "most the bound; the first policy, whose last layer is 0, is what training starts from.",
        "`python -m bench.attainable_search TASK` finds the controllers again.",
        "",
        "| task | method | mixed | reward attained | largest cost / d | first policy | at most |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, row) for name, row in figures["tasks"].items()]
    bounds = {}
    for name, row in figures["tasks"].items():
        bounds.setdefault(row["upper_bound_because"], []).append(f"`{name}`")
    reasons = "; ".join(f"{', '.join(names)}: {because}" for because, names in bounds.items())
    return "\n".join([*lines, "", f"Bounds, and why. {reasons}.", ""])


def _row(name: str, row: dict[str, Any]) -> str:
    method = "plans" if row["planned"] else "evolved"
    shares = {key: cost["mean"] / row["budgets"][key] for key, cost in row["costs"].items()}
    largest = max(shares, key=lambda key: shares[key])
    cost, budget = row["costs"][largest], row["budgets"][largest]
    share = f"{cost['mean'] / budget:.2f} [{cost['low'] / budget:.2f}, {cost['high'] / budget:.2f}]"
    reward, first = row["reward"], row["first_reward"]
    return (
        f"| {name} | {method} | {row['controllers']} | {_interval(reward)} | {share} | "
        f"{_interval(first)} | {row['upper_bound']:g} |"
    )


def _interval(of: dict[str, float]) -> str:
    return f"{of['mean']:.1f} [{of['low']:.1f}, {of['high']:.1f}]"
