"""The figures of ``summary.json`` of a run on stale data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.families.stale.assembly import HeteroPrepared
from fedjax_rl.families.stale.cells import Cell, finite_mean
from fedjax_rl.hetero.schedule import throughput, wasted


def summarise(cell: Cell, prepared: HeteroPrepared, timing: Mapping[str, float]) -> dict[str, Any]:
    """Everything ``summary.json`` holds; figures are means over seeds that did not diverge.

    ``best`` is each seed's largest accuracy at an evaluation, ``last`` the one after step T,
    ``accuracy_mean`` the mean over evaluations, all on held-out prompts. ``batches_by_staleness``
    counts the batches of all seeds that were 0, 1, 2, … learner steps old.
    """
    config = prepared.config
    figures = by_seed(cell)
    summary: dict[str, Any] = {
        "algorithm": cell.loss,
        "loss": cell.loss,
        "task": config.task,
        "policy": config.policy,
        "window": cell.window,
        "samplers": config.samplers,
        "latency": config.latency,
        "steps": config.steps,
        "sequence_weight": config.sequence_weight,
        "label_noise": config.label_noise,
        "learning_rate": cell.learning_rate,
        "seed": config.seed,
        "seeds": config.seeds,
        "warm_start_accuracy": prepared.start.accuracy,
        **{name: float(finite_mean(values)) for name, values in figures.items()},
        "failed_seeds": [
            {"seed": config.seed + index, "step": int(step)}
            for index, step in enumerate(cell.failed)
            if step >= 0
        ],
    }
    each = {f"{name}_by_seed": values for name, values in figures.items()}
    traffic = cell.traffic
    clock = {
        "virtual_seconds": float(np.mean([one.seconds for one in traffic])),
        "steps_per_virtual_second": float(np.mean([throughput(one) for one in traffic])),
        "batches_wasted": float(np.mean([wasted(one) for one in traffic])),
        "learner_idle_share": float(np.mean([one.learner_idle / one.seconds for one in traffic])),
        "sampler_idle_share": float(
            np.mean([one.sampler_idle.mean() / one.seconds for one in traffic])
        ),
    }
    ages = cell.values["staleness"][:, 1:]
    batches = np.bincount(ages[np.isfinite(ages)].astype(int))
    return {**summary, **clock, **each, "batches_by_staleness": batches, **timing}


def by_seed(cell: Cell) -> dict[str, np.ndarray]:
    """[K] for each figure; NaN for a seed that diverged."""
    accuracy = cell.at_evaluations("accuracy")
    steps = {name: values[:, 1:] for name, values in cell.values.items()}
    alive = cell.failed < 0
    figures = {
        "best": accuracy.max(1),
        "last": accuracy[:, -1],
        "best_last_gap": accuracy.max(1) - accuracy[:, -1],
        "accuracy_mean": accuracy.mean(1),
        "staleness_mean": steps["staleness"].mean(1),
        "staleness_max": steps["staleness"].max(1),
        "weight_mean_median": np.median(steps["weight_mean"], 1),
        "weight_variance_median": np.median(steps["weight_variance"], 1),
        "weight_variance_max": steps["weight_variance"].max(1),
        "weight_cv2_median": np.median(steps["weight_cv2"], 1),
        "kl_median": np.median(steps["kl"], 1),
        "kl_max": steps["kl"].max(1),
        "ess_min": steps["effective_sample_size"].min(1),
        "group_variation_median": np.median(steps["group_variation"], 1),
        "clip_fraction_mean": steps["clip_fraction"].mean(1),
        "gradient_norm_max": steps["gradient_norm"].max(1),
        "estimation_error_mean": finite_mean(steps["estimation_error"]),
    }
    return {name: np.where(alive, values, np.nan) for name, values in figures.items()}
