"""Client drift: it depends on η·E, a control variate removes it, and merges differ in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.named_problems import Named, named_problems, trajectories
from fedjax_rl.families.tabular.config import FedNPGConfig

PRODUCTS = (0.25, 0.5, 1.0, 2.0, 4.0)


def measure(quick: bool) -> dict[str, Any]:
    """Average violation of the named problems at equal rounds and equal η·E."""
    problems = named_problems(3 if quick else 20)
    rounds = 300 if quick else 5000
    locals_ = (5, 20) if quick else (5, 10, 20, 40)
    equal = {
        str(product): {str(steps): median(problems, rounds, product, steps) for steps in locals_}
        for product in ((0.5, 2.0) if quick else PRODUCTS)
    }
    merges = {
        str(product): {
            merge: median(problems, rounds, product, 20, merge=merge)
            for merge in ("logits", "probabilities")
        }
        for product in ((2.0,) if quick else PRODUCTS)
    }
    control = {
        str(steps): removed(problems, rounds, 2.0, steps)
        for steps in ((20,) if quick else (5, 20, 80))
    }
    print("average violation (median) at equal η·E, by E:", equal)
    print("by merge, E = 20:", merges)
    for steps, row in control.items():
        ratios = f"{row['median_ratio']:.1f} (least {row['least_ratio']:.1f})"
        print(f"control variate at η·E = 2, E = {steps}: smaller by {ratios}")
    return {
        "seeds": [named.seed for named in problems],
        "rounds": rounds,
        "average_violation_by_product_and_local_steps": equal,
        "average_violation_by_product_and_merge": merges,
        "control_variate": control,
    }


def removed(problems: list[Named], rounds: int, product: float, steps: int) -> dict[str, Any]:
    """What a control variate makes of the average violation, by problem."""
    plain = violations(problems, rounds, product, steps)
    corrected = violations(problems, rounds, product, steps, correction="control-variate")
    ratio = plain / np.maximum(np.abs(corrected), 1e-12)
    return {
        "without": plain.tolist(),
        "with": corrected.tolist(),
        "median_ratio": float(np.median(ratio)),
        "least_ratio": float(ratio.min()),
    }


def median(problems: list[Named], rounds: int, product: float, steps: int, **changes: Any) -> float:
    """Median over problems of the average violation."""
    return float(np.median(violations(problems, rounds, product, steps, **changes)))


def violations(
    problems: list[Named], rounds: int, product: float, steps: int, **changes: Any
) -> np.ndarray:
    """max_j mean_t (V_cj − d_j) of each problem at η = product / E and η_λ = 0.1 η, [B]."""
    step = product / steps
    config = FedNPGConfig(
        rounds=rounds, local_steps=steps, step_size=step, dual_step_size=0.1 * step, **changes
    )
    budgets = np.array([named.cmdp.budgets for named in problems])
    averages: np.ndarray = trajectories(problems, config).costs.mean(0)
    return (averages - budgets).max(1)
