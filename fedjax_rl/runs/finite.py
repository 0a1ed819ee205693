"""FedNPG on a finite problem, measured against the exact optimum."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.solve import Certificate
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.train import Chunk, start, to_host, train
from fedjax_rl.runs.assembly import Prepared, prepare
from fedjax_rl.runs.config import FedNPGConfig
from fedjax_rl.runs.history import Columns, columns, initial_columns, no_sums, rows_of
from fedjax_rl.runs.sources import Problem, problem_from_cmdp
from fedjax_rl.runs.summary import Outcome, stationary_policy, summarise

OnRows = Callable[[Columns], None]


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
        **settings: fields of `FedNPGConfig` other than ``problem``.

    Raises:
        InvalidInput: a setting or the problem cannot be used.
    """
    known = {field.name for field in dataclasses.fields(FedNPGConfig)} - {"problem"}
    for name in settings:
        if name not in known:
            raise InvalidInput("settings", name, f"known: {', '.join(sorted(known))}")
    if isinstance(problem, str):
        return run(prepare(FedNPGConfig(problem=problem, **settings)))
    config = FedNPGConfig(problem="arrays", **settings)
    if isinstance(problem, CMDP):
        problem = problem_from_cmdp(problem, agents=config.agents, access=config.access)
    return run(prepare(config, problem))


def run(prepared: Prepared, on_rows: OnRows = lambda rows: None) -> FedNPGResult:
    """Trains, hands the columns of every chunk to ``on_rows``, and sums up.

    Rounds from the first that was not finite on are not reported; the state before them is.
    """
    config = prepared.config
    key = jax.random.key(config.seed)
    if config.seeds > 1:
        key = jax.vmap(jax.random.key)(config.seed + np.arange(config.seeds))
    begun = time.perf_counter()
    state, row = start(prepared.algorithm, key, prepared.hparams)
    rows = rows_of(jax.tree.map(lambda leaf: leaf[None], row), config.seeds)
    sums = no_sums(*rows.costs.shape[:2])
    table = initial_columns(rows, prepared.layout)
    on_rows(table)
    history, marks, failed_round = [table], [(0, time.perf_counter())], None

    for chunk in train(
        prepared.algorithm,
        key,
        state,
        prepared.hparams,
        rounds=config.rounds,
        chunk_rounds=prepared.chunk_rounds,
    ):
        state, failed_round = chunk.state, first_failure(chunk)
        last = chunk.last_round if failed_round is None else failed_round - 1
        if last < chunk.first_round:
            break
        count = last - chunk.first_round + 1
        kept = jax.tree.map(lambda rows, count=count: rows[:count], chunk.info)
        rows = rows_of(kept, config.seeds)
        table, sums = columns(chunk.first_round, rows, sums, prepared.layout)
        history.append(table)
        on_rows(table)
        marks.append((last, time.perf_counter()))
        if failed_round is not None:
            break

    whole = {name: np.concatenate([part[name] for part in history]) for name in table}
    outcome = _outcome(state, failed_round)
    timing = {"seconds": marks[-1][1] - begun, "rounds_per_second": _rate(marks)}
    summary = summarise(prepared, whole, outcome) | timing
    return FedNPGResult(config, prepared.problem, prepared.certificate, whole, summary, outcome)


def first_failure(chunk: Chunk) -> int | None:
    """The first round that was not finite, in any member of a sweep."""
    if chunk.failed_members is None:
        return chunk.failed_round
    failed = chunk.failed_members[chunk.failed_members >= 0]
    return int(failed.min()) if failed.size else None


def _outcome(state: Any, failed_round: int | None) -> Outcome:
    host = to_host(state)
    last_policy = _softmax(host.federation.shared.logits)
    return Outcome(
        multipliers=host.federation.local.multipliers,
        last_policy=last_policy,
        averaged_policy=stationary_policy(host.occupancy_sum, last_policy),
        failed_round=failed_round,
    )


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _rate(marks: list[tuple[int, float]]) -> float:
    """Rounds per second, without the first chunk when there are others: it also compiles."""
    (begin, began), (end, ended) = marks[1 if len(marks) > 2 else 0], marks[-1]
    return (end - begin) / max(ended - began, 1e-9)
