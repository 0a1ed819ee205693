"""Last iterates: OPG-PD reaches the optimum, RPG-PD settles at a bias that is linear in τ."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.named_problems import Named, Trajectories, named_problems, trajectories
from bench.rates import rounded
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.programs import settings_type
from fedjax_rl.statistics import slope_interval

TARGET = 1e-10
STEPS = {"step_size": 0.8, "dual_step_size": 0.2}
REGULARIZED: Any = settings_type({"learner": "regularized"})
"""Settings of FedNPG with those that the regularised learner has of its own."""
WEIGHTS = (0.16, 0.08, 0.04, 0.02, 0.01)


def measure(quick: bool) -> dict[str, Any]:
    """Optimistic and regularised learners with four agents on the named problems."""
    problems = named_problems(3 if quick else 20)
    return {
        "seeds": [named.seed for named in problems],
        "optimistic": optimistic(problems, 2000 if quick else 40_000),
        "regularized": regularized(problems, WEIGHTS[:2] if quick else WEIGHTS),
    }


def optimistic(problems: list[Named], rounds: int) -> dict[str, Any]:
    """Distance of the last iterate, and the first round within the target for good."""
    config = FedNPGConfig(learner="optimistic", rounds=rounds, **STEPS)
    distance = distances(problems, trajectories(problems, config))
    within = (distance < TARGET).all(1)
    reached = [first_for_good(within[:, index]) for index in range(len(problems))]
    missed = [named.seed for named, round in zip(problems, reached, strict=True) if round is None]
    print(
        f"optimistic: {len(problems) - len(missed)} of {len(problems)} below {TARGET:g} by round "
        f"{rounds}; misses: {missed or 'none'}; rounds {reached}"
    )
    return {
        "rounds": rounds,
        **STEPS,
        "target": TARGET,
        "reached_in_round": reached,
        "missed_seeds": missed,
        "last_gap": distance[-1, 0].tolist(),
        "last_violation": distance[-1, 1].tolist(),
        "last_multiplier_error": distance[-1, 2].tolist(),
    }


def regularized(problems: list[Named], weights: tuple[float, ...]) -> dict[str, Any]:
    """Bias of the settled point for each τ, at η = τ, η_λ = τ/4 and 40/τ² rounds."""
    errors = np.zeros((3, len(problems), len(weights)))
    movement = []
    for column, weight in enumerate(weights):
        config = REGULARIZED(
            learner="regularized",
            regularization=weight,
            rounds=int(40 / weight**2),
            step_size=weight,
            dual_step_size=weight / 4,
        )
        last = trajectories(problems, config, keep_last=1)
        errors[:, :, column] = distances(problems, last)[-1]
        movement.append(float(np.abs(last.multipliers[-1] - last.multipliers[0]).max()))
    figures: dict[str, Any] = {"weights": weights, "movement_in_the_last_chunk": movement}
    for name, values in zip(("gap", "violation", "multiplier_error"), errors, strict=True):
        fit = slope_interval(np.array(weights), values, seed=0)
        figures[name] = {
            "medians": np.median(values, axis=0).tolist(),
            "slope": [rounded(x) for x in (fit.estimate, fit.low, fit.high)],
        }
        print(f"regularized, {name}: {figures[name]}")
    return figures


def distances(problems: list[Named], run: Trajectories) -> np.ndarray:
    """|gap|, [violation]₊ and ‖λ − λ*‖∞ of every iterate, [T, 3, B]."""
    optima = np.array([named.certificate.optimal_value for named in problems])
    budgets = np.array([named.cmdp.budgets for named in problems])
    multipliers = np.array([named.certificate.multipliers for named in problems])
    return np.stack(
        [
            np.abs(optima - run.value),
            np.maximum((run.costs - budgets).max(2), 0),
            np.abs(run.multipliers - multipliers).max(2),
        ],
        axis=1,
    )


def first_for_good(within: np.ndarray) -> int | None:
    """The first round from which on all entries are true, counted from 1."""
    outside = np.flatnonzero(~within)
    if len(outside) == 0:
        return 1
    return None if outside[-1] == len(within) - 1 else int(outside[-1]) + 2
