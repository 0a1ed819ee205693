"""Directories as the command line writes them, made by hand: every number is known."""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

MADE_WITH = {"fedjax_rl": "0.1.0", "jax": "0.10.1", "devices": "cpu", "problem_sha256": "ab12"}
NAMES = ("left", "right")
BUDGETS = (2.0, 4.0)


def config(path: pathlib.Path, **entries: Any) -> pathlib.Path:
    path.mkdir(parents=True, exist_ok=True)
    document = {**entries, "made_with": MADE_WITH}
    (path / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def table(path: pathlib.Path, columns: Mapping[str, Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def document(path: pathlib.Path, entries: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(entries))


def finite(
    path: pathlib.Path,
    *,
    names: Sequence[str] = NAMES,
    rounds: int = 4,
    columns: int = 0,
    finished: bool = True,
    failed: int | None = None,
) -> pathlib.Path:
    """A run of FedNPG: V* = 10; its averaged policy costs 1 and 5 of 2 and 4."""
    config(path, algorithm="fednpg", problem="hill", reference="fed", rounds=rounds, seeds=1)
    t = np.arange(rounds + 1 if finished else rounds // 2 + 1)
    rows: dict[str, Any] = {"round": t, "value": 10.0 - 8.0 / (t + 1), "gap": 8.0 / (t + 1)}
    rows |= {"average_gap": -1.0 / (t + 1), "average_violation": 1.0 / (t + 1)}
    rows |= {"violation": 1.0 - t, "strong_violation": 2.0 / (t + 1)}
    rows |= {f"cost/{name}": 3.0 / (t + 1) + index for index, name in enumerate(names)}
    rows |= {f"multiplier/{index}/{name}": 0.1 * t for index, name in enumerate(names)}
    rows |= {"environment_steps": 0 * t, "bytes_exchanged": 100 * t}
    rows |= {f"extra_{index}": np.sin(t + index) for index in range(columns)}
    table(path / "metrics.csv", rows)
    if finished:
        document(path / "summary.json", finite_summary(names, failed))
    return path


def finite_summary(names: Sequence[str] = NAMES, failed: int | None = None) -> dict[str, Any]:
    budgets = dict(zip(names, BUDGETS, strict=True))
    return {
        **{"algorithm": "fednpg", "problem": "hill", "rounds": 4, "seeds": 1, "seconds": 1.5},
        **{"optimal_value": 10.0, "strong_violation": 0.4, "average_violation": 0.2},
        **{"occupancy_gap": 2.5, "occupancy_violation": 1.0, "last_gap": -1.0},
        **{"last_violation": 0.06, "feasible_average": False, "feasible_last": True},
        **{"recommended_policy": "last", "feasibility_tolerance": 0.02, "budgets": budgets},
        "occupancy_costs": dict(zip(names, (1.0, 5.0), strict=True)),
        "last_costs": dict(zip(names, (2.0, 4.06), strict=True)),
        "effective_multipliers": dict.fromkeys(names, 0.5),
        "optimal_multipliers": dict.fromkeys(names, 0.25),
        **{"multipliers_at_cap": [], "failed_round": failed, "bytes_exchanged": 400},
    }


def networks(
    path: pathlib.Path,
    *,
    reference: str = "fed",
    compare: bool = False,
    failed_seeds: Sequence[Mapping[str, int]] = (),
) -> pathlib.Path:
    """A run of FedPPO with seeds 0 to 4, evaluated in rounds 0 and 2, two agents' steps."""
    entries: dict[str, Any] = {"algorithm": "fedppo", "problem": "pole", "reference": reference}
    entries |= {"rounds": 2, "seeds": 5} | ({"compare": True} if compare else {})
    config(path, **entries)
    t = np.arange(3)
    rows = {"round": t, "reward": [np.nan, 2.0, 3.0], "multiplier/0/left": 0.5 * t}
    rows |= {"multiplier/1/right": 0.25 * t, "environment_steps": 200 * t}
    table(path / "metrics.csv", {k: ["" if v != v else v for v in c] for k, c in rows.items()})
    seeds = [0.0, 1.0, 2.0, 3.0, 100.0]
    lines = [(r, s, r * 10.0 + seeds[s], 1.0 + s) for r in (0, 2) for s in range(5)]
    at = np.array(lines).T
    evaluations = {"round": at[0].astype(int), "seed": at[1].astype(int)}
    evaluations |= {"policy": [0] * 10, "environment_steps": (200 * at[0]).astype(int)}
    evaluations |= {"reward": at[2], "cost/left": at[3], "cost/right": 0 * at[3]}
    evaluations |= {"mode_reward": at[2] + 1, "mode_cost/left": at[3]}
    table(path / "evaluations.csv", evaluations)
    summary = {
        **{"algorithm": "fedppo", "problem": "pole", "reference": reference, "num_agents": 2},
        **{"rounds": 2, "seeds": 5, "reward": 41.2, "reward_by_seed": [20, 21, 22, 23, 120]},
        **{"costs": {"left": 3.0, "right": 0.0}, "budgets": dict(zip(NAMES, BUDGETS, strict=True))},
        "costs_by_seed": {"left": [1.0, 2.0, 2.05, 4.0, None], "right": [0.0] * 4 + [None]},
        **{"budget_kinds": {"left": "episode", "right": "step"}, "feasible": False},
        **{"feasible_share": 0.6, "feasibility_tolerance": 0.05, "evaluations_in_window": 1},
        **{"last_reward": 41.2, "mode_reward": 42.2, "last_costs": {"left": 3.0, "right": 0.0}},
        **{"mode_costs": {"left": 3.0, "right": 0.0}, "bytes_exchanged": 1000, "seconds": 2.0},
        "failed_seeds": list(failed_seeds),
    }
    document(path / "summary.json", summary)
    if compare:
        networks(path / "omniscient", reference="omniscient")
        table(path / "comparison.csv", {"reference": ["fed", "omniscient"], "reward": [1, 2]})
    return path


def sweep(
    path: pathlib.Path,
    *,
    steps: Sequence[float] = (0.1, 1.0),
    local: Sequence[int] = (1, 5),
    seeds: int = 3,
    points: int = 3,
    diverged: Sequence[int] = (),
    planned_seeds: int | None = None,
) -> pathlib.Path:
    """A sweep of FedNPG, its chunks cleared away; average_gap = step size × local steps + seed."""
    settings = {"problem": "hill", "seeds": planned_seeds or seeds, "rounds": 10}
    grid = {"step_size": [*map(float, steps)], "local_steps": [*map(int, local)]}
    config(path, algorithm="sweep fednpg", grid=grid, random={}, samples=None, settings=settings)
    rows, number = [], 0
    for configuration, (size, count) in enumerate((s, e) for s in steps for e in local):
        for seed in range(seeds):
            lost = number in diverged
            row: dict[str, Any] = {"member": number, "configuration": configuration}
            row |= {"step_size": size, "local_steps": count, "seed": seed}
            row |= {"status": "diverged" if lost else "finished", "failed_round": 7 if lost else ""}
            row |= {"average_gap": "" if lost else size * count + seed, "feasible_average": True}
            row |= {"budgets/left": 2.0, "occupancy_costs/left": 1.0 + seed}
            rows.append(row | {"feasibility_tolerance": 0.02})
            number += 1
    table(path / "sweep.csv", {name: [row[name] for row in rows] for name in rows[0]})
    rounds = np.linspace(0, 10, points)
    curves = np.array([[r["local_steps"] + r["seed"]] for r in rows]) + 0 * rounds
    arrays = {"member": np.arange(number), "round": np.tile(rounds, (number, 1))}
    np.savez(path / "curves.npz", **arrays, average_gap=curves)
    return path


def stale(path: pathlib.Path) -> pathlib.Path:
    """A run of gepo: one seed ends at accuracy 1, the other at 0.5."""
    config(path, algorithm="gepo", task="sums", samplers=4, steps=2, seeds=2, window=8)
    rows = {"step": [0, 1, 2], "virtual_seconds": [0, 1800, 3600], "staleness": [0, 1, 2]}
    table(path / "metrics.csv", rows | {"kl": ["", 0.1, 0.2], "loss": ["", 1, 2]})
    columns = {"step": [0, 0, 2, 2], "seed": [0, 1, 0, 1], "virtual_seconds": [0, 0, 3600, 7200]}
    table(path / "evaluations.csv", columns | {"accuracy": [0.25, 0.25, 1.0, 0.5]})
    summary = {"window": 8, "steps": 2, "seeds": 2, "last": 0.75, "best": 0.75, "seconds": 3.0}
    summary |= {"last_by_seed": [1.0, 0.5], "virtual_seconds": 5400, "staleness_mean": 1.5}
    document(path / "summary.json", summary | {"failed_seeds": []})
    return path


def solution(path: pathlib.Path) -> pathlib.Path:
    """An exact optimum: one budget binds."""
    config(path, algorithm="solve", problem="hill", solver="auto")
    entries = {"problem": "hill", "optimal_value": 10.0, "unconstrained_value": 12.0}
    entries |= {"costs": {"left": 2.0, "right": 1.0}, "budgets": {"left": 2.0, "right": 4.0}}
    entries |= {"optimal_multipliers": {"left": 0.5, "right": 0.0}, "certified_gap": 1e-12}
    document(path / "solution.json", entries)
    return path


KINDS = {
    "finite": finite,
    "networks": networks,
    "sweep": sweep,
    "stale": stale,
    "solution": solution,
}
