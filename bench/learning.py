"""What federated agents learn on constrained tasks, against references: runs and their table."""

from __future__ import annotations

import csv
import json
import pathlib
import re
import tempfile
from typing import Any

import numpy as np
import yaml

from fedjax_rl.cli import main
from fedjax_rl.statistics import interquartile_mean, stratified_bootstrap

REFERENCES = ("fed", "omniscient", "no-communication")
WINDOW = 4
ROUNDS: dict[str, int] = {
    "cartpole-pos2": 100,
    "acrobot-theta1-2": 150,
    "acrobot-easier-empty-left-bottom": 150,
    "inverted-pendulum-adj3": 100,
    "pendulum": 200,
    "point-robot": 200,
    "mountain-car-continuous": 80,
}
"""Every task at its own number of agents, by the defaults and nothing else."""
SIZES: dict[str, str] = {
    f"{problem} with {agents} agents and {local_steps} local step{'s' * (local_steps > 1)}": (
        f"fedppo --problem {problem} --agents {agents} --local-steps {local_steps} --seeds 5 "
        f"--rounds {rounds // local_steps} --evaluate-every {rounds // local_steps // 20}{more}"
    )
    for problem, rounds, more in (
        ("cartpole-pos2", 80, ""),
        ("random-mdp", 200, " --episodes 1000 --confirm-episodes 4000"),
    )
    for agents, local_steps in ((2, 1), (4, 1), (8, 1), (4, 4))
}
"""Agents and local steps, at as many samples for each agent; beside an omniscient agent alone.

Returns of random problems vary as much as they are large, for episodes end at random: they are told
apart from budgets by a thousand episodes and not by a hundred.
"""
NATURAL: dict[str, str] = {
    f"{name} by natural gradients": (
        f"fednatural --problem {name} --seeds 5 --rounds {rounds} --evaluate-every {rounds // 20}"
    )
    for name, rounds in (("cartpole-pos2", 100), ("point-robot", 200))
}
"""The other algorithm by the same defaults; beside an omniscient agent alone."""
PAPER: dict[str, str] = {
    f"{name}-paper": (
        f"fedppo --preset paper --problem {name} --seeds 10 --rounds {rounds} "
        f"--evaluate-every {rounds // 10}"
    )
    for name, rounds in (
        ("cartpole-pos2", 100),
        ("acrobot-theta1-2", 30),
        ("cartpole-force-adj3", 60),
    )
}
"""With the settings of the experiments of arXiv 2405.03236."""
QUICK = (
    "fedppo --problem constrained-bandit --seeds 2 --envs 4 --rollout 8 --rounds 3 "
    "--evaluate-every 1 --window 2 --hidden 4 --minibatches 1 --epochs 1 --episodes 100"
)


def commands() -> dict[str, str]:
    """The command line of each row, behind ``fedjax-rl run``."""
    tasks = {
        name: (
            f"fedppo --problem {name} --seeds 10 --rounds {rounds} --evaluate-every {rounds // 20}"
        )
        for name, rounds in ROUNDS.items()
    }
    return tasks | SIZES | NATURAL | PAPER


def measure(quick: bool) -> dict[str, Any]:
    """Runs every command with every reference and makes the table from them."""
    chosen = {"quick": QUICK} if quick else commands()
    return {"runs": {name: measured(name, command) for name, command in chosen.items()}}


def references_of(name: str) -> tuple[str, ...]:
    """What a row is compared to."""
    return REFERENCES[:2] if name in SIZES | NATURAL else REFERENCES


def options_of(command: str, who: str) -> list[str]:
    """The words of a command; a reference has no policy to confirm."""
    own = command if who == "fed" else re.sub(" --confirm-episodes [0-9]+", "", command)
    return own.split()


def measured(name: str, command: str) -> dict[str, Any]:
    """The rows of one command: the federation beside its references."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for who in references_of(name):
            options = [*options_of(command, who), "--reference", who]
            assert main(["run", *options, "--out", str(root / who)]) == 0, (name, who)
        config = yaml.safe_load((root / "fed" / "config.yaml").read_text())
        return {
            "command": f"fedjax-rl run {command}",
            "problem": config["problem"],
            "initial_reward": float(np.nanmean(first_rewards(root / "fed"))),
            "optimal_value": json.loads((root / "fed" / "summary.json").read_text()).get(
                "optimal_value"
            ),
            "hidden": config["hidden"],
            "rows": {who: row(root / who) for who in references_of(name)},
        }


def row(folder: pathlib.Path) -> dict[str, Any]:
    """One run: reward and costs over seeds, each a mean over the last evaluations."""
    summary = json.loads((folder / "summary.json").read_text())
    budgets = summary["budgets"]
    by_seed = window_of(folder, "reward").mean(1)
    shares = {name: window_of(folder, f"cost/{name}") / budget for name, budget in budgets.items()}
    worst = np.stack([share.max(1) for share in shares.values()]).max(0)
    within_budgets = worst <= 1.0 + summary["feasibility_tolerance"]
    return {
        "seeds": len(by_seed),
        "samples_per_agent": summary["environment_steps_per_agent"],
        "samples": summary["environment_steps"],
        "reward": interval(by_seed),
        "worst_seed_reward": float(by_seed.min()),
        "cost_over_budget": {name: interval(share.max(1)) for name, share in shares.items()},
        "mean_cost_over_budget": {
            name: float(share.mean(0).max()) for name, share in shares.items()
        },
        "seeds_within_every_budget": float(within_budgets.mean()),
        "worst_cost_over_budget": float(worst.max()),
        "bytes_exchanged": summary["bytes_exchanged"],
        "seconds": summary["seconds"],
        "collapses": summary["collapses"],
        "cumulative_violation": summary["cumulative_violation"],
        "recommended": sum(one["round"] is not None for one in summary.get("recommended") or []),
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
