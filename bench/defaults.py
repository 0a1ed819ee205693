"""One setting for every task of networks: a search whose objective is the worst task's score.

A trial is one setting, run on every tuning task; its value is the least of their scores. Four
tasks are searched on, the others are held out, and both have seeds of their own:

    python -m bench defaults --out bench/results/defaults.json

Optuna is asked for a batch of trials, as `fedjax-rl search` does, and each task runs the batch as
members of one program that is compiled once.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.cmdp.problems.random_mdp import random_mdp
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.tabular.summary import evaluate
from fedjax_rl.sweeps.batches import Programs, prototypes
from fedjax_rl.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.sweeps.plan import seeds_of
from fedjax_rl.sweeps.space import law_of
from fedjax_rl.sweeps.study import Study, Trial
from fedjax_rl.terminal.live import working

ALGORITHM = "fedppo"
LAWS = {
    "proportional_gain": "uniform:0.5:3",
    "integral_gain": "loguniform:0.05:0.4",
    "dual_smoothing": "uniform:0:0.8",
    "penalty_share": "loguniform:0.2:1",
    "insistence": "loguniform:0.02:0.3",
    "multiplier_floor": "loguniform:0.01:0.1",
    "learning_rate": "loguniform:0.001:0.004",
    "kl_target": "loguniform:0.004:0.015",
}
"""What is searched: the controller and the trust region."""
BREACH = 1.05
"""Mean cost in budgets above which a task's score is 0."""
TRIALS, BATCH, SEEDS, SAMPLE_SEED = 12, 6, 2, 0
FIRST_SEED = {"tuned": 1000, "held-out": 2000}
"""Tables of results use seeds from 0."""
ATTAINABLE = pathlib.Path(__file__).parent / "results" / "attainable.json"


class Target(NamedTuple):
    """A task at a length, and between which rewards its score runs.

    Attributes:
        settings: of the run, by name.
        low: reward of the policy that training starts from.
        high: what is attainable within the budgets.
    """

    settings: dict[str, Any]
    low: float
    high: float


QUICK = {
    "chain": Target(
        {
            **{"problem": "chain", "rounds": 2, "evaluate_every": 1, "window": 1, "episodes": 100},
            **{"envs": 4, "rollout": 12, "hidden": (4,)},
        },
        0.125,
        0.5,
    )
}
"""At a size that shows that it runs."""


class Sought(NamedTuple):
    """A task and the programs that run its trials."""

    target: Target
    assembler: Any
    base: DeepConfig
    programs: Programs


def measure(quick: bool) -> dict[str, Any]:
    """Searches, and runs the best trial and the defaults on the tasks that were held out."""
    tuned, held_out = (QUICK, QUICK) if quick else (targets("tuned"), targets("held-out"))
    trials, batch, seeds = (2, 2, 1) if quick else (TRIALS, BATCH, SEEDS)
    tried = searched(tuned, trials, batch, seeds)
    best = max(tried, key=lambda trial: trial["score"])
    defaults = {name: getattr(DeepConfig(), name) for name in LAWS}
    chosen = {"best": best["settings"], "defaults": defaults}
    return {
        "laws": LAWS,
        "breach": BREACH,
        "seeds": seeds,
        "targets": {
            name: target._asdict() | {"tuned": name in tuned}
            for name, target in (tuned | held_out).items()
        },
        "trials": tried,
        "chosen": chosen,
        "tuned": {who: scores_of(tuned, drawn, seeds, "tuned") for who, drawn in chosen.items()},
        "held_out": {
            who: scores_of(held_out, drawn, seeds, "held-out") for who, drawn in chosen.items()
        },
    }


def targets(which: str) -> dict[str, Target]:
    """The tasks that are tuned on, or those that are held out."""
    lengths = {
        "tuned": {"cartpole-pos2": 60, "acrobot-theta1-2": 120, "point-robot": 140},
        "held-out": {
            "acrobot-easier-empty-left-bottom": 140,
            "inverted-pendulum-adj3": 80,
            "pendulum": 140,
            "mountain-car-continuous": 60,
        },
    }[which]
    known = json.loads(ATTAINABLE.read_text())["tasks"]
    found = {
        name: Target(
            {"problem": name, "rounds": rounds, "evaluate_every": rounds // 20},
            known[name]["first_reward"]["mean"],
            known[name]["reward"]["mean"],
        )
        for name, rounds in lengths.items()
    }
    if which == "tuned":
        found["random-mdp"] = finite_target()
    return found


def finite_target() -> Target:
    """A random finite problem of four agents, whose optimum is a linear program's."""
    problem = random_mdp()
    optimum = solve(problem).optimal_value
    uniform = problem.support / problem.support.sum(-1, keepdims=True)
    low = optimum - float(evaluate(problem, uniform[None], optimum).gap[0])
    # Returns vary as much as they are large: of 128 episodes the mean cost is 5 % off.
    settings = {"problem": "random-mdp", "rounds": 160, "evaluate_every": 8, "episodes": 4000}
    return Target(settings, low, float(optimum))


def searched(tuned: dict[str, Target], trials: int, batch: int, seeds: int) -> list[dict[str, Any]]:
    """Every trial with its settings, its score on each task and the least of them."""
    laws = {name: (law, law_of(DeepConfig, name, law)) for name, law in LAWS.items()}
    sought = {name: seek(target, batch, seeds) for name, target in tuned.items()}
    results: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Study(pathlib.Path(folder) / "study.db", laws, True, "tpe", SAMPLE_SEED) as study,
    ):
        while len(results) < trials:
            first = len(results)
            for _ in range(min(batch, trials - first)):
                study.ask()
            asked = study.trials()[first:]
            scores = batch_scores(sought, asked, first)
            for index, trial in enumerate(asked):
                by_task = {name: scores[name][index] for name in sought}
                score = min(one["score"] for one in by_task.values())
                study.tell(trial, score, [])
                results.append({"settings": trial.drawn, "score": score, "tasks": by_task})
                print(line(results[-1]), flush=True)
    return results


def seek(target: Target, batch: int, seeds: int, first_seed: int = FIRST_SEED["tuned"]) -> Sought:
    """A task with its programs, each of which compiles once."""
    assembler = family_of(ALGORITHM).assembler(ALGORITHM)
    base = DeepConfig(**target.settings, seed=first_seed, seeds=seeds)
    laws = {name: law_of(DeepConfig, name, law) for name, law in LAWS.items()}
    known = list(prototypes(assembler, base, laws))
    return Sought(target, assembler, base, Programs(assembler, known, batch * seeds))


def batch_scores(
    sought: dict[str, Sought], asked: list[Trial], first: int
) -> dict[str, list[dict[str, Any]]]:
    """For each task what every trial of the batch came to."""
    laws = {name: law_of(DeepConfig, name, law) for name, law in LAWS.items()}
    settings = [
        {name: law.value(DeepConfig, name, trial.drawn[name]) for name, law in laws.items()}
        for trial in asked
    ]
    found = {}
    for name, task in sought.items():
        with working(f"{name}, trials {first} to {first + len(asked) - 1}"):
            done = list(run_all(task, settings, first))
        found[name] = [
            scored(task.target, [one for one in done if one.row["configuration"] == first + index])
            for index in range(len(asked))
        ]
    return found


def run_all(task: Sought, settings: list[dict[str, Any]], first: int) -> Iterator[Done]:
    """The members of a batch, run side by side where they share a program."""
    members = [
        member
        for index, combination in enumerate(settings)
        for member in seeds_of(task.assembler, task.base, first + index, combination)
    ]
    for group, program in task.programs.of(members):
        for chunk in group.chunks(set()):
            yield from run_chunk(task.assembler, group, program, chunk)


def scores_of(
    tasks: dict[str, Target], settings: dict[str, Any], seeds: int, which: str
) -> dict[str, dict[str, Any]]:
    """The scores of one setting on tasks, by name."""
    found = {}
    for name, target in tasks.items():
        laws = {key: law_of(DeepConfig, key, law) for key, law in LAWS.items()}
        combination = {
            key: laws[key].value(DeepConfig, key, value) if isinstance(value, str) else value
            for key, value in settings.items()
        }
        task = seek(target, 1, seeds, FIRST_SEED[which])
        found[name] = scored(target, list(run_all(task, [combination], 0)))
        print(f"{name}: {words(found[name])}", flush=True)
    return found


def scored(target: Target, done: list[Done]) -> dict[str, Any]:
    """The score of one setting on one task: 0 where a budget is broken or a seed diverged."""
    if any(one.row["status"] == DIVERGED for one in done):
        return {"score": 0.0, "reward": None, "worst_cost": None}
    reward = float(np.mean([one.row["reward"] for one in done]))
    names = [name for name in done[0].row if name.startswith("costs/")]
    worst = max(
        float(np.mean([one.row[name] for one in done]))
        / float(done[0].row[name.replace("costs/", "budgets/")])
        for name in names
    )
    earned = float(np.clip((reward - target.low) / (target.high - target.low), 0.0, 1.0))
    return {"score": earned if worst <= BREACH else 0.0, "reward": reward, "worst_cost": worst}


def line(trial: dict[str, Any]) -> str:
    """One trial in words."""
    drawn = ", ".join(
        f"{name} {value if isinstance(value, str) else f'{value:.3g}'}"
        for name, value in trial["settings"].items()
    )
    by_task = "; ".join(f"{name} {words(one)}" for name, one in trial["tasks"].items())
    return f"{trial['score']:.2f} of {drawn}: {by_task}"


def words(one: dict[str, Any]) -> str:
    """One score in words."""
    if one["reward"] is None:
        return "diverged"
    return f"{one['score']:.2f} ({one['reward']:.1f} at {one['worst_cost']:.2f} d)"
