"""What stale data does to losses: the best/last table, tuned rates, correlations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fedjax_rl.families.stale.assembly import prepare
from fedjax_rl.families.stale.cells import Cell
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.summary import by_seed
from fedjax_rl.families.stale.training import run
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap

TABLE_LOSSES = (
    *("gepo", "gspo", "grpo", "dr_grpo", "bnpo", "gepo+", "eqp", "ds-gspo", "gmpo", "cispo"),
    *("tis", "topr", "v-trace"),
)
NETWORK_LOSSES = ("gepo", "gspo", "grpo")
TUNING_SEED = 1000
SHOWN = (
    *("best", "last", "staleness_mean", "kl_median", "weight_variance_median"),
    *("weight_cv2_median", "weight_mean_median", "ess_min", "group_variation_median"),
)


def measure(quick: bool) -> dict[str, Any]:
    """The table of a policy of tables, with product and geometric weights, and of a network."""
    steps, seeds, windows = (20, 2, (0, 4)) if quick else (800, 8, (0, 8, 32))
    base = HeteroConfig(steps=steps, seeds=seeds, held_out=64 if quick else 256)
    if quick:
        base = replace(base, task_args=("length=3",), warm_start=0.0)
    rates = (0.2, 0.4) if quick else (0.1, 0.2, 0.4)
    figures: dict[str, Any] = {"windows": list(windows), "seeds": seeds, "steps": steps}
    figures["table_common"] = common(base, windows, quick)
    for weight in ("product",) if quick else ("product", "geometric"):
        losses = ("gepo",) if quick else TABLE_LOSSES if weight == "product" else NETWORK_LOSSES
        study = {"sequence_weight": weight}
        figures[f"table_{weight}"] = studied(base, losses, windows, rates, study)
    network = {
        "policy": "transformer",
        "task_args": ("length=3",) if quick else ("length=8",),
        "layers": 1,
        "width": 32,
        "heads": 4,
        "steps": 10 if quick else 400,
        "evaluate_every": 40,
    }
    network_rates = (1e-3,) if quick else (1e-3, 3e-3)
    figures["transformer_product"] = studied(
        base, ("gepo",) if quick else NETWORK_LOSSES, windows, network_rates, network
    )
    return figures


def common(base: HeteroConfig, windows: tuple[int, ...], quick: bool) -> dict[str, Any]:
    """Product weights at one learning rate for all, the largest that suits fresh data."""
    return studied(base, ("gepo",) if quick else NETWORK_LOSSES, windows, (0.4,), {})


def studied(
    base: HeteroConfig,
    losses: tuple[str, ...],
    windows: tuple[int, ...],
    rates: tuple[float, ...],
    changes: dict[str, Any],
) -> dict[str, Any]:
    """Every loss at every window, at the rate that was best for it on other seeds.

    Tuning has the same budget for each loss: half the seeds, all windows, every rate; a rate
    counts by its mean last accuracy over windows.
    """
    config = replace(base, **changes)
    tuning = replace(config, seed=TUNING_SEED, seeds=max(1, config.seeds // 2))
    table: dict[str, Any] = {}
    for loss in losses:
        lasts = tuned(loss, tuning, windows, rates) if len(rates) > 1 else dict.fromkeys(rates)
        best_rate = max(rates, key=lambda rate: lasts[rate] or 0.0)
        final = run(prepare(loss, config, windows=windows, learning_rates=(best_rate,)))
        table[loss] = {
            "learning_rate": best_rate,
            "last_by_rate": {str(rate): value for rate, value in lasts.items()},
            "seconds": final.timing["seconds"],
            "windows": {str(cell.window): row(cell) for cell in final.cells},
        }
        accuracies_text = ", ".join(
            f"W={window}: {each['best']:.3f}/{each['last']:.3f}"
            for window, each in table[loss]["windows"].items()
        )
        print(f"{loss:8} lr {best_rate:g}: best/last {accuracies_text}", flush=True)
    return {"rates": list(rates), "losses": table}


def tuned(
    loss: str, tuning: HeteroConfig, windows: tuple[int, ...], rates: tuple[float, ...]
) -> dict[float, float | None]:
    """Mean last accuracy over windows and seeds at every rate."""
    cells = run(prepare(loss, tuning, windows=windows, learning_rates=rates)).cells
    return {
        rate: float(np.nanmean([by_seed(cell)["last"].mean() for cell in cells if _at(cell, rate)]))
        for rate in rates
    }


def _at(cell: Cell, rate: float) -> bool:
    return bool(np.isclose(cell.learning_rate, rate))


def row(cell: Cell) -> dict[str, Any]:
    """Means over seeds, the interval of the last accuracy, and a correlation."""
    figures = by_seed(cell)
    last = figures["last"][np.isfinite(figures["last"])]
    interval = stratified_bootstrap(last, interquartile_mean, seed=0) if last.size else None
    return {
        **{name: float(np.nanmean(figures[name])) for name in SHOWN},
        "last_by_seed": figures["last"].tolist(),
        "last_iqm": None if interval is None else list(interval),
        "diverged": int((cell.failed >= 0).sum()),
        "variance_kl_correlation": correlation(cell, "weight_variance", "kl"),
        "variance_error_correlation": correlation(cell, "weight_variance", "estimation_error"),
        "kl_error_correlation": correlation(cell, "kl", "estimation_error"),
    }


def correlation(cell: Cell, one: str, other: str) -> float | None:
    """Spearman's rank correlation over all steps and seeds where both are finite.

    None where nothing varies. Ranks, since both quantities span many orders of magnitude.
    """
    from scipy.stats import spearmanr

    left, right = cell.values[one].ravel(), cell.values[other].ravel()
    defined = np.isfinite(left) & np.isfinite(right)
    left, right = left[defined], right[defined]
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)
