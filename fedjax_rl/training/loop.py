"""The loop that all runs share: train, keep the record, show its rows, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.columns import Columns
from fedjax_rl.execution.train import Span, start, train
from fedjax_rl.precision import precision
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.checkpoints import Arrays, Progress

OnRows = Callable[[Columns], None]


class Work(NamedTuple):
    """An algorithm with its key, settings and number of rounds.

    Attributes:
        algorithm: anything.
        key: of the run, or of each of its members.
        hparams: traced settings.
        rounds: T.
        span_rounds: most rounds between two visits of the host.
    """

    algorithm: Algorithm
    key: Any
    hparams: Pytree
    rounds: int
    span_rounds: int


class Record(Protocol):
    """The host's record of a run's rounds, as arrays that can be saved."""

    @property
    def ended(self) -> bool:
        """Whether the run has ended early, so that later rounds do not count."""

    def open(self, row: Pytree) -> Columns:
        """Takes the observation of round 0 and returns its columns."""

    def add(self, span: Span) -> Columns | None:
        """Takes a span and returns the columns of its rounds; None if none of them counts."""

    def arrays(self) -> Arrays:
        """Its content as arrays by name, to be saved."""

    def restore(self, arrays: Arrays) -> Columns:
        """Replaces its content by saved arrays, and returns the columns of all rounds so far."""


class Clock(NamedTuple):
    """Times at which the host saw rounds.

    Attributes:
        earlier: seconds of the sessions before this one.
        begun: when this one began.
        marks: (round, when), the first of them where this one began to train.
    """

    earlier: float
    begun: float
    marks: list[tuple[int, float]]

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, over all its sessions."""
        return self.earlier + self.marks[-1][1] - self.begun

    def compile_seconds(self) -> float:
        """Estimated seconds of compilation: the time to the first span minus that of its rounds.

        With fewer than three marks there is nothing to compare with: all of it.
        """
        if len(self.marks) < 3:
            return self.seconds
        (before, _), (first, began), (last, ended) = self.marks[0], self.marks[1], self.marks[-1]
        each = (ended - began) / (last - first)
        return max(0.0, began - self.begun - each * (first - before))


class Finished(NamedTuple):
    """The outcome of the loop over rounds.

    Attributes:
        state: the last one, on the device or the host.
        failed: `Span.failed` of the last span.
        clock: when rounds were seen.
    """

    state: Pytree
    failed: np.ndarray
    clock: Clock


def run_rounds(work: Work, record: Record, on_rows: OnRows, checkpointer: Checkpointer) -> Finished:
    """Runs all rounds, from the first or from where the checkpointer has the run saved.

    Args:
        work: what to train.
        record: is given every span.
        on_rows: is given the columns of consecutive rounds, from round 0 on.
        checkpointer: is asked before the first round and after every span.
    """
    begun = time.perf_counter()
    # Of a run that goes on, too: what is saved is put back into a state that is built like this.
    state, row = start(work.algorithm, work.key, work.hparams)
    saved = checkpointer.restore(state)
    if saved is None:
        saved = Progress(0, state, np.full(_members(work), -1), {}, 0.0)
        on_rows(record.open(row))
    else:
        on_rows(record.restore(saved.record))
    state, failed = saved.state, saved.failed
    clock = Clock(saved.seconds, begun, [(saved.round, time.perf_counter())])

    def progress() -> Progress:
        return Progress(span.last_round, state, failed, record.arrays(), clock.seconds)

    for span in train(
        work.algorithm,
        work.key,
        state,
        work.hparams,
        rounds=work.rounds,
        span_rounds=work.span_rounds,
        first_round=saved.round + 1,
        failed=failed,
    ):
        state, failed = span.state, span.failed
        rows = record.add(span)
        if rows is not None:
            on_rows(rows)
            clock.marks.append((span.last_round, time.perf_counter()))
        if record.ended:
            break  # before a visit: there is nothing to go on with
        checkpointer.visit(span.last_round, progress)
    return Finished(state, failed, clock)


@precision(False)
def keys_of(seeds: int | np.ndarray) -> jax.Array:
    """The key of a seed, or [B] keys of as many seeds."""
    return jax.random.key(seeds) if np.ndim(seeds) == 0 else jax.vmap(jax.random.key)(seeds)


def joined(parts: Sequence[Columns]) -> Columns:
    """The columns of consecutive spans as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _members(work: Work) -> tuple[int, ...]:
    return () if work.algorithm.members is None else (work.algorithm.members,)
