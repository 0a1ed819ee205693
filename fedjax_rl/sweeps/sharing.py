"""Chunks of groups that a pool of workers runs, gathered as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from fedjax_rl.errors import InvalidInput
from fedjax_rl.sweeps.estimate import Estimate
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.sweeps.pool import Pool, Refused, Task
from fedjax_rl.sweeps.progress import SweepProgress
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.training.members import Group


class OneAfterAll(Exception):
    """Workers cannot make the members, and none was asked for: this process runs them."""


@contextmanager
def asked_for(workers: Literal["auto"] | int) -> Iterator[None]:
    """Within it a worker that refuses is an error of who asked for workers.

    Raises:
        InvalidInput: they were asked for.
        OneAfterAll: they were not, which is said.
    """
    try:
        yield
    except Refused as refusal:
        if workers != "auto":
            allowed = f"1, for another process says: {refusal}"
            raise InvalidInput("--workers", workers, allowed) from None
        print(f"workers: 1 after all, for another process says: {refusal}", flush=True)
        raise OneAfterAll from None


def run_shared(
    pool: Pool,
    groups: Sequence[Group],
    directory: SweepDirectory,
    done: dict[int, Done],
    progress: SweepProgress,
    on_timed: Callable[[Estimate], None] = lambda estimate: None,
    programs: Sequence[int] | None = None,
) -> Iterator[None]:
    """Fills ``done``, which holds members by number, and comes back after each chunk.

    Args:
        pool: in the context of which this is.
        groups: in the order in which the workers make them.
        directory: of the sweep, where workers put chunks.
        done: members that are.
        progress: shows the rounds of all chunks.
        on_timed: told an estimate, once for all chunks of a pool.
        programs: numbers of the groups' programs; unless given each has its own.
    """
    numbers = range(len(groups)) if programs is None else programs
    tasks = [
        Task(
            *(index, number, group.size, group.span_rounds),
            tuple(member.number for member in members),
        )
        for index, (group, number) in enumerate(zip(groups, numbers, strict=True))
        for members in group.chunks(done)
    ]
    reached = dict.fromkeys((task.members for task in tasks), 0)
    progress.chunk(sum(groups[task.group].rounds for task in tasks))
    for task, kind, value in pool.run(tasks):
        if kind == "timed":
            on_timed(value)
        elif kind == "round":
            reached[task.members] = value
            progress.round(sum(reached.values()))
        elif kind == "done":
            done |= directory.added(task.members[0])
            directory.write_table(done.values())
            yield
