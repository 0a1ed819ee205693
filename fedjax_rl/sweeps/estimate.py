"""Estimate of the duration of a sweep, from a few rounds of its first chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

import jax

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.execution.train import start, train
from fedjax_rl.training.members import Group

ENOUGH = 0.2
"""Seconds of rounds that are timed at least, unless a chunk takes less."""


class Estimate(NamedTuple):
    """An estimate of the seconds that a sweep takes.

    Attributes:
        compiling: of one group, its first round included.
        running: of one round of one member, beside the others of its chunk.
    """

    compiling: float
    running: float

    def total(self, groups: Sequence[Group], done: Container[int] = (), workers: int = 1) -> float:
        """Seconds of all members not yet done, if rounds of all groups are like the first's."""
        waiting = [(group, len(group.chunks(done))) for group in groups]
        rounds = sum(chunks * group.size * group.rounds for group, chunks in waiting)
        compiled = sum(chunks > 0 for _, chunks in waiting)
        return self.compiling * -(-compiled // workers) + self.running * rounds / workers


def estimate(
    group: Group, program: Algorithm, on_compiled: Callable[[], None] = lambda: None
) -> Estimate:
    """Compiles a group's program, as it must be anyway, and times a few rounds, that are lost.

    Args:
        group: of which a chunk is timed.
        program: of the group, the one that will run.
        on_compiled: told when it is compiled, before rounds are timed.
    """
    keys, hparams = group.inputs(group.members[: group.size])
    begun = time.perf_counter()
    state, _ = start(program, keys, hparams)
    last, count, seconds = 0, 1, 0.0
    compiling = 0.0
    while last < group.rounds and seconds < ENOUGH:
        first, last = last + 1, min(group.rounds, last + count)
        for span in train(
            program,
            keys,
            state,
            hparams,
            rounds=last,
            span_rounds=group.span_rounds,
            first_round=first,
        ):
            state = jax.block_until_ready(span.state)
        seconds, begun = time.perf_counter() - begun, time.perf_counter()
        if first == 1:
            compiling, seconds = seconds, 0.0
            on_compiled()
            begun = time.perf_counter()
        else:
            count *= 4
    timed = last - first + 1
    return Estimate(compiling, (seconds or compiling) / timed / group.size)
