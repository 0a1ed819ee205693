"""What docs/performance.md and the README say of speed, from bench/results."""

from __future__ import annotations

import math
import pathlib
import statistics
from typing import Any

from matplotlib.figure import Figure

from bench.measured import FIGURES, ROOT, load, where
from bench.report_sweep import sweeps
from bench.report_workers import scheduler, workers
from fedjax_rl.figures.style import COLOURS

PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
TITLES = {
    "one_agent": "one agent, unconstrained",
    "four_agents": "four agents, a cost each",
    "rejax": "rejax",
    "sb3": "Stable-Baselines3",
}


SECTIONS = ("fednpg", "fedppo", "scheduler", "hetero", "sweep", "workers", "roofline")
"""Benches on the page, in its order."""


def page() -> str:
    """docs/performance.md with its figures made anew; what was written by hand stays."""
    writers = (finite, networks, scheduler, stale, sweeps, workers, roofline)
    parts = [writer(load(name)) for writer, name in zip(writers, SECTIONS, strict=True)]
    return _between(PAGE, "measured", "\n".join(parts))


def readme() -> str:
    """README.md with its table of speed made anew."""
    return _between(README, "speed", in_short(*map(load, ("fednpg", "fedppo", "sweep"))))


def _between(path: pathlib.Path, mark: str, text: str) -> str:
    """A page with the text between two marks."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->\n")
    assert begin and end, f"{path} has no marks {mark}"
    return f"{before}{begin}\n{text}\n{end}{after}"


def write() -> None:
    """Renews the pages and the figures."""
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
    draw_throughput(load("fedppo"))
    draw_roofline(load("roofline"))


def in_short(finite: dict[str, Any], networks: dict[str, Any], swept: dict[str, Any]) -> str:
    """The figures that a reader asks for first."""
    cliff = finite["problems"]["windy-cliff"]
    lines = [
        "| | here | as many times as |",
        "|---|---|---|",
        f"| FedNPG on the windy cliff, rounds per second | "
        f"{cliff['rounds_per_second']['fedjax_rl']['median']:,.0f} | "
        f"plain NumPy: {cliff['over_numpy']:.0f} |",
    ]
    for size in ("64", "1024"):
        row = networks["environments"][size]
        for who, title in (("one_agent", "one agent"), ("four_agents", "four agents, a cost each")):
            over = ", ".join(
                f"{TITLES[peer]} {own[who]:.{1 if own[who] > 4 else 2}f}"
                for peer, own in row["over"].items()
            )
            lines.append(
                f"| FedPPO, {title}, {size} environments, agent-steps per second | "
                f"{row['steps_per_second'][who]['median']:,.0f} | {over} |"
            )
    for name in swept["goals"]["over_processes"]:
        commands, members = swept[name]["commands"], swept[name]["members"]
        seconds = statistics.median(commands["seconds"]["sweep"])
        lines.append(
            f"| a sweep of {name}, {members} members, seconds in all | {seconds:.0f} | "
            f"a process for each member: {commands['over']['side_by_side']['median']:.1f} |"
        )
    return "\n".join([*lines, "", f"{where(finite)}.", ""])


def finite(figures: dict[str, Any]) -> str:
    """Rounds per second of FedNPG."""
    lines = [
        "## FedNPG",
        "",
        f"{where(figures)}: medians of rounds per second, four agents, E = 1, value and costs of",
        "the merged policy evaluated and recorded in every round.",
        "",
        "| problem | fedjax_rl | bare compiled scan | ratio | plain NumPy | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in figures["problems"].items():
        rate = {peer: f"{speed['median']:.0f}" for peer, speed in row["rounds_per_second"].items()}
        lines.append(
            f"| {name} | {rate['fedjax_rl']} | {rate['bare_scan']} | {row['over_bare_scan']:.2f} | "
            f"{rate['numpy']} | {row['over_numpy']:.0f} |"
        )
    agents = ", ".join(
        f"{row['microseconds_per_agent_round']:.2f} µs for N = {count}"
        for count, row in figures["agents"].items()
    )
    memory = ", ".join(
        f"{row['bytes_per_agent']:.0f} for N = {count}" for count, row in figures["agents"].items()
    )
    lines += [
        "",
        f"An agent costs, per round on 20 states and 5 actions: {agents}.",
        f"Bytes per agent: {memory}.",
        f"The first row is there {figures['first_row_seconds']['median']:.1f} s after the command.",
        "",
    ]
    return "\n".join(lines)


def networks(figures: dict[str, Any]) -> str:
    """Environment steps per second against peers and against the number of agents."""
    lines = [
        "## FedPPO",
        "",
        f"{where(figures)}: medians of agent-steps per second, interleaved in one",
        "run. CartPole, actor and critics of two hidden layers of 64 tanh units, 128-step",
        "rollouts, 4 epochs of 4 minibatches. The four agents have a",
        "cost, and a cost critic, each.",
        "",
        "| environments | one agent, unconstrained | four agents | rejax | sb3 | "
        "one agent / rejax | four agents / rejax | one agent / sb3 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, row in figures["environments"].items():
        rate = {name: f"{speed['median']:,.0f}" for name, speed in row["steps_per_second"].items()}
        over = row["over"]
        lines.append(
            f"| {size} | {rate['one_agent']} | {rate['four_agents']} | {rate.get('rejax', '-')} | "
            f"{rate.get('sb3', '-')} | {_ratio(over, 'rejax', 'one_agent')} | "
            f"{_ratio(over, 'rejax', 'four_agents')} | {_ratio(over, 'sb3', 'one_agent')} |"
        )
    for name, reason in figures["skipped"].items():
        lines += ["", f"{name} was skipped: {reason}"]
    lines += [
        "",
        "![Agent-steps per second against environments and agents](figures/throughput.png)",
        "",
        "At 16 environments per agent and four constraints, which the agents watch in turn:",
        "",
        "| N | agent-steps per second | seconds to compile |",
        "|---|---|---|",
    ]
    for count, row in figures["agents"].items():
        lines.append(
            f"| {count} | {row['agent_steps_per_second']:,.0f} | {row['compile_seconds']:.1f} |"
        )
    (many, own), *_ = figures["own_constraints"].items()
    lines += [
        "",
        f"Every step computes and sums up every cost, whoever watches it: with {many} agents and",
        f"as many constraints it is {own['agent_steps_per_second']:,.0f} agent-steps per second.",
        "",
    ]
    return "\n".join(lines)


def stale(figures: dict[str, Any]) -> str:
    """Learner steps and tokens per second, the cache, and the time of a table."""
    lines = [
        "## Stale data",
        "",
        f"{where(figures)}, batches of 8 × 8 responses; sampling, learning and",
        "diagnostics together. The transformer has 2 layers of width 64.",
        "",
        "| policy | response length | learner steps/s | tokens/s | seconds to compile |",
        "|---|---|---|---|---|",
    ]
    for policy, lengths in figures["steps"].items():
        for length, row in lengths.items():
            lines.append(
                f"| {policy} | {length} | {row['steps_per_second']:,.1f} | "
                f"{row['tokens_per_second']:,.0f} | {row['compile_seconds']:.1f} |"
            )
    cache = ", ".join(f"{row['ratio']:.1f} at length {n}" for n, row in figures["cache"].items())
    table, ring = figures["table"], figures["ring"]
    lines += [
        "",
        f"Sampling with the key/value cache is faster than full recomputation by {cache}.",
        f"3 windows × 3 losses × 8 seeds of {table['steps']} steps on the table take "
        f"{table['seconds']:.0f} s, {table['compile_seconds']:.0f} s of them compiling.",
        "The ring of past parameters at W = 64 (staleness of at most 128) holds at most "
        + ", ".join(f"{row['at_most'] / 2**20:.1f} MiB for a {who}" for who, row in ring.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def draw_throughput(figures: dict[str, Any]) -> None:
    """Agent-steps per second: against peers, and against the number of agents."""
    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=110)
    peers, agents = figure.subplots(1, 2)
    for index, (name, title) in enumerate(TITLES.items()):
        rows = {
            int(size): row["steps_per_second"][name]
            for size, row in figures["environments"].items()
            if name in row["steps_per_second"]
        }
        middle = [row["median"] for row in rows.values()]
        spread = [
            [row["median"] - row["least"] for row in rows.values()],
            [row["most"] - row["median"] for row in rows.values()],
        ]
        look: Any = {"color": COLOURS[index], "marker": "os^D"[index], "capsize": 3}
        peers.errorbar(list(rows), middle, spread, label=title, **look)
    rows = {int(count): row["agent_steps_per_second"] for count, row in figures["agents"].items()}
    agents.plot(list(rows), list(rows.values()), "o-", color=COLOURS[0])
    agents.set_ylim(bottom=0)
    peers.set(xlabel="environments", ylabel="agent-steps per second", yscale="log")
    agents.set(xlabel="agents, 16 environments each")
    for axes in (peers, agents):
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
    peers.legend(fontsize=7)
    figure.savefig(FIGURES / "throughput.png")


def roofline(figures: dict[str, Any]) -> str:
    """Programs against the machine's peaks."""
    limits = figures["peaks"]
    rate = {name: f"{value / 1e9:.3g}" for name, value in limits["per_second"].items()}
    speeds = ", ".join(
        f"{speed / 1e9:.0f} GB/s ({_bytes(int(size))})"
        for size, speed in limits["bandwidth"].items()
    )
    lines = [
        "## Roofline",
        "",
        f"{where(figures)}. Compiled programs that do nothing else reach, in 10⁹ per second:",
        f"{rate['float32']} additions and products in float32 (a matrix product), "
        f"{rate['float64']} in float64, {rate['tanh float32']} and {rate['tanh float64']}",
        f"hyperbolic tangents; and stream {speeds}.",
        "",
        "What a round does is XLA's own count of the compiled program, the bodies of loops counted",
        "as often as they run, factorisations added by the textbook. The limit is the larger of",
        "two times: that of its arithmetic at those peaks, and that of its bytes out of the",
        "fastest cache: a lower bound on what a round can take.",
        "",
        "| a round of | flops | transcendentals | bytes | flops per byte | held in | limit | "
        "measured | share | bound by |",
        "|---" * 10 + "|",
    ]
    for name, program in figures["programs"].items():
        lines.append(
            f"| {name} | {program['flops']:.3g} | {program['transcendentals']:.3g} | "
            f"{program['bytes']:.3g} | {program['flops'] / program['bytes']:.2f} | "
            f"{_bytes(program['footprint'])} | {_seconds(program['needed'][program['bound']])} | "
            f"{_seconds(program['seconds'])} | {100 * program['share']:.0f} % | "
            f"{program['bound']} |"
        )
    return "\n".join([*lines, "", "![Programs under the roof](figures/roofline.png)", ""])


def draw_roofline(figures: dict[str, Any]) -> None:
    """Operations per second against operations per byte, under two roofs."""
    figure = Figure(figsize=(7, 4), layout="constrained", dpi=110)
    axes = figure.subplots()
    limits = figures["peaks"]
    sizes = {int(size): speed for size, speed in limits["bandwidth"].items()}
    reach = [2.0**power for power in range(-6, 8)]
    roofs = (("float32", min(sizes), "-", "cache"), ("float32", max(sizes), "--", "memory"))
    for dtype, size, line, held in roofs:
        peak = limits["per_second"][dtype]
        roof = [min(peak, at * sizes[size]) / 1e9 for at in reach]
        axes.plot(reach, roof, line, color="black", lw=1, label=f"float32, out of {held}")
    for index, (name, program) in enumerate(figures["programs"].items()):
        at, done = program["flops"] / program["bytes"], program["flops"] / program["seconds"] / 1e9
        look: Any = {"marker": "osD^vP*Xh"[index % 9], "color": COLOURS[index % len(COLOURS)]}
        axes.plot(at, done, ls="none", label=name, **look)
    axes.set(xlabel="flops per byte", ylabel="10⁹ flops per second", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(FIGURES / "roofline.png")


def _bytes(count: int) -> str:
    power = min(3, int(math.log2(max(count, 1)) // 10))
    return f"{count / 2 ** (10 * power):.3g} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _seconds(value: float) -> str:
    return f"{1e6 * value:.3g} µs" if value < 1e-3 else f"{1e3 * value:.3g} ms"


def _ratio(over: dict[str, Any], peer: str, mine: str) -> str:
    return f"{over[peer][mine]:.2f}" if peer in over else "-"
