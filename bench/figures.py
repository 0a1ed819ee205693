"""``python -m bench.figures`` draws two figures of the README.

FedNPG on the windy cliff is run for it, which takes seconds; stale data is drawn from
``bench/results/stale.json``. The third figure, of FedPPO, is one of ``python -m bench.report``.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.measured import FIGURES, load
from fedjax_rl.figures.style import COLOURS
from fedjax_rl.runs import fednpg

REFERENCES = {
    "fed": "federation",
    "omniscient": "one agent that sees all",
    "no-communication": "no communication",
}
ROUNDS = 20_000


def draw_optimum(path: pathlib.Path, rounds: int = ROUNDS) -> None:
    """Averages over rounds of FedNPG and its references, against the LP's optimum."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    for colour, (reference, label) in zip(COLOURS, REFERENCES.items(), strict=False):
        run = fednpg("windy-cliff", rounds=rounds, reference=reference)
        optimum, history = run.certificate.optimal_value, run.history
        style: Any = {"color": colour, "label": label, "ls": "--" if reference != "fed" else "-"}
        left.plot(history["round"], optimum - history["average_gap"], **style)
        right.plot(history["round"], history["average_violation"], **style)
    left.axhline(optimum, color=COLOURS[6], ls=":", label="optimum of the linear program")
    right.axhline(0.0, color=COLOURS[6], ls=":", label="every budget kept")
    left.set(xlabel="round", ylabel="value, mean over rounds", xscale="log")
    right.set(xlabel="round", ylabel="largest V_c − d, mean over rounds", xscale="log")
    for axes in (left, right):
        axes.set_xlim(10, rounds)
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(path)


def draw_staleness(figures: dict[str, Any], path: pathlib.Path) -> None:
    """Accuracy in the end against the window, each seed a dot, at one rate for all losses."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2)
    for index, (colour, loss) in enumerate(zip(COLOURS, ("gepo", "gspo", "grpo"), strict=False)):
        windows = figures["table_common"]["losses"][loss]["windows"]
        at = np.arange(len(windows)) + 0.12 * (index - 1)
        rows = list(windows.values())
        left.plot(at, [row["last"] for row in rows], color=colour, marker="_", ms=14, label=loss)
        for x, row in zip(at, rows, strict=True):
            seeds = row["last_by_seed"]
            left.plot([x] * len(seeds), seeds, ls="", marker="o", ms=3, color=colour, alpha=0.5)
        variance = [row["weight_variance_median"] for row in rows]
        right.plot(at, variance, color=colour, marker="o", ms=4, label=loss)
    left.set(ylabel="held-out accuracy after the last step", ylim=(-0.05, 1.05))
    right.set(ylabel="variance of the weights, median over steps", yscale="log")
    for axes in (left, right):
        axes.set_xticks(range(len(windows)), [f"W = {window}" for window in windows])
        axes.set_xlabel("window; batches are at most 2W steps old")
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(path)


if __name__ == "__main__":
    draw_optimum(FIGURES / "fednpg-optimum.png")
    draw_staleness(load("stale"), FIGURES / "gepo-staleness.png")
