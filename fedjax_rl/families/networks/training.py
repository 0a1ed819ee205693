"""A run of networks: train, hand rows to whoever looks on, sum up."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.columns import Columns
from fedjax_rl.envs.task import Task
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.train import Span, to_host
from fedjax_rl.families.networks.assembly import DeepPrepared, prepare, recommends
from fedjax_rl.families.networks.config import DeepConfig, settings_type
from fedjax_rl.families.networks.confirmation import (
    Recommended,
    recommendations,
    recommended,
)
from fedjax_rl.families.networks.history import (
    Evaluations,
    columns,
    evaluations_of,
    shaped,
    together,
    violations_summed,
)
from fedjax_rl.families.networks.one_shot import evaluated_at_the_end, merged_at_the_end
from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.families.networks.summary import summarise
from fedjax_rl.federation.evaluated import Row
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.precision import precision
from fedjax_rl.records.checkpoint_files import Arrays
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.sources.objects import GIVEN, check_known_type, configured
from fedjax_rl.sources.problems import Problem
from fedjax_rl.sources.tasks import task_of
from fedjax_rl.training.loop import Clock, OnRows, Work, joined, keys_of, run_rounds


def fedppo(
    problem: Task | CMDP | Problem | str = DeepConfig.problem, **settings: Any
) -> DeepResult:
    """Runs FedPPO (arXiv 2405.03236) on a constrained task.

    Args:
        problem: any name the command line takes, a `Task`, or a finite problem as `fednpg` has it.
        **settings: other fields of `DeepConfig`; of an object ``budgets``, ``agents`` and
            ``access`` stand in for its own.

    Raises:
        InvalidInput: a setting or the task cannot be used.

    Examples:
        Small enough for a look; episodes of the finite problem end with probability 1 − γ after a
        step, and an agent takes 4 · 8 steps in a round.

        >>> from fedjax_rl.cmdp import from_arrays
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> small = dict(envs=4, rollout=8, hidden=(4,), epochs=1, minibatches=1, episodes=100)
        >>> run = fedppo(coin, rounds=2, **small)
        >>> run.history["environment_steps"].tolist(), round(run.summary["optimal_value"], 6)
        ([0, 32, 64], 0.5)
    """
    return _run_on("fedppo", problem, settings)


def fednatural(
    problem: Task | CMDP | Problem | str = DeepConfig.problem, **settings: Any
) -> DeepResult:
    """Runs federated natural policy gradients with networks; arguments as of `fedppo`."""
    return _run_on("fednatural", problem, settings)


def _run_on(
    algorithm: str, problem: Task | CMDP | Problem | str, settings: dict[str, Any]
) -> DeepResult:
    check_known_type(problem, (Task, CMDP, Problem))
    kind = settings_type(settings)
    if isinstance(problem, str):
        return run(prepare(algorithm, configured(kind, "problem", problem, settings)))
    config = configured(kind, "problem", GIVEN, settings)
    given = task_of(
        problem,
        agents=config.agents,
        arguments=config.problem_args,
        budgets=config.budgets,
        access=config.access,
    )
    return run(prepare(algorithm, config, given))


def run(
    prepared: DeepPrepared,
    on_rows: OnRows = lambda rows: None,
    checkpointer: Checkpointer | None = None,
) -> DeepResult:
    """Trains, hands the columns of every span to ``on_rows``, and sums up.

    A ``checkpointer`` says where to go on from, and is asked to save after every span.

    A seed that diverged stops where it was and is left out of the means from there on.
    """
    config = prepared.config
    key = keys_of(config.seed + np.arange(config.seeds) if config.seeds > 1 else config.seed)
    record = DeepRecord(prepared)
    work = Work(prepared.algorithm, key, prepared.hparams, config.rounds, prepared.span_rounds)
    state, failed, clock = run_rounds(work, record, on_rows, checkpointer or NoCheckpoints())
    history, evaluated = record.history(), record.evaluations()
    policy = _policies(state, prepared)
    confirmed = _recommended(state, prepared) if recommends(config) else None
    if config.reference == "one-shot":
        policy = merged_at_the_end(policy)
        evaluated = evaluated_at_the_end(policy, evaluated, prepared)
    result = DeepResult(
        prepared=prepared,
        history=history,
        evaluations=evaluated,
        policy=policy,
        violations=record.violations,
        summary={},
        failed_seeds=failed.reshape(config.seeds),
        recommended=confirmed,
    )
    timing = _timing(clock, history, config.seeds)
    summary = {**summarise(result, timing), **recommendations(confirmed, prepared)}
    return dataclasses.replace(result, summary=summary)


class DeepRecord:
    """The columns and the evaluations of all rounds so far.

    Attributes:
        violations: [K, N, M], summed over rounds; see `violations_summed`.
    """

    ended = False

    def __init__(self, prepared: DeepPrepared):
        agents, constraints = prepared.num_agents, prepared.task.num_constraints
        self._prepared = prepared
        self.violations = np.zeros((prepared.config.seeds, agents, constraints))
        self._parts: list[Columns] = []
        self._evaluations: list[Evaluations] = []

    def open(self, row: Row) -> Columns:
        first = jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)
        return self._take(0, first, np.ones((1, self._prepared.config.seeds), bool))

    def add(self, span: Span) -> Columns | None:
        count = len(jax.tree.leaves(span.info)[0])
        if count == 0:
            return None
        rounds = span.first_round + np.arange(count)[:, None]
        failed = span.failed.reshape(self._prepared.config.seeds)
        return self._take(span.first_round, span.info, (failed < 0) | (rounds < failed))

    def _take(self, first_round: int, info: Row, alive: np.ndarray) -> Columns:
        rows = shaped(info, self._prepared)
        steps = int(self._parts[-1]["environment_steps"][-1]) if self._parts else 0
        budgets = self._prepared.task.budgets
        violations = violations_summed(rows.agent_costs, self.violations, budgets, alive)
        self.violations = violations[-1]
        table, _ = columns(first_round, rows, steps, self._prepared, alive, violations)
        self._parts.append(table)
        self._evaluations.append(
            evaluations_of(first_round, rows, table["environment_steps"], alive)
        )
        return table

    def history(self) -> Columns:
        """Columns by name, each an array over all rounds."""
        self._parts = [joined(self._parts)]
        return self._parts[0]

    def evaluations(self) -> Evaluations:
        """Evaluations of all rounds that had one."""
        self._evaluations = [together(self._evaluations)]
        return self._evaluations[0]

    def arrays(self) -> Arrays:
        return {
            "history": self.history(),
            "evaluations": self.evaluations()._asdict(),
            "violations": {"cumulative": self.violations},
        }

    def restore(self, arrays: Arrays) -> Columns:
        """Takes the rows of a checkpoint in.

        Raises:
            InvalidInput: it was written before evaluations had all that they have now.
        """
        self._parts = [arrays["history"]]
        stored = arrays["evaluations"] | arrays.get("violations", {})
        for field in (*Evaluations._fields, "cumulative"):
            if field not in stored:
                raise InvalidInput("checkpoint", f"no {field}", "one of this version: run it anew")
        self.violations = stored.pop("cumulative")
        self._evaluations = [Evaluations(**stored)]
        return self._parts[0]


def _policies(state: Pytree, prepared: DeepPrepared) -> DeepShared:
    """The policies that are reported, with leading axes of seeds and policies, on the host."""
    seeds, policies = prepared.config.seeds, prepared.policies
    members = prepared.member_axes
    with precision(prepared.algorithm.float64):
        policy = prepared.algorithm.report(state).policy
    spread: DeepShared = jax.tree.map(
        lambda leaf: leaf.reshape(seeds, policies, *leaf.shape[members:]), to_host(policy)
    )
    return spread


def _recommended(state: Pytree, prepared: DeepPrepared) -> Recommended:
    """The candidates of every seed, tried."""
    candidates = to_host(state.candidates)
    if prepared.config.seeds == 1:
        candidates = jax.tree.map(lambda leaf: leaf[None], candidates)
    return recommended(candidates, prepared)


def _timing(clock: Clock, history: Columns, seeds: int) -> dict[str, float]:
    """Seconds in all, of compilation, and the steady rate after it, of all agents and seeds.

    The first span is the one that compiles; what it took beyond as many later rounds, and what
    the initial state took, is counted as compilation.
    """
    steps = seeds * history["environment_steps"]
    rate = steps[-1] / max(clock.seconds, 1e-9)
    if len(clock.marks) > 2:
        (first, began), (last, ended) = clock.marks[1], clock.marks[-1]
        rate = (steps[last] - steps[first]) / max(ended - began, 1e-9)
    return {
        "seconds": clock.seconds,
        "compile_seconds": clock.compile_seconds(),
        "steps_per_second": float(rate),
    }
