"""``python -m bench.report`` writes docs/results.md from bench/results, and other pages."""

from __future__ import annotations

import math
import pathlib
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench import report_accelerator, report_defaults, report_speed, report_stale
from bench.measured import FIGURES, ROOT, load
from bench.report_attainable import attainable
from bench.report_deep import draw_learned, learned
from fedjax_rl.figures.style import COLOURS

PAGE = ROOT / "docs" / "results.md"


DISTANCE = r"$\Vert \lambda - \lambda^* \Vert_\infty$"


def page() -> str:
    """The whole page."""
    parts = [HEAD, rates(load("rates")), last_iterates(load("last_iterate"))]
    parts += [drift(load("drift")), sampled(load("sampled"))]
    parts += [attainable(load("attainable")), learned(load("learning"), load("attainable"))]
    parts += [report_stale.stale(load("stale")), report_stale.gradients(load("gradients"))]
    return "\n".join(parts)


HEAD = """# Results

This page is written by `python -m bench.report` from the figures in `bench/results`, which
`python -m bench NAME --out bench/results/NAME.json` measures; `python -m bench all --out
bench/results` measures everything. A test holds the page against them.

The named problems are `random-mdp` with 5 states, 5 actions, 4 agents and the seeds listed: the
first twenty whose $\\lambda^*$ is certified unique and in which at least three constraints are
active. Everything is float64; intervals are 95 % stratified bootstrap intervals over problems.
"""


def rates(figures: dict[str, Any]) -> str:
    """Slopes against T."""
    lines = [
        "## FedNPG's rate",
        "",
        r"Each T is a run of its own with $\eta = 2 / \sqrt{T}$ and $\eta_\lambda = 0.1\,\eta$,",
        "evaluated exactly. Slopes are",
        "log–log over T = " + ", ".join(str(rounds) for rounds in figures["rounds"]) + ", medians",
        "over problems. Values that are not positive are left out of a fit and counted: a gap that",
        "is negative has nothing to fall.",
        "",
        f"Seeds: {', '.join(map(str, figures['seeds']))}.",
        "",
        "| E | measure | slope | interval | last two T | first median | last median | not "
        "positive |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in (key for key in figures if key.startswith("E=")):
        for name, row in figures[label].items():
            slope, low, high = (number(x) for x in row["slope"])
            total = 20 * len(figures["rounds"])
            late = number(last_slope(figures["rounds"], row["medians"]))
            lines.append(
                f"| {label[2:]} | {name.replace('_', ' ')} | {slope} | [{low}, {high}] | {late} | "
                f"{row['medians'][0]:.3g} | {row['medians'][-1]:.3g} | "
                f"{row['not_positive']} of {total} |"
            )
    reached, missed = split_by_rate(figures)
    lines += [
        "",
        "The theory has −0.5 for the averaged violation. The interval of its slope reaches",
        f"that for E = {reached}, and does not for E = {missed}: there client drift saturates at",
        r"large $\eta E$ and bends the curve at small T; between the last two T (of the medians)",
        "the slope is the one in the column of that name. The strong violation falls more slowly:",
        "the last iterate circles the optimum, and no round pays for another.",
        "",
    ]
    return "\n".join(lines)


def last_slope(rounds: list[int], medians: list[float]) -> float | None:
    """Log–log slope between the last two T; None where a median is not positive."""
    first, last = medians[-2:]
    if min(first, last) <= 0:
        return None
    return math.log(last / first) / math.log(rounds[-1] / rounds[-2])


def split_by_rate(figures: dict[str, Any]) -> tuple[str, str]:
    """Local steps E whose averaged violation has a slope that reaches −0.5, and the others."""
    lows = {
        label[2:]: row["average_violation"]["slope"][1]
        for label, row in figures.items()
        if label.startswith("E=")
    }
    reached = [steps for steps, low in lows.items() if low <= -0.5]
    missed = [steps for steps in lows if steps not in reached]
    return ", ".join(reached) or "none", ", ".join(missed) or "none"


def last_iterates(figures: dict[str, Any]) -> str:
    """OPG-PD and RPG-PD."""
    fast, biased = figures["optimistic"], figures["regularized"]
    reached = sorted(round for round in fast["reached_in_round"] if round is not None)
    total = len(figures["seeds"])
    missed = ", ".join(map(str, fast["missed_seeds"])) or "none"
    lines = [
        "## Last iterates",
        "",
        rf"**Optimistic** ($\eta = {fast['step_size']}$,",
        rf"$\eta_\lambda = {fast['dual_step_size']}$, four agents):",
        f"gap, violation and {DISTANCE} of the last iterate are below {fast['target']:g} for good",
        f"on {len(reached)} of {total} problems within {fast['rounds']} rounds; the median needs",
        f"{reached[len(reached) // 2]} rounds, the slowest of them {reached[-1]}. Missed: {missed}",
        f"(by seed; largest remaining {DISTANCE} {max(fast['last_multiplier_error']):.1e}).",
        "",
        "**Regularised**: distance of the settled point, medians over problems.",
        "",
        rf"| $\tau$ | gap | violation | {DISTANCE} |",
        "|---|---|---|---|",
    ]
    for index, weight in enumerate(biased["weights"]):
        cells = " | ".join(
            f"{biased[name]['medians'][index]:.3g}"
            for name in ("gap", "violation", "multiplier_error")
        )
        lines.append(f"| {weight:g} | {cells} |")
    slopes = "; ".join(
        f"{name.replace('_', ' ')} {number(biased[name]['slope'][0])} "
        f"[{number(biased[name]['slope'][1])}, {number(biased[name]['slope'][2])}]"
        for name in ("gap", "violation", "multiplier_error")
    )
    lines += ["", rf"Log–log slopes in $\tau$: {slopes}.", ""]
    lines += ["![Distance of the settled point against τ](figures/regularized.png)", ""]
    return "\n".join(lines)


def draw_bias(biased: dict[str, Any], path: pathlib.Path) -> None:
    """The distance of the settled point against τ, with a line of slope one."""
    figure = Figure(figsize=(5.5, 4), layout="constrained", dpi=120)
    axes = figure.subplots()
    weights = biased["weights"]
    for colour, name in zip(COLOURS, ("gap", "violation", "multiplier_error"), strict=False):
        label = name.replace("_", " ")
        axes.loglog(weights, biased[name]["medians"], "o-", color=colour, label=label)
    reference = [weight * biased["violation"]["medians"][-1] / weights[-1] for weight in weights]
    axes.loglog(weights, reference, "--", color="black", lw=1, label="slope 1")
    axes.set(xlabel="τ", ylabel="distance from the optimum (median)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)


def drift(figures: dict[str, Any]) -> str:
    """Client drift."""
    equal = figures["average_violation_by_product_and_local_steps"]
    merges = figures["average_violation_by_product_and_merge"]
    local_steps = list(next(iter(equal.values())))
    lines = [
        "## Client drift",
        "",
        f"Median over problems of the average violation after {figures['rounds']} rounds.",
        "",
        r"| $\eta E$ | "
        + " | ".join(f"E = {steps}" for steps in local_steps)
        + " | merged probabilities, E = 20 |",
        "|---" * (len(local_steps) + 2) + "|",
    ]
    for product, row in equal.items():
        cells = " | ".join(f"{value:.4f}" for value in row.values())
        lines.append(f"| {product} | {cells} | {merges[product]['probabilities']:.4f} |")
    lines += [
        "",
        "![Average violation against η·E](figures/drift.png)",
        "",
        r"At $\eta E = 2$ a control variate makes the average violation smaller by these factors.",
        "What is left is drift within a round: the correction is measured once, at the merged",
        "policy, and ages over the E local steps.",
        "",
        "| E | factor, median over problems | least |",
        "|---|---|---|",
    ]
    for steps, row in figures["control_variate"].items():
        lines.append(f"| {steps} | {row['median_ratio']:.0f} | {row['least_ratio']:.1f} |")
    lines.append("")
    return "\n".join(lines)


def draw_drift(figures: dict[str, Any], path: pathlib.Path) -> None:
    """Average violation against η·E: one curve for each E, and for merged probabilities."""
    figure = Figure(figsize=(5.5, 4), layout="constrained", dpi=120)
    axes = figure.subplots()
    equal = figures["average_violation_by_product_and_local_steps"]
    merges = figures["average_violation_by_product_and_merge"]
    products = [float(product) for product in equal]
    for colour, steps in zip(COLOURS, next(iter(equal.values())), strict=False):
        medians = [row[steps] for row in equal.values()]
        axes.loglog(products, medians, "o-", color=colour, label=f"E = {steps}")
    merged = [merges[product]["probabilities"] for product in equal]
    axes.loglog(products, merged, "s--", color="black", label="E = 20, merged probabilities")
    axes.set(xlabel="η·E", ylabel="average violation (median over problems)")
    axes.set_xticks(products, [f"{product:g}" for product in products], minor=False)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path)


def sampled(figures: dict[str, Any]) -> str:
    """Monte-Carlo evaluation."""
    slope, low, high = (number(x) for x in figures["slope"])
    return "\n".join(
        [
            "## Sampled evaluation",
            "",
            "Mean distance of the value from the exact trajectory over 20 rounds falls with the",
            f"number of rollouts K at a log–log slope of {slope} [{low}, {high}]: "
            + ", ".join(
                f"{error:.3g} at K = {count}"
                for count, error in zip(figures["rollouts"], figures["median_error"], strict=True)
            )
            + ".",
            "",
        ]
    )


def number(value: float | None) -> str:
    """Two digits, or what is said of a slope that is undefined."""
    return "undefined" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    FIGURES.mkdir(exist_ok=True)
    draw_bias(load("last_iterate")["regularized"], FIGURES / "regularized.png")
    draw_drift(load("drift"), FIGURES / "drift.png")
    draw_learned(load("learning"), FIGURES)
    report_stale.draw_gradients(load("gradients"), FIGURES / "gradients.png")
    report_speed.write()
    report_accelerator.write()
    report_defaults.write()
