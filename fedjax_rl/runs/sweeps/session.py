"""``sweep`` from start to end: plan, run what is not done, show, record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.errors import Stopped
from fedjax_rl.runs import hosts
from fedjax_rl.runs.devices import ONE, DeviceSettings
from fedjax_rl.runs.directory import made_with
from fedjax_rl.runs.keeper import Keeper, KeepsNothing
from fedjax_rl.runs.live import working
from fedjax_rl.runs.place import Destination
from fedjax_rl.runs.ranking import EVERY_SEED
from fedjax_rl.runs.resume import SWEEP
from fedjax_rl.runs.sweeps import words
from fedjax_rl.runs.sweeps.estimate import estimate
from fedjax_rl.runs.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.runs.sweeps.family import Family, family
from fedjax_rl.runs.sweeps.plan import Group, Member, content_of, grouped, members_of
from fedjax_rl.runs.sweeps.progress import SweepProgress
from fedjax_rl.runs.sweeps.question import Question, question_of, recorded_share
from fedjax_rl.runs.sweeps.results import SweepDirectory
from fedjax_rl.runs.sweeps.space import Space, space_of
from fedjax_rl.settings.files import settings_from


class Asked(NamedTuple):
    """What a sweep is to do.

    Attributes:
        algorithm: its name.
        base: settings that are not swept; ``seeds`` of them of every combination.
        space: those that are.
        chunk: members side by side; None for as many as fit memory.
        destination: where it is written, and how it survives.
        devices: over which members or their agents are spread.
        feasible_seeds: share of seeds that must keep every budget.
    """

    algorithm: str
    base: Any
    space: Space
    chunk: int | None = None
    destination: Destination = Destination()
    devices: DeviceSettings = ONE
    feasible_seeds: float = EVERY_SEED

    @property
    def question(self) -> Question:
        """What a sweep calls the best."""
        headline = family(self.algorithm).headline
        return question_of(headline, feasible_seeds=self.feasible_seeds)

    def resolved(self, kind: Family) -> Asked:
        """The same with absolute file names, of what is swept too: it goes on from anywhere."""

        def absolute(name: str, value: str) -> str:
            named: Any = kind.resolved(dataclasses.replace(self.base, **{name: value}))
            return str(getattr(named, name))

        space = self.space.renamed(kind.config, absolute)
        return self._replace(base=kind.resolved(self.base), space=space)

    def document(self) -> dict[str, Any]:
        """All of it but the devices, as ``config.yaml`` holds it."""
        space = self.space
        return {
            "algorithm": SWEEP + self.algorithm,
            "grid": space.grid,
            "random": space.random,
            "samples": space.samples,
            "sample_seed": space.sample_seed,
            "chunk": "auto" if self.chunk is None else self.chunk,
            "feasible_seeds": self.feasible_seeds,
            "settings": dataclasses.asdict(self.base),
            "checkpoints": dataclasses.asdict(self.destination.checkpoints),
        }


def asked_again(
    document: dict[str, Any], algorithm: str, destination: Destination, devices: DeviceSettings
) -> Asked:
    """What the ``config.yaml`` of a sweep asked for.

    Raises:
        InvalidInput: it holds what cannot be.
    """
    kind = family(algorithm).config
    base: Any = settings_from(kind, document["settings"])
    laws = document["grid"] or {}, document["random"] or {}
    space = space_of(kind, *laws, document["samples"], document["sample_seed"])
    chunk = None if document["chunk"] == "auto" else document["chunk"]
    share = recorded_share(document)
    return Asked(algorithm, base, space, chunk, destination, devices, share)


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
    kind, question = family(asked.algorithm), asked.question
    asked = asked.resolved(kind)
    with working("preparing every member"):
        groups = grouped(members_of(kind, asked.base, asked.space), asked.chunk)
        content = content_of(kind, (member for group in groups for member in group.members))
    every = asked.destination.checkpoints.chunk
    groups = [group.share(*hosts.share()).visited(every) for group in groups]
    groups = [group for group in groups if group.members]
    for group in groups:
        group.placement(kind, asked.devices)  # refuses before an earlier sweep is overwritten
    with opened(asked, content) as directory:
        done = {} if directory is None else directory.done()
        told = words.plan(asked.algorithm, asked.space, asked.base.seeds, groups, set(done))
        print(told, flush=True)
        try:
            _run(kind, groups, asked.devices, directory, done, question)
        except Stopped as stop:
            if directory is not None and done:
                directory.write(done.values())
            raise stop.of(asked.destination.out) from None
        hosts.wait_for_all()
        done = done if directory is None else directory.done()
        rows = [done[member].row for member in sorted(done)]
        print(words.closing(rows, question), flush=True)
        if directory is None:
            print("Nothing was written; --out DIR keeps the table and the curves.")
        else:
            directory.write(done.values())
            print(f"Written to {directory.path}: {directory.names()}", flush=True)
    return all(row["status"] == DIVERGED for row in rows)


def opened(asked: Asked, content: str) -> AbstractContextManager[SweepDirectory | None]:
    """The directory of a sweep on a problem of that digest, or None when nothing is written."""
    if asked.destination.out is None:
        return nullcontext()
    return SweepDirectory(asked.destination, asked.document() | {"made_with": made_with(content)})


def _run(
    kind: Family,
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
    program = _timed(kind, waiting, devices, done) if waiting else None
    with SweepProgress(left) as progress:
        for group in waiting:
            program = program or group.program(kind, devices)
            for members in group.chunks(done):
                progress.chunk(group.rounds)
                with kept(directory, members) as keeper:
                    finished = run_chunk(kind, group, program, members, progress.round, keeper)
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
    kind: Family, groups: Sequence[Group], devices: DeviceSettings, done: dict[int, Done]
) -> Algorithm:
    """Says how long groups will take; the first one's program, compiled on the way."""
    program = groups[0].program(kind, devices)
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
