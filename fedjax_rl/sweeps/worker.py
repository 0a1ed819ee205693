"""``python -m fedjax_rl.sweeps.worker``: runs the chunks that a `Pool` tells it to."""

from __future__ import annotations

import itertools
import os
import queue
import sys
import threading
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.backend import start_backend
from fedjax_rl.cluster.cores import pin
from fedjax_rl.errors import InvalidInput, Stopped
from fedjax_rl.execution.train import trace_ahead
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.checkpointer import DirectoryCheckpointer
from fedjax_rl.records.directory import MARK, SWEEP
from fedjax_rl.records.output import Destination
from fedjax_rl.records.programs import READ
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.settings.fields import PROBLEM, names
from fedjax_rl.settings.files import read_run_file, settings_from
from fedjax_rl.sweeps import search as searching
from fedjax_rl.sweeps import session
from fedjax_rl.sweeps.batches import Programs
from fedjax_rl.sweeps.estimate import estimate
from fedjax_rl.sweeps.execution import run_chunk
from fedjax_rl.sweeps.plan import content_of, plan_of, seeds_of
from fedjax_rl.sweeps.pool import Task
from fedjax_rl.sweeps.request import SweepRequest, request_in
from fedjax_rl.sweeps.search_request import Search, search_again
from fedjax_rl.training.members import Group
from fedjax_rl.training.protocol import Assembler


class Line:
    """The connection to the pool; a thread hears it whatever the process is doing.

    Where it closes, the pool's process has ended, and this one does at once.

    Args:
        connection: to the pool.
    """

    def __init__(self, connection: Connection):
        self._connection = connection
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._checkpointer: DirectoryCheckpointer | None = None
        self.send = connection.send
        threading.Thread(target=self._hear, name="line", daemon=True).start()

    def next(self) -> Any:
        """Waits for the next message; None is the last one."""
        return self._told.get()

    def at_work(self, checkpointer: object) -> None:
        """What saves the chunk at work, if anything does; None where there is no chunk."""
        saves = isinstance(checkpointer, DirectoryCheckpointer)
        self._checkpointer = checkpointer if saves else None  # type: ignore[assignment]

    def _hear(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if message is None or message[0] != "stop":
                self._told.put(message)
            elif (checkpointer := self._checkpointer) is None:
                os._exit(0)  # there is nothing to save
            else:
                checkpointer.stop(message[1])
                self._told.put(None)  # where the chunk is done before the next visit


class Members:
    """Members of a sweep, made anew, and the programs of their groups.

    Args:
        request: of the sweep, in its directory.

    Attributes:
        directory: of the sweep, as a context.

    Raises:
        InvalidInput: the members cannot be made here.
    """

    def __init__(self, request: SweepRequest):
        plan = plan_of(request, reckoned=False)
        self._work = plan.work
        self._programs: dict[int, Algorithm] = {}
        self.directory = session.opened(request, plan, owner=False)

    def begin(self, batch: Any) -> None:
        """A sweep has no batches."""

    def of(self, task: Task) -> tuple[Assembler, Group, Algorithm]:
        """The group of a chunk, with its program."""
        assembler, group = self._work[task.group]
        group = group._replace(size=task.size, span_rounds=task.span_rounds)
        if task.group not in self._programs:
            self._programs[task.group] = group.program(assembler)
        return assembler, group, self._programs[task.group]


class Trials:
    """The same of a search, batch by batch.

    Args:
        search: of the directory.

    Raises:
        InvalidInput: the members cannot be made here.
    """

    def __init__(self, search: Search):
        algorithm, self._base = search.request.algorithm, search.request.base
        family = family_of(algorithm)
        self._assembler = family.assembler(algorithm)
        self._known = searching.prototypes_of(search, self._assembler)
        self._programs: Programs | None = None
        self._work: Sequence[tuple[Group, Algorithm]] = ()
        content = content_of(self._assembler, names(family.settings, PROBLEM), self._known)
        self.directory = searching.opened(search, content, owner=False)

    def begin(self, batch: Any) -> None:
        """Makes the members of a batch: settings of trials by number, and sizes of chunks."""
        trials, sizes = batch
        if self._programs is None:
            self._programs = Programs(self._assembler, self._known, 1, sizes=sizes)
        members = [
            member
            for index, combination in trials
            for member in seeds_of(self._assembler, self._base, index, combination)
        ]
        self._work = list(self._programs.of(members))

    def of(self, task: Task) -> tuple[Assembler, Group, Algorithm]:
        """The group of a chunk, with its program."""
        group, program = self._work[task.group]
        assert group.size == task.size
        return self._assembler, group._replace(span_rounds=task.span_rounds), program


class Worker:
    """What runs chunks.

    Args:
        members: of which they are.
        core: to keep to, if to any.
        line: to the pool.
    """

    def __init__(self, members: Members | Trials, core: int | None, line: Line):
        self._members, self._core, self._line = members, core, line

    def begin(self, batch: Any) -> None:
        """Hears of a batch."""
        self._members.begin(batch)

    def trace(self, task: Task) -> None:
        """Traces the program of a chunk that will be run when another worker has compiled it."""
        _, group, program = self._members.of(task)
        keys, hparams = group.inputs(group.members[: group.size])
        trace_ahead(program, keys, hparams, group.span_rounds)

    def run(self, task: Task) -> None:
        """Runs a chunk and adds it to the directory.

        Raises:
            Stopped: it was told to; the chunk is saved.
        """
        assembler, group, program = self._members.of(task)
        own = set(task.members)
        members = tuple(member for member in group.members if member.number in own)
        if task.timed:
            self._line.send(("timed", estimate(group, program, self._compiled)))
        if not task.first:  # else it compiles before it keeps to a core, for others wait for it
            pin(self._core)
        visits = itertools.count()

        def reached(round: int) -> None:
            if next(visits) == 1 and task.first and not task.timed:  # 0 is before any round
                self._compiled()
            self._line.send(("round", round))

        with self._members.directory as directory:
            assert directory is not None
            with session.saving(directory, members) as checkpointer:
                self._line.at_work(checkpointer)
                finished = run_chunk(assembler, group, program, members, reached, checkpointer)
            directory.add(finished)
        self._line.at_work(None)
        self._line.send(("done",))

    def _compiled(self) -> None:
        """Keeps to its core, and says that others will find its program compiled."""
        pin(self._core)
        self._line.send(("compiled",))


def main(descriptor: int, core: int | None, out: Path) -> None:
    """Runs chunks until there are no more.

    Args:
        descriptor: of the socket to the pool.
        core: to keep to, if to any, once its first program is compiled.
        out: directory of the sweep.
    """
    warnings.filterwarnings("ignore", READ)
    sys.path.insert(0, "")  # as of the command line, where a name is module:factory
    line = Line(Connection(descriptor))
    try:
        file = read_run_file(out / MARK, "run directory")
        checkpoints = settings_from(CheckpointSettings, file.checkpoints, "checkpoints")
        destination = Destination(out, checkpoints=checkpoints, resume=True)
        algorithm = str(file.algorithm).removeprefix(SWEEP)
        request = request_in(file, algorithm, destination)
        # Before it keeps to a core: how sums are split among threads depends on how many there are,
        # and with it last bits.
        start_backend()
        if (asked := file.settings.get("search")) is None:
            worker = Worker(Members(request), core, line)
        else:
            worker = Worker(Trials(search_again(request, asked)), core, line)
        line.send(("ready",))
        while (message := line.next()) is not None:
            {"run": worker.run, "trace": worker.trace, "batch": worker.begin}[message[0]](
                message[1]
            )
        os._exit(0)  # all is written, and the pool waits
    except InvalidInput as error:
        line.send(("refused", error.field, str(error.value), error.allowed))
    except OSError as error:
        line.send(("failed", " ".join(str(error).split())))
    except Stopped:
        return


if __name__ == "__main__":
    word = sys.argv[2]
    main(int(sys.argv[1]), None if word == "None" else int(word), Path(sys.argv[3]))
