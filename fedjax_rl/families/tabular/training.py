"""FedNPG on a finite problem, measured against the exact optimum."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.solve import Certificate
from fedjax_rl.columns import Columns
from fedjax_rl.execution.train import Span, to_host
from fedjax_rl.families.tabular.assembly import Prepared, prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.history import Sums, columns, initial_columns, no_sums, rows_of
from fedjax_rl.families.tabular.programs import settings_type
from fedjax_rl.families.tabular.summary import Outcome, stationary_policy, summarise
from fedjax_rl.federation.observed import Observation
from fedjax_rl.precision import precision
from fedjax_rl.records.checkpoint_files import Arrays
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.sources.objects import GIVEN, check_known_type, configured, problem_of
from fedjax_rl.sources.problems import Problem
from fedjax_rl.training.loop import Clock, OnRows, Work, joined, keys_of, run_rounds


@dataclasses.dataclass(frozen=True)
class FedNPGResult:
    """A finished (or diverged) run.

    Attributes:
        config: its settings.
        problem: the problem and who watches what.
        certificate: the exact optimum it is measured against.
        history: one array over rounds 0 … T for each column of ``metrics.csv``.
        summary: what ``summary.json`` holds.
        outcome: final multipliers and policies.
    """

    config: FedNPGConfig
    problem: Problem
    certificate: Certificate
    history: Columns
    summary: dict[str, Any]
    outcome: Outcome


def fednpg(problem: CMDP | Problem | str, **settings: Any) -> FedNPGResult:
    """Runs FedNPG and certifies the result.

    Args:
        problem: a `CMDP` (one constraint per agent unless ``agents`` is given), a `Problem`
            with its access matrix, or any name the command line takes.
        **settings: fields of `FedNPGConfig` other than ``problem``; of an object ``budgets``,
            ``discount``, ``agents`` and ``access`` stand in for its own.

    Raises:
        InvalidInput: a setting or the problem cannot be used.

    Examples:
        >>> from fedjax_rl.cmdp import from_arrays
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> run = fednpg(coin, step_size=1.0, dual_step_size=1.0, rounds=1)
        >>> run.history["value"].round(3).tolist()  # 2 e² / (1 + e²) after one step from 1
        [1.0, 1.762]
        >>> round(run.certificate.optimal_value, 6)
        0.5
    """
    check_known_type(problem, (CMDP, Problem))
    if isinstance(problem, str):
        return run(prepare(configured(settings_type(settings), "problem", problem, settings)))
    config = configured(settings_type(settings), "problem", GIVEN, settings)
    given = problem_of(
        problem,
        agents=config.agents,
        arguments=config.problem_args,
        budgets=config.budgets,
        access=config.access,
        discount=config.discount,
    )
    return run(prepare(config, given))


def run(
    prepared: Prepared,
    on_rows: OnRows = lambda rows: None,
    checkpointer: Checkpointer | None = None,
) -> FedNPGResult:
    """Trains, hands the columns of every span to ``on_rows``, and sums up.

    A ``checkpointer`` says where to go on from, and is asked to save after every span.

    Rounds from the first that was not finite on are not reported; the state before them is.
    """
    config = prepared.config
    key = keys_of(config.seed + np.arange(config.seeds) if config.seeds > 1 else config.seed)
    record = FiniteRecord(prepared)
    work = Work(prepared.algorithm, key, prepared.hparams, config.rounds, prepared.span_rounds)
    state, _, clock = run_rounds(work, record, on_rows, checkpointer or NoCheckpoints())
    history = record.history()
    outcome = outcome_of(prepared.algorithm, state, record.failed_round)
    timing = {"seconds": clock.seconds, "rounds_per_second": _rate(clock)}
    summary = summarise(prepared, history, outcome) | timing
    return FedNPGResult(config, prepared.problem, prepared.certificate, history, summary, outcome)


class FiniteRecord:
    """The columns of all rounds so far and the sums to go on from.

    Attributes:
        failed_round: the first round that was not finite, in any member; the record ends there.
    """

    def __init__(self, prepared: Prepared):
        self._layout, self._seeds = prepared.layout, prepared.config.seeds
        self._parts: list[Columns] = []
        self._sums: Sums
        self.failed_round: int | None = None

    @property
    def ended(self) -> bool:
        return self.failed_round is not None

    def open(self, row: Observation) -> Columns:
        rows = rows_of(jax.tree.map(lambda leaf: leaf[None], row), self._seeds)
        self._sums = no_sums(*rows.costs.shape[:2])
        self._parts.append(initial_columns(rows, self._layout))
        return self._parts[-1]

    def add(self, span: Span) -> Columns | None:
        self.failed_round = first_failure(span)
        last = span.last_round if self.failed_round is None else self.failed_round - 1
        count = last - span.first_round + 1
        if count < 1:
            return None
        rows = rows_of(jax.tree.map(lambda rows: rows[:count], span.info), self._seeds)
        table, self._sums = columns(span.first_round, rows, self._sums, self._layout)
        self._parts.append(table)
        return table

    def history(self) -> Columns:
        """Columns by name, each an array over all rounds."""
        self._parts = [joined(self._parts)]
        return self._parts[0]

    def arrays(self) -> Arrays:
        sums = {name: np.asarray(value) for name, value in self._sums._asdict().items()}
        return {"history": self.history(), "sums": sums}

    def restore(self, arrays: Arrays) -> Columns:
        sums = arrays["sums"]
        steps = float(sums["environment_steps"])
        self._sums = Sums(sums["counted"], sums["value"], sums["costs"], sums["strong"], steps)
        self._parts = [arrays["history"]]
        return self._parts[0]


def first_failure(span: Span) -> int | None:
    """The first round that was not finite, in any member of a sweep."""
    if span.failed_members is None:
        return span.failed_round
    failed = span.failed_members[span.failed_members >= 0]
    return int(failed.min()) if failed.size else None


def outcome_of(algorithm: Algorithm, state: Any, failed_round: int | None) -> Outcome:
    """What a run ends with, from its last state."""
    host = to_host(state)
    with precision(algorithm.float64):
        report = to_host(algorithm.report(host))
    last_policy = _softmax(report.policy.logits)
    return Outcome(
        multipliers=report.multipliers,
        last_policy=last_policy,
        averaged_policy=stationary_policy(host.occupancy_sum, last_policy),
        failed_round=failed_round,
    )


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _rate(clock: Clock) -> float:
    """Rounds per second, without the first span when there are others: it also compiles."""
    (begin, began), (end, ended) = clock.marks[1 if len(clock.marks) > 2 else 0], clock.marks[-1]
    return (end - begin) / max(ended - began, 1e-9)
