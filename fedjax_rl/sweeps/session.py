"""``sweep`` from start to end: plan, run what is not done, show, record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cluster import hosts
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.errors import Stopped
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.directory import made_with
from fedjax_rl.records.keeper import Keeper, KeepsNothing
from fedjax_rl.settings.fields import PROBLEM, names
from fedjax_rl.sweeps import comparison, words
from fedjax_rl.sweeps.estimate import estimate
from fedjax_rl.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.sweeps.plan import content_of, members_of
from fedjax_rl.sweeps.progress import SweepProgress
from fedjax_rl.sweeps.question import Question
from fedjax_rl.sweeps.request import Asked
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import working
from fedjax_rl.training.members import Group, Member, grouped
from fedjax_rl.training.protocol import Assembler


def sweep_and_record(asked: Asked) -> bool:
    """Runs the members that are not done, chunk by chunk, and writes what came out.

    Several processes share the members, and each writes the chunks of its own.

    Returns:
        Whether every member diverged.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it; the chunks that are done and the one at work are kept.
    """
    asked.destination.check()
    asked, question = asked.resolved(), asked.question
    family = family_of(asked.algorithm)
    assembler = family.assembler(asked.algorithm)
    with working("preparing every member"):
        groups = grouped(members_of(assembler, asked.base, asked.space), asked.chunk)
        everyone = (member for group in groups for member in group.members)
        content = content_of(assembler, names(family.settings, PROBLEM), everyone)
    every = asked.destination.checkpoints.chunk
    groups = [group.share(*hosts.share()).visited(every) for group in groups]
    groups = [group for group in groups if group.members]
    for group in groups:
        group.placement(assembler, asked.devices)  # refuses before an earlier sweep is overwritten
    with opened(asked, content) as directory:
        done = {} if directory is None else directory.done()
        told = words.plan(asked.algorithm, asked.space, asked.base.seeds, groups, set(done))
        print(told, flush=True)
        try:
            _run(assembler, groups, asked.devices, directory, done, question)
        except Stopped as stop:
            if directory is not None and done:
                directory.write(done.values())
            raise stop.of(asked.destination.out) from None
        hosts.wait_for_all()
        done = done if directory is None else directory.done()
        rows = [done[member].row for member in sorted(done)]
        if asked.compare:
            print(comparison.text_table(comparison.compared(rows, question), question))
        print(words.closing(rows, question), flush=True)
        if directory is None:
            print("Nothing was written; --out DIR keeps the table and the curves.")
        else:
            directory.write(done.values())
            if asked.compare:
                import_matplotlib(directory.path)
                with working("drawing"):
                    comparison.write_comparison(directory, done, question)
            print(f"Written to {directory.path}: {directory.names()}", flush=True)
    return all(row["status"] == DIVERGED for row in rows)


def opened(asked: Asked, content: str) -> AbstractContextManager[SweepDirectory | None]:
    """The directory of a sweep on a problem of that digest, or None when nothing is written."""
    if asked.destination.out is None:
        return nullcontext()
    made = {"made_with": made_with(content)}
    return SweepDirectory(asked.destination, asked.document() | made, asked.identity() | made)


def _run(
    assembler: Assembler,
    groups: Sequence[Group],
    devices: DeviceSettings,
    directory: SweepDirectory | None,
    done: dict[int, Done],
    question: Question,
) -> None:
    """Fills ``done``, which holds members by number."""
    waiting = [group for group in groups if group.chunks(done)]
    left = sum(len(group.chunks(done)) for group in waiting)
    marks = [time.perf_counter()]
    program = _timed(assembler, waiting, devices, done) if waiting else None
    with SweepProgress(left) as progress:
        for group in waiting:
            program = program or group.program(assembler, devices)
            for members in group.chunks(done):
                progress.chunk(group.rounds)
                with kept(directory, members) as keeper:
                    finished = run_chunk(assembler, group, program, members, progress.round, keeper)
                if directory is None:
                    done |= {one.member: one for one in finished}
                else:
                    done |= directory.add(finished)
                    directory.write_table(done.values())
                marks.append(time.perf_counter())
                best = words.best([one.row for one in done.values()], question)
                progress.chunk_done(words.passed(marks, left), best)
            program = None


def _timed(
    assembler: Assembler, groups: Sequence[Group], devices: DeviceSettings, done: dict[int, Done]
) -> Algorithm:
    """Says how long groups will take; the first one's program, compiled on the way."""
    program = groups[0].program(assembler, devices)
    with working("compiling the first group"):
        told = estimate(groups[0], program)
    print(words.duration(told, groups, done), flush=True)
    return program


@contextmanager
def kept(directory: SweepDirectory | None, members: Sequence[Member]) -> Iterator[Keeper]:
    """The keeper of a chunk."""
    keeper = None if directory is None else directory.keeper(members)
    if keeper is None:
        yield KeepsNothing()
        return
    with keeper:
        yield keeper
