"""The section of docs/performance.md on sweeps."""

from __future__ import annotations

from typing import Any

from bench.measured import where

WAYS = {
    "side_by_side": "a process for each member, two side by side",
    "one_after_another": "a process for each member, one after another",
    "lean": "two side by side that write nothing and find their programs compiled",
}
RUNGS = {
    "computed": "computing rows (and evaluations)",
    "rows": "keeping all rows, taking them to the host at the end",
    "visits": "visits of the host",
    "figures": "figures and curves of every member",
    "files": "files",
    "whole": "checkpoints, once a minute",
}
BESIDE = {
    "saved_at_every_visit": "a checkpoint at every visit would be",
    "guarded": "a guard on every round, which only a sweep with a member that failed has, would be",
}


def sweeps(figures: dict[str, Any]) -> str:
    """Speed of whole sweeps, what surrounds the program, devices, and accelerators."""
    found = {name: figures[name] for name in figures["goals"]["over_processes"]}
    lines = [
        "## Sweeps",
        "",
        f"{where(figures)}; medians [least, most] of turns in which all took part.",
        "",
    ]
    for name, row in found.items():
        swept = " × ".join(f"{count} values of {what}" for what, count in row["grid"].items())
        lines += [f"**{name}**: {row['members']} members, {swept}, `{row['command']}`.", ""]
    lines += [*against(found, figures["goals"]), *overhead(found, figures["goals"])]
    lines += [*devices(found), *accelerators(found)]
    return "\n".join(lines)


def against(found: dict[str, Any], goals: dict[str, Any]) -> list[str]:
    """One program against processes and a loop over members."""
    lines = [
        "Seconds of all members from the command to the last file, imports and compilation",
        "included; those of processes are extrapolated from a few of them.",
        "",
        "| | members | seconds | times as fast is the sweep | goal |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        commands, measured = row["commands"], row["inside"]
        seconds = commands["seconds_of_all_members"]
        lines.append(f"| {name}: one sweep | {row['members']} | {middle(seconds['sweep'])} | | |")
        for way, title in WAYS.items():
            over = commands["over"][way]
            goal = goal_of(over["median"], goals["over_processes"][name])
            goal = goal if way == "side_by_side" else ""
            lines.append(
                f"| {name}: {title} | {commands['processes']} | {middle(seconds[way])} | "
                f"{spread_of(over)} | {goal} |"
            )
        rate, over = measured["members_per_second"], measured["over_one_by_one"]
        loop = row["members"] / rate["one_by_one"]["median"]
        lines.append(
            f"| {name}: a loop over members, after compilation | {measured['loop_members']} | "
            f"{loop:.1f} | {spread_of(over)} ({over['with_compilation']:.1f} with compilation) | |"
        )
    lines.append("")
    for name, row in found.items():
        measured, rate = row["inside"], row["inside"]["members_per_second"]
        lines += [
            f"{name} compiles {measured['compile_seconds']['program']:.1f} s (of one member: "
            f"{measured['compile_seconds']['one_by_one']:.1f} s), and then does "
            f"{spread_of(rate['program'], 2)} members per second, {measured['side_by_side']} side "
            f"by side (one after another: {spread_of(rate['one_by_one'], 2)}).",
            "",
        ]
    return lines


def overhead(found: dict[str, Any], goals: dict[str, Any]) -> list[str]:
    """What a run takes beyond its bare program."""
    lines = [
        "What surrounds the program, as shares of the whole run after compilation. Bare is one",
        "call that keeps nothing but the state, so that the compiler leaves out all metrics.",
        "",
        f"| | {' | '.join(found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    for part, title in RUNGS.items():
        cells = " | ".join(_share(row["inside"]["parts"][part]) for row in found.values())
        lines.append(f"| {title} | {cells} |")
    for key, title in (
        ("overhead", "all of it"),
        ("overhead_beside_computing_rows", "all but computing rows"),
    ):
        cells = " | ".join(
            f"{_share(row['inside'][key])}, "
            f"{'goal' if row['inside'][key]['median'] < goals['overhead'] else 'missed: goal'} "
            f"under {100 * goals['overhead']:g} %"
            for row in found.values()
        )
        lines.append(f"| {title} | {cells} |")
    lines.append("")
    for part, title in BESIDE.items():
        cells = ", ".join(
            f"{_share(row['inside']['parts'][part])} with {name}" for name, row in found.items()
        )
        lines.append(f"{title[0].upper()}{title[1:]} {cells}.")
    return [*lines, ""]


def devices(found: dict[str, Any]) -> list[str]:
    """Forced devices of one processor against one."""
    lines = [
        "Devices that a processor is made into share its cores: there is nothing to gain but",
        "cores that one program leaves idle. Members per second after compilation:",
        "",
        "| | dealt | members | one device | forced devices | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        for axis, own in row["devices"].items():
            rate = own["members_per_second"]
            goal = goal_of(own["over_one"], 1.0) if axis == "members" else ""
            lines.append(
                f"| {name} | {axis} | {own['members']} | {spread_of(rate['one'], 2)} | "
                f"{own['devices']}: {spread_of(rate['forced'], 2)} | {own['over_one']:.2f} | "
                f"{goal} |"
            )
    return [*lines, ""]


def accelerators(found: dict[str, Any]) -> list[str]:
    """Members per second against members."""
    lines: list[str] = []
    for name, row in found.items():
        measured = row["saturation"]
        if "not_measured" in measured:
            lines.append(f"{name} on an accelerator was not measured: {measured['not_measured']}.")
            continue
        counts = ", ".join(
            f"{own['members_per_second']['median']:.2f} with {count}"
            for count, own in measured["counts"].items()
        )
        lines.append(f"{name} on {measured['device']}, members per second: {counts} side by side.")
    return [*lines, ""]


def middle(values: list[float]) -> str:
    """Their median, and between what they lie."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.0f} [{ordered[0]:.0f}, {ordered[-1]:.0f}]"


def spread_of(row: dict[str, float], digits: int = 1) -> str:
    """Median, least and most."""
    return f"{row['median']:.{digits}f} [{row['least']:.{digits}f}, {row['most']:.{digits}f}]"


def _share(row: dict[str, float]) -> str:
    median, least, most = (100 * row[name] for name in ("median", "least", "most"))
    return f"{median:.1f} % [{least:.1f}, {most:.1f}]"


def goal_of(value: float, goal: float) -> str:
    """The goal, and whether it is missed."""
    return f"{'' if value >= goal else 'missed: '}at least {goal:g}"
