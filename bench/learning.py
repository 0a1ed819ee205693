"""What federated agents learn on constrained tasks, against references: runs and their table."""

from __future__ import annotations

import csv
import json
import pathlib
import tempfile
from typing import Any

import numpy as np
import yaml

from fedjax_rl.cli import main
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap

REFERENCES = ("fed", "omniscient", "no-communication", "unconstrained")
WINDOW = 4
RUNS: dict[str, str] = {
    "cartpole-pos2": "--problem cartpole-pos2 --seeds 10 --rounds 100 --evaluate-every 5",
    "acrobot-theta1-2": "--problem acrobot-theta1-2 --seeds 10 --rounds 300 --evaluate-every 15",
    "acrobot-easier-empty-left-bottom": (
        "--problem acrobot-easier-empty-left-bottom --seeds 10 --rounds 200 --evaluate-every 10"
    ),
    "inverted-pendulum-adj3": (
        "--problem inverted-pendulum-adj3 --seeds 10 --rounds 150 --evaluate-every 10"
    ),
    "pendulum": "--problem pendulum --seeds 10 --rounds 300 --evaluate-every 15",
    "point-robot": "--problem point-robot --seeds 10 --rounds 300 --evaluate-every 15",
    "mountain-car-continuous": (
        "--problem mountain-car-continuous --seeds 10 --rounds 80 --evaluate-every 5"
    ),
    "cartpole-pos2-paper": (
        "--preset paper --problem cartpole-pos2 --seeds 10 --rounds 100 --evaluate-every 10"
    ),
    "acrobot-theta1-2-paper": (
        "--preset paper --problem acrobot-theta1-2 --seeds 10 --rounds 30 --evaluate-every 3"
    ),
    "inverted-pendulum-adj3-paper": (
        "--preset paper --problem inverted-pendulum-adj3 --seeds 10 --rounds 60 --evaluate-every 6"
    ),
}
"""The command line of each row of the table, behind ``fedjax-rl run fedppo --compare``: every task
by the defaults, and the paper's three by the paper's settings."""
EQUAL = ("acrobot-theta1-2", "point-robot")
"""Rows that are run again with ``--merge-by equal``."""
QUICK = (
    "--problem constrained-bandit --seeds 2 --envs 4 --rollout 8 --rounds 3 --evaluate-every 1 "
    "--window 2 --hidden 4 --minibatches 1 --epochs 1 --episodes 100"
)


def measure(quick: bool) -> dict[str, Any]:
    """Runs every command into directories and makes the table from them."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        commands = {"quick": QUICK} if quick else RUNS
        for name, command in commands.items():
            arguments = ["run", "fedppo", *command.split()]
            assert main([*arguments, "--compare", "--out", str(root / name)]) == 0
            if name in EQUAL:
                equal = ["--merge-by", "equal", "--out", str(root / f"{name}-equal")]
                assert main([*arguments, *equal]) == 0
        return table(root, commands)


def table(root: pathlib.Path, commands: dict[str, str]) -> dict[str, Any]:
    """The figures of every run directory, by name and reference."""
    return {
        "runs": {
            name: {"command": f"fedjax-rl run fedppo {command} --compare", **run(root / name)}
            for name, command in commands.items()
        },
    }


def run(directory: pathlib.Path) -> dict[str, Any]:
    """The rows of one comparison, normalised between a first policy and the omniscient agent."""
    folders = {who: directory if who == "fed" else directory / who for who in REFERENCES}
    equal = directory.with_name(f"{directory.name}-equal")
    if equal.is_dir():
        folders = {"fed": directory, "equal": equal, **folders}
    rewards = {who: window_of(folder, "reward") for who, folder in folders.items()}
    low = float(np.nanmean(first_rewards(folders["fed"])))
    high = interquartile_mean(rewards["omniscient"].mean(1))
    rows = {who: row(folder, rewards[who], low, high) for who, folder in folders.items()}
    config = yaml.safe_load((directory / "config.yaml").read_text())
    return {"initial_reward": low, "hidden": config["hidden"], "rows": rows}


def row(folder: pathlib.Path, reward: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """One reference: reward and costs over seeds, each a mean over the last evaluations.

    Args:
        folder: run directory.
        reward: [seeds, policies].
        low: reward of the first policy.
        high: reward of the omniscient agent.
    """
    summary = json.loads((folder / "summary.json").read_text())
    budgets = summary["budgets"]
    by_seed = reward.mean(1)
    normalized = (by_seed - low) / (high - low)
    shares = {name: window_of(folder, f"cost/{name}") / budget for name, budget in budgets.items()}
    worst = np.stack([share.max(1) for share in shares.values()]).max(0)
    within_budgets = worst <= 1.0 + summary["feasibility_tolerance"]
    return {
        "seeds": len(by_seed),
        "samples_per_agent": summary["environment_steps_per_agent"],
        "samples": summary["environment_steps"],
        "reward": interval(by_seed),
        "normalized": interval(normalized),
        "worst_seed_reward": float(by_seed.min()),
        "cost_over_budget": {name: interval(share.max(1)) for name, share in shares.items()},
        "mean_cost_over_budget": {
            name: float(share.mean(0).max()) for name, share in shares.items()
        },
        "seeds_within_every_budget": float(within_budgets.mean()),
        "worst_cost_over_budget": float(worst.max()),
        "bytes_exchanged": summary["bytes_exchanged"],
        "seconds": summary["seconds"],
        "curve": curve(folder, budgets),
    }


def curve(folder: pathlib.Path, budgets: dict[str, float]) -> dict[str, list[float]]:
    """Quartiles over seeds, at every evaluation, of the reward and of the largest cost / budget.

    Of agents that never communicate the reward is their mean and the cost that of the worst.
    """
    by_round: dict[int, dict[int, list[dict[str, str]]]] = {}
    for line in evaluations(folder):
        by_round.setdefault(int(line["round"]), {}).setdefault(int(line["seed"]), []).append(line)
    curves: dict[str, list[float]] = {"samples": [], "round": []}
    for round, seeds in sorted(by_round.items()):
        policies = list(seeds.values())
        rewards = [np.mean([float(line["reward"]) for line in lines]) for lines in policies]
        costs = [
            max(
                float(line[f"cost/{name}"]) / budget
                for line in lines
                for name, budget in budgets.items()
            )
            for lines in policies
        ]
        curves["round"].append(round)
        curves["samples"].append(int(policies[0][0]["environment_steps"]))
        for name, values in (("reward", rewards), ("cost", costs)):
            for share, value in zip((25, 50, 75), np.percentile(values, (25, 50, 75)), strict=True):
                curves.setdefault(f"{name}_{share}", []).append(float(value))
    return curves


def interval(values: np.ndarray) -> dict[str, float]:
    """IQM over seeds with its 95 % stratified bootstrap interval."""
    estimate = stratified_bootstrap(values[:, None], interquartile_mean, seed=0)
    return {"iqm": estimate.estimate, "low": estimate.low, "high": estimate.high}


def window_of(folder: pathlib.Path, column: str) -> np.ndarray:
    """[seeds, policies], the column's mean over the last evaluations."""
    rows = evaluations(folder)
    rounds = sorted({int(row["round"]) for row in rows})[-WINDOW:]
    seeds = sorted({int(row["seed"]) for row in rows})
    policies = sorted({int(row["policy"]) for row in rows})
    values = {
        (int(row["round"]), int(row["seed"]), int(row["policy"])): float(row[column])
        for row in rows
    }
    return np.array(
        [
            [np.mean([values[round, seed, policy] for round in rounds]) for policy in policies]
            for seed in seeds
        ]
    )


def first_rewards(folder: pathlib.Path) -> list[float]:
    """Rewards of every seed's policy before any step."""
    return [float(row["reward"]) for row in evaluations(folder) if int(row["round"]) == 0]


def evaluations(folder: pathlib.Path) -> list[dict[str, str]]:
    """The rows of ``evaluations.csv``."""
    with (folder / "evaluations.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
