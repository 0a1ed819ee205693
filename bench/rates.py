"""FedNPG's Õ(1/√T): slopes of violation and gap over runs of T rounds at η = 2/√T."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.named_problems import (
    CAP,
    Named,
    Trajectories,
    dual_value,
    named_problems,
    trajectories,
    with_rounds,
)
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.statistics import slope_interval

MEASURES = ("average_violation", "strong_violation", "occupancy_gap", "primal_dual_gap")


def measure(quick: bool) -> dict[str, Any]:
    """One run for each T, E and problem; slopes with medians and intervals over problems."""
    problems = named_problems(4 if quick else 20)
    horizons = (100, 300, 1000) if quick else (1000, 2000, 4000, 8000, 16_000, 30_000)
    figures: dict[str, Any] = {"seeds": [named.seed for named in problems], "rounds": horizons}
    for local_steps in (1, 5) if quick else (1, 5, 20):
        table = {name: np.zeros((len(problems), len(horizons))) for name in MEASURES}
        for column, rounds in enumerate(horizons):
            config = with_rounds(FedNPGConfig(local_steps=local_steps), rounds)
            measured = measures(problems, trajectories(problems, config))
            for name in MEASURES:
                table[name][:, column] = measured[name]
        figures[f"E={local_steps}"] = {
            name: described(np.array(horizons), values) for name, values in table.items()
        }
        for name in MEASURES:
            row = figures[f"E={local_steps}"][name]
            print(f"E = {local_steps:2d}  {name:18s} slope {row['slope']}")
    return figures


def measures(problems: list[Named], run: Trajectories) -> dict[str, np.ndarray]:
    """The four measures of each problem after the last round, [B]."""
    budgets = np.array([named.cmdp.budgets for named in problems])
    optima = np.array([named.certificate.optimal_value for named in problems])
    value, costs, dual = (part.mean(0) for part in run)
    bounds = [dual_value(named, own) for named, own in zip(problems, dual, strict=True)]
    penalty = CAP * np.maximum(costs - budgets, 0).sum(1)
    return {
        "average_violation": (costs - budgets).max(1),
        "strong_violation": np.maximum((run.costs - budgets).max(2), 0).mean(0),
        "occupancy_gap": np.maximum(optima - value, 0),
        "primal_dual_gap": np.array(bounds) - (value - penalty),
    }


def described(horizons: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Median over problems at each T, and the slope with its interval."""
    fit = slope_interval(horizons, values, seed=0)
    return {
        "medians": np.median(values, axis=0).tolist(),
        "slope": [rounded(x) for x in (fit.estimate, fit.low, fit.high)],
        "not_positive": int((values <= 0).sum()),
        "undefined_slopes": int(fit.undefined),
    }


def rounded(number: float) -> float | None:
    """Three digits, or None where a slope is undefined."""
    return None if np.isnan(number) else round(float(number), 3)
