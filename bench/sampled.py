"""Sampled evaluation follows the exact trajectory, with an error of 1/√K."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.named_problems import named_problems
from bench.rates import rounded
from fedjax_rl.runs import fednpg
from fedjax_rl.statistics import slope_interval


def measure(quick: bool) -> dict[str, Any]:
    """Mean distance of the value from the exact trajectory over 20 rounds, by rollouts K."""
    problems = named_problems(1 if quick else 6)
    rollouts = (4, 16) if quick else (4, 16, 64, 256)
    settings: dict[str, Any] = {"rounds": 20, "step_size": 0.05, "dual_step_size": 0.01}
    errors = np.zeros((len(problems), len(rollouts)))
    for row, named in enumerate(problems):
        exact = fednpg(named.cmdp, **settings).history["value"]
        for column, count in enumerate(rollouts):
            runs = [
                fednpg(named.cmdp, evaluation="sampled", rollouts=count, seed=seed, **settings)
                for seed in range(1 if quick else 4)
            ]
            errors[row, column] = np.mean([np.abs(run.history["value"] - exact) for run in runs])
    fit = slope_interval(np.array(rollouts), errors, seed=0)
    slope = [rounded(x) for x in (fit.estimate, fit.low, fit.high)]
    print(f"median error for {rollouts} rollouts: {np.median(errors, 0).round(4)}, slope {slope}")
    return {
        "seeds": [named.seed for named in problems],
        "rollouts": rollouts,
        "median_error": np.median(errors, axis=0).tolist(),
        "slope": slope,
    }
