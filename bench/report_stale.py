"""The sections of docs/results.md on stale data."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedjax_rl.figures.style import COLOURS

STUDIES = {
    "table_common": "Table policy, product weights, one rate for all",
    "table_product": "Table policy, product weights",
    "table_geometric": "Table policy, geometric weights",
    "transformer_product": "Transformer, product weights",
}
COLLAPSED = 0.5
KEPT = 0.95
DRAWN = ("gepo, product", "gspo, product", "grpo, product", "tis, product", "topr, product")


def stale(figures: dict[str, Any]) -> str:
    """The best/last tables and what varies with what."""
    lines = [
        "## Stale data",
        "",
        "`prefix-sum` with rewards flipped with probability 0.1, 8 prompts × 8 responses, four",
        "samplers under log-normal latency, from a supervised start; held-out accuracy, best and",
        f"last, means over {figures['seeds']} seeds, and for the largest window the IQM of the",
        "last with its 95 % bootstrap interval. Where there are several candidates, every loss",
        "runs at the learning rate that was best for it over all windows on other seeds.",
        "",
    ]
    for name, title in STUDIES.items():
        if name in figures:
            lines += study(title, figures[name])
    lines += ["At one rate for all, " + verdict(figures["table_common"]["losses"]), ""]
    lines += ["At the rate that suits each, " + verdict(figures["table_product"]["losses"]), ""]
    lines += [network(figures["transformer_product"]["losses"]), ""]
    return "\n".join(lines)


def study(title: str, figures: dict[str, Any]) -> list[str]:
    """One table."""
    losses = figures["losses"]
    windows = list(next(iter(losses.values()))["windows"])
    far = windows[-1]
    rates = ", ".join(f"{rate:g}" for rate in figures["rates"])
    head = ["loss", "rate", *(f"W = {window}: best / last" for window in windows)]
    head += [f"last at W = {far}", "weight variance", r"$\mathrm{CV}^2$"]
    head += ["mean weight", "variance–KL"]
    lines = [f"### {title}", "", f"Candidate learning rates: {rates}.", ""]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for loss, row in losses.items():
        cells = [loss, f"{row['learning_rate']:g}"]
        cells += [f"{at['best']:.3f} / {at['last']:.3f}" for at in row["windows"].values()]
        last = row["windows"][far]
        low, high = (last["last_iqm"] or [None] * 3)[1:]
        interval = "-" if low is None else f"{last['last_iqm'][0]:.3f} [{low:.3f}, {high:.3f}]"
        correlation = last["variance_kl_correlation"]
        cells += [
            interval,
            f"{last['weight_variance_median']:.2g}",
            f"{last['weight_cv2_median']:.2g}",
            f"{last['weight_mean_median']:.3f}",
            "-" if correlation is None else f"{correlation:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def verdict(losses: dict[str, Any]) -> str:
    """Who collapses on a table with product weights and who does not, from the figures."""
    said = []
    for loss in ("gspo", "gepo", "grpo"):
        windows = losses[loss]["windows"]
        near, far = windows["0"], windows[list(windows)[-1]]
        share = far["last"] / near["last"] if near["last"] else float("nan")
        gone = sum(last < COLLAPSED for last in far["last_by_seed"])
        fate = "keeps" if share >= KEPT else "falls to"
        said.append(
            f"{loss} {fate} {share:.2f} of its accuracy at W = 0 when W = {list(windows)[-1]} "
            f"({gone} of {len(far['last_by_seed'])} seeds end below {COLLAPSED:g})"
        )
    return "; ".join(said) + "."


def network(losses: dict[str, Any]) -> str:
    """The same for the transformer, whichever way it falls."""
    said = []
    for loss, row in losses.items():
        windows = row["windows"]
        near, far = windows["0"], windows[list(windows)[-1]]
        said.append(f"{loss} goes from {near['last']:.3f} to {far['last']:.3f}")
    return "With the transformer, from W = 0 to the largest window, " + "; ".join(said) + "."


def gradients(figures: dict[str, Any]) -> str:
    """Direction, size and noise of every loss's gradient against staleness."""
    rows = figures["by_loss_and_staleness"]
    lags = list(next(iter(rows.values())))
    far = lags[-1]
    lines = [
        "## Gradients on stale data",
        "",
        f"At step {figures['step']} of one synchronous run on `prefix-sum` (table), with batches",
        "written by the policy of so many steps before. Compared with the true on-policy gradient",
        r"$\nabla \mathbb{E}_p[r]$,",
        f"measured from {4 * figures['batches']:,} batches of the learner's own; each",
        f"loss from {figures['batches']:,} batches of {figures['prompts']} × "
        f"{figures['group_size']}. *cosine*: of the mean gradient with the true one (bias of",
        "direction); *size*: its length over the true one's; *noise*: trace of one batch's",
        "covariance over the squared length of the mean (variance). A question mark stands where",
        "the mean is lost in that noise. Accuracy of the policies that wrote: "
        + ", ".join(f"{right:.2f} ({lag})" for lag, right in figures["accuracy"].items())
        + ". Rewards are flipped with probability "
        + f"{figures['label_noise']:g}: where clipping silences right answers, those that were",
        "marked wrong are what is left, and the gradient turns around.",
        "",
        "![Direction and noise of gradients against staleness](figures/gradients.png)",
        "",
        f"| loss | cosine at staleness {', '.join(lags)} | size at 0, {far} | noise at 0, {far} |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        cosines = ", ".join(_number(row[lag]["cosine"], ".2f") for lag in lags)
        lines.append(
            f"| {name} | {cosines} | {_number(row['0']['scale'])}, {_number(row[far]['scale'])} | "
            f"{_number(row['0']['noise'])}, {_number(row[far]['noise'])} |"
        )
    return "\n".join([*lines, ""])


def _number(value: float | None, form: str = ".2g") -> str:
    return "?" if value is None else format(value, form)


def draw_gradients(figures: dict[str, Any], path: pathlib.Path) -> None:
    """Cosine and noise against staleness of a few losses; dashed without clipping."""
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=120)
    direction, noise = figure.subplots(1, 2)
    rows = figures["by_loss_and_staleness"]
    for colour, name in zip(COLOURS, DRAWN, strict=False):
        for line, key in (("-", name), ("--", f"{name}, unclipped")):
            if key not in rows:
                continue
            lags = np.array([int(lag) for lag in rows[key]])
            for axes, field in ((direction, "cosine"), (noise, "noise")):
                values = [
                    np.nan if row[field] is None else row[field] for row in rows[key].values()
                ]
                label = name.split(",")[0] if line == "-" else None
                axes.plot(lags, values, color=colour, ls=line, marker="o", ms=3, label=label)
    direction.set(xlabel="staleness, learner steps", ylabel="cosine with the true gradient")
    noise.set(xlabel="staleness, learner steps", ylabel="tr Cov / ‖mean‖²", yscale="log")
    for axes in (direction, noise):
        axes.set_xscale("symlog", linthresh=1)
    direction.legend()
    direction.set_title("solid: clipped, dashed: not")
    figure.savefig(path)
