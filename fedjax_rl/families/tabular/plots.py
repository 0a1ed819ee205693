"""PNG plots of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.columns import Columns
from fedjax_rl.families.tabular.training import FedNPGResult
from fedjax_rl.figures.style import COLOURS, DASHES, POINTS_DRAWN, STYLE, save

CURVES_DRAWN = 7
LEGEND_COLUMNS = 3


def plot_run(result: FedNPGResult, directory: Path) -> None:
    """Writes value.png, costs.png and multipliers.png."""
    with matplotlib.rc_context(STYLE):
        for name, draw in (
            ("value.png", value_and_gap),
            ("costs.png", costs_and_budgets),
            ("multipliers.png", multipliers),
        ):
            save(draw(result), directory / name)


def value_and_gap(result: FedNPGResult) -> Figure:
    """Value against V*, and the average gap and violations on logarithmic axes."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = _thinned(result)
    rounds = result.history["round"][at]
    left.plot(rounds, result.history["value"][at], color=COLOURS[0], label="merged policy")
    left.axhline(result.certificate.optimal_value, color=COLOURS[6], ls="--", label="optimum V*")
    left.set(xlabel="round", ylabel="value", title=result.problem.name)
    left.legend()
    labels = {
        "average_gap": "[gap]₊ of the average",
        "average_violation": "[violation]₊ of the average",
        "strong_violation": "average of [violation]₊",
    }
    right.set(xlabel="round", title="distance from the optimum")
    for colour, (name, label) in zip(COLOURS, labels.items(), strict=False):
        positive = (result.history[name][at] > 0) & (rounds > 0)
        if positive.any():
            shown = np.where(positive, result.history[name][at], np.nan)
            right.loglog(rounds[1:], shown[1:], color=colour, label=label)
            right.legend()
    return figure


def variants(runs: Mapping[str, Sequence[tuple[Mapping[str, Any], Columns]]]) -> Figure:
    """Average violation and absolute average gap, against rounds and against local steps.

    Args:
        runs: row and curves of every seed, by variant; lines are means over seeds.
    """
    lines = -(-len(runs) // LEGEND_COLUMNS)
    figure = Figure(figsize=(11, 8 + 0.25 * lines), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row")
    names = {
        "average_violation": "[average violation]₊",
        "average_gap": "|average gap|, the absolute value",
    }
    for row, (column, label) in zip(axes, names.items(), strict=True):
        positive = False
        for index, (name, seeds) in enumerate(runs.items()):
            rounds, values = _mean(column, [curves for _, curves in seeds])
            values = np.abs(values) if column == "average_gap" else values
            shown = np.where(values > 0, values, np.nan)
            positive |= bool((values > 0).any())
            colour, dashes = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % 4]
            for axis, pace in zip(row, (1, seeds[0][0]["local_steps"]), strict=True):
                axis.plot(rounds * pace, shown, color=colour, ls=dashes, label=name)
        for axis, against in zip(row, ("round", "local steps (rounds · E)"), strict=True):
            axis.set(xlabel=against, ylabel=label if positive else f"{label}: nowhere positive")
            if positive:
                axis.set(xscale="log", yscale="log")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS)
    figure.suptitle(next(iter(runs.values()))[0][0]["problem"])
    return figure


def _mean(column: str, seeds: Sequence[Columns]) -> tuple[np.ndarray, np.ndarray]:
    """Rounds from 1 on that all seeds have, and means over seeds there."""
    finite = [curves["round"][np.isfinite(curves["round"])] for curves in seeds]
    length = min(map(len, finite))
    return finite[0][1:length], np.mean([curves[column][1:length] for curves in seeds], 0)


def costs_and_budgets(result: FedNPGResult) -> Figure:
    """Each constraint's discounted cost and its budget."""
    budgets = result.problem.cmdp.budgets
    curves = [[f"cost/{name}"] for name in result.problem.cmdp.constraint_names]
    return _against(result, curves, budgets, "discounted cost", "budgets dashed")


def multipliers(result: FedNPGResult) -> Figure:
    """Each owner's multipliers against λ*."""
    curves = [
        [column for column in result.history if _of_constraint(column, name)]
        for name in result.problem.cmdp.constraint_names
    ]
    caption = "λ* dashed"
    if (most := max(map(len, curves))) > CURVES_DRAWN:
        caption += f"; of {most} agents' the first {CURVES_DRAWN}"
    drawn = [each[:CURVES_DRAWN] for each in curves]
    return _against(result, drawn, result.certificate.multipliers, "multiplier", caption)


def _against(
    result: FedNPGResult,
    curves: list[list[str]],
    references: FloatArray,
    quantity: str,
    caption: str,
) -> Figure:
    """Columns of each constraint against its reference, for the constraints that bind most."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    at = _thinned(result)
    names = result.problem.cmdp.constraint_names
    order = np.argsort(-result.certificate.multipliers, kind="stable")[:CURVES_DRAWN]
    for colour, index in zip(COLOURS, sorted(order), strict=False):
        for position, column in enumerate(curves[index]):
            label = names[index] if position == 0 else None
            axes.plot(
                result.history["round"][at], result.history[column][at], color=colour, label=label
            )
        axes.axhline(references[index], color=colour, ls="--", lw=1)
    some = "" if len(order) == len(names) else f"; the {len(order)} tightest of {len(names)}"
    axes.set(xlabel="round", ylabel=quantity, title=caption + some)
    axes.legend()
    return figure


def _of_constraint(column: str, name: str) -> bool:
    kind, _, rest = column.partition("/")
    return kind == "multiplier" and rest.partition("/")[2] == name


def _thinned(result: FedNPGResult) -> np.ndarray:
    rounds = len(result.history["round"])
    return np.unique(np.linspace(0, rounds - 1, min(rounds, POINTS_DRAWN)).astype(int))
