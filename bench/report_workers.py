"""Sections of docs/performance.md on processes: workers of sweeps, and XLA's scheduler in one."""

from __future__ import annotations

from typing import Any

from bench.measured import where
from bench.report_sweep import goal_of, middle, spread_of

STATES = {"compiled_anew": "compiled anew", "found_compiled": "found compiled"}


def workers(figures: dict[str, Any]) -> str:
    """A sweep by one worker to a core against one by one process."""
    lines = [
        "## Workers",
        "",
        f"{where(figures)}; medians [least, most] of turns in which both took part, each in a",
        "fresh process, from the command to the last file.",
        "",
        "| | members | programs | one process, s | by default, s | times as fast | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {name: figures[name] for name in figures["goals"]}
    for name, row in found.items():
        for state, title in STATES.items():
            seconds, over = row[state]["seconds"], row[state]["over_one"]
            goal = goal_of(over["median"], figures["goals"][name])
            lines.append(
                f"| {name} | {row['members']} | {title} | {middle(seconds['one'])} | "
                f"{middle(seconds['default'])} | {spread_of(over, 2)} | {goal} |"
            )
    lines.append("")
    for name, row in found.items():
        same = "the same bits" if row["same_bits"] else "other bits"
        lines += [f"**{name}**: `{row['command']}`; {row['plan']}; {same}.", ""]
    return "\n".join(lines)


def scheduler(figures: dict[str, Any]) -> str:
    """FedPPO without XLA's scheduler of concurrent operations, against with it."""
    lines = [
        "## The scheduler",
        "",
        "XLA's scheduler of concurrent operations is",
        "[switched off](architecture.md#why-it-never-hangs) for every process.",
        f"{where(figures)}: so many times as fast as with it is FedPPO on CartPole without it,",
        "two processes in turns, medians [least, most].",
        "",
        "| environments | one agent | four agents |",
        "|---|---|---|",
    ]
    for size, over in figures["over"].items():
        cells = [spread_of(over[who], 2) for who in ("one_agent", "four_agents")]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
