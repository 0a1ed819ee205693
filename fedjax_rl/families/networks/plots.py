"""PNG plots of runs of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.figures.style import COLOURS, STYLE, save


def plot_run(result: DeepResult, directory: Path) -> None:
    """Writes reward.png, costs.png and multipliers.png."""
    draws: dict[str, Callable[[DeepResult], Figure]] = {
        "reward.png": reward,
        "costs.png": costs,
        "multipliers.png": multipliers,
    }
    with matplotlib.rc_context(STYLE):
        for name, draw in draws.items():
            save(draw(result), directory / name)


def plot_comparison(results: Mapping[str, DeepResult], directory: Path) -> None:
    """Writes comparison.png; the references by name."""
    with matplotlib.rc_context(STYLE):
        save(references(results), directory / "comparison.png")


def reward(result: DeepResult) -> Figure:
    """Reward of the evaluated policy, as it acts and of its mode."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    evaluations = result.evaluations
    _band(axes, result, evaluations.reward, COLOURS[0], "policy")
    _band(axes, result, evaluations.mode_reward, COLOURS[1], "its mode")
    axes.set(xlabel="environment steps of each agent", ylabel="reward per episode")
    axes.set_title(result.prepared.config.problem)
    axes.legend()
    return figure


def costs(result: DeepResult) -> Figure:
    """Every cost of the evaluated policy and its budget."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    task = result.prepared.task
    for index, name in enumerate(task.constraint_names):
        colour = COLOURS[index % len(COLOURS)]
        _band(axes, result, result.evaluations.costs[..., index], colour, name)
        axes.axhline(float(task.budgets[index]), color=colour, ls="--", lw=1)
    axes.set(xlabel="environment steps of each agent", ylabel="cost", title="budgets dashed")
    axes.legend()
    return figure


def multipliers(result: DeepResult) -> Figure:
    """Each agent's multipliers."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = result.history["environment_steps"] // result.prepared.num_agents
    names = [name for name in result.history if name.startswith("multiplier/")]
    for index, name in enumerate(names[: len(COLOURS)]):
        _, agent, constraint = name.split("/", 2)
        label = f"agent {agent}, {constraint}"
        axes.plot(steps, result.history[name], color=COLOURS[index], label=label)
    axes.set(xlabel="environment steps of each agent", ylabel="multiplier")
    if names:
        axes.legend()
    return figure


def references(results: Mapping[str, DeepResult]) -> Figure:
    """Reward, and every cost over its budget, of each reference against steps of an agent."""
    first = next(iter(results.values())).prepared.task
    panels = 1 + first.num_constraints
    figure = Figure(figsize=(4 * panels, 4), layout="constrained")
    (left, *others) = np.atleast_1d(figure.subplots(1, panels)).tolist()
    for colour, (name, result) in zip(COLOURS, results.items(), strict=False):
        _band(left, result, result.evaluations.reward, colour, name)
        for index, axes in enumerate(others):
            _band(axes, result, result.evaluations.costs[..., index], colour, name)
    left.set(xlabel="environment steps of each agent", ylabel="reward per episode")
    for index, axes in enumerate(others):
        axes.axhline(float(first.budgets[index]), color="black", ls="--", lw=1)
        axes.set(xlabel="environment steps of each agent", title="budget dashed")
        axes.set_ylabel(f"cost {first.constraint_names[index]}")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _band(axes: Axes, result: DeepResult, values: np.ndarray, colour: str, label: str) -> None:
    """Mean over seeds and policies, and the range between them where there are several.

    Args:
        axes: where to draw.
        result: whose evaluations they are.
        values: [Q, K, P].
        colour: of the line.
        label: in the legend.
    """
    steps = result.evaluations.environment_steps // result.prepared.num_agents
    flat: Any = np.ma.masked_invalid(values.reshape(len(values), -1))
    marker = "o" if len(flat) < 4 else None
    axes.plot(steps, flat.mean(1), color=colour, label=label, marker=marker)
    if flat.shape[1] > 1:
        axes.fill_between(steps, flat.min(1), flat.max(1), color=colour, alpha=0.15, lw=0)
