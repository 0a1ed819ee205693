"""docs/defaults.md: how the defaults of networks were chosen, and the landscape around them."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.measured import FIGURES, ROOT, load, where
from fedjax_rl.figures.style import COLOURS

PAGE = ROOT / "docs" / "defaults.md"

HEAD = """# One default for every task

This page is written by `python -m bench.report` from `bench/results/defaults.json`, which
`python -m bench defaults --out bench/results/defaults.json` measures.

What a user's own task gets is the defaults and not somebody's tuning. So they were searched with
the *worst* task's score as the objective. A score is the reward of federated agents between the
policy that training starts from (0) and what is attainable within the budgets by other means than
learning (1, see [results](results.md#what-the-tasks-allow); of the random finite problem the
optimum of a linear program). It is 0 where a mean cost is above {breach} of its budget. Runs are
short, so that a setting also has to be quick.
"""


def page(figures: dict[str, Any]) -> str:
    """The whole page."""
    tuned = [name for name, target in figures["targets"].items() if target["tuned"]]
    held_out = [name for name in figures["targets"] if name not in tuned]
    seeds = figures["seeds"]
    lines = [
        HEAD.format(breach=figures["breach"]),
        f"{where(figures)}: {len(figures['trials'])} trials of Optuna's TPE (the first ten at "
        f"random), {seeds} seeds each, on {', '.join(f'`{name}`' for name in tuned)}. Held out, "
        f"with other seeds: {', '.join(f'`{name}`' for name in held_out)}.",
        "",
        "## The landscape",
        "",
        "Every trial, the best first: the least score, what was drawn, and for each task the "
        "reward and the largest mean cost over its budget.",
        "",
        *table(figures, tuned),
        "",
        "![Scores against each setting](figures/defaults.png)",
        "",
        "## What was chosen",
        "",
        *chosen(figures),
        "",
    ]
    return "\n".join(lines)


def table(figures: dict[str, Any], tuned: list[str]) -> list[str]:
    """One row a trial."""
    names = list(figures["laws"])
    lines = [
        "| score | " + " | ".join(f"`{name}`" for name in [*names, *tuned]) + " |",
        "|---" * (1 + len(names) + len(tuned)) + "|",
    ]
    for trial in sorted(figures["trials"], key=lambda trial: -mean_score(trial)):
        drawn = [_value(trial["settings"][name]) for name in names]
        tasks = [_outcome(trial["tasks"][name]) for name in tuned]
        lines.append(" | ".join([f"| {trial['score']:.2f}", *drawn, *tasks]) + " |")
    return lines


def mean_score(trial: dict[str, Any]) -> float:
    """By the least score, then by their mean: many a trial has a task at 0."""
    return trial["score"] + 1e-3 * float(np.mean([one["score"] for one in trial["tasks"].values()]))


def chosen(figures: dict[str, Any]) -> list[str]:
    """The defaults beside the best trial, on tasks that were tuned on and that were not."""
    lines = [
        "| setting | " + " | ".join(f"`{name}`" for name in figures["laws"]) + " |",
        "|---" * (1 + len(figures["laws"])) + "|",
    ]
    for who, settings in figures["chosen"].items():
        lines.append(
            f"| {who} | " + " | ".join(_value(settings[name]) for name in figures["laws"]) + " |"
        )
    lines += ["", "| task | " + " | ".join(figures["chosen"]) + " |"]
    lines += ["|---" * (1 + len(figures["chosen"])) + "|"]
    for group, said in (("tuned", ""), ("held_out", ", held out")):
        for name in next(iter(figures[group].values())):
            scores = [_scored(figures[group][who][name]) for who in figures["chosen"]]
            lines.append(f"| {name}{said} | " + " | ".join(scores) + " |")
    return [*lines, "", judged(figures)]


def judged(figures: dict[str, Any]) -> str:
    """Whether the best trial does better than the defaults: on what it was chosen by, and else."""
    least = {
        (group, who): min(one["score"] for one in figures[group][who].values())
        for group in ("tuned", "held_out")
        for who in figures["chosen"]
    }
    more = [name for name in ("tuned", "held_out") if least[name, "best"] > least[name, "defaults"]]
    said = {
        "tuned": "on the tasks that were searched on",
        "held_out": "on those that were held out",
    }
    figures_said = "; ".join(
        f"{words}: {least[group, 'best']:.2f} of the best trial, "
        f"{least[group, 'defaults']:.2f} of the defaults"
        for group, words in said.items()
    )
    verdict = (
        "The best trial is ahead on both, and its settings ought to be the defaults."
        if len(more) == 2
        else "The defaults stand: the best trial is not ahead on both."
    )
    ratios = [
        figures["chosen"]["best"][name] / default
        for name, default in figures["chosen"]["defaults"].items()
    ]
    return (
        f"Least scores {figures_said}. {verdict} Its settings are {min(ratios):.2f} to "
        f"{max(ratios):.2f} times the defaults'."
    )


def draw(figures: dict[str, Any], path: pathlib.Path) -> None:
    """The score of each task against each setting, one mark a trial."""
    names = list(figures["laws"])
    tuned = [name for name, target in figures["targets"].items() if target["tuned"]]
    figure = Figure(figsize=(12, 2.6 * -(-len(names) // 4)), layout="constrained", dpi=110)
    for axes, name in zip(figure.subplots(-(-len(names) // 4), 4).flat, names, strict=False):
        for colour, task in zip(COLOURS, tuned, strict=False):
            drawn = [trial["settings"][name] for trial in figures["trials"]]
            scores = [trial["tasks"][task]["score"] for trial in figures["trials"]]
            axes.scatter(drawn, scores, s=18, color=colour, label=task, alpha=0.8)
        if figures["laws"][name].startswith("log"):
            axes.set_xscale("log")
        axes.set(xlabel=name, ylim=(-0.05, 1.05))
    figure.axes[0].set_ylabel("score")
    figure.axes[0].legend(fontsize="x-small")
    figure.savefig(path)


def write() -> None:
    """The page and its figure."""
    figures = load("defaults")
    PAGE.write_text(page(figures), encoding="utf-8")
    draw(figures, FIGURES / "defaults.png")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _outcome(one: dict[str, Any]) -> str:
    if one["reward"] is None:
        return "diverged"
    return f"{one['reward']:.1f} at {one['worst_cost']:.2f}"


def _scored(one: dict[str, Any]) -> str:
    return f"{one['score']:.2f} ({_outcome(one)} d)" if one["reward"] is not None else "diverged"
