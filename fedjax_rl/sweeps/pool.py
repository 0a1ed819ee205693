"""Processes that run the chunks of a sweep, and end with the one that started them.

A worker makes the members anew from the ``config.yaml`` of the sweep's directory, as ``resume``
does, is told which chunk to run, and puts the chunk's file there itself. Over a socket go words
alone. Its end at the pool closes with the pool's process, however that ends, and then so does the
worker.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import jax

from fedjax_rl.backend import compiler_variables
from fedjax_rl.cluster.cores import core_of
from fedjax_rl.errors import InvalidInput, Stopped
from fedjax_rl.records.checkpointer import NOTICE, SIGNALS

SECONDS_TO_NOTICE = 0.2
"""Most between a signal and its being passed on."""
SECONDS_TO_END = 30.0
"""After which a worker that has nothing to do is killed."""


class Refused(Exception):
    """Another process cannot make the members of this sweep; the message says why."""


class Task(NamedTuple):
    """A chunk to run.

    Attributes:
        group: index of its group, of the sweep or of the batch that was begun last.
        program: number of that group's program, the same in every batch.
        size: members of a chunk of that group.
        span_rounds: rounds between two visits of the host.
        members: numbers of its own.
        first: whether its program is still to be compiled, by this worker for all.
        timed: whether a few rounds are timed before.
    """

    group: int
    program: int
    size: int
    span_rounds: int
    members: tuple[int, ...]
    first: bool = False
    timed: bool = False


class Event(NamedTuple):
    """What a worker has to say of its chunk.

    Attributes:
        task: the chunk.
        kind: ``timed``, with an `Estimate`; ``compiled``; ``round``, with the last one that is
            done; ``done``.
        value: see there.
    """

    task: Task
    kind: str
    value: Any = None


class _Worker:
    """One of the processes.

    Args:
        number: from 1.
        core: that it keeps to, if to any.
        out: directory of the sweep.
        environment: its variables.
    """

    def __init__(self, number: int, core: int | None, out: Path, environment: dict[str, str]):
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: a file of the current directory must not stand for a module of the library.
            module = [sys.executable, "-P", "-m", "fedjax_rl.sweeps.worker"]
            self.process = subprocess.Popen(
                [*module, str(theirs.fileno()), str(core), str(out)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # the terminal's signals reach the pool, which passes on
            )
        self.number, self.connection = number, Connection(ours.detach())
        self.ready = False
        self.task: Task | None = None
        self.traced: set[int] = set()

    def send(self, message: object) -> None:
        """Tells it something, unless it is gone, which is noticed where it is listened to."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def end(self, seconds: float) -> None:
        """Waits for its end, and brings it about where that takes too long."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


class Pool:
    """So many workers, as a context; within it SIGINT and SIGTERM are a wish, as of a run.

    Args:
        count: of workers.
        out: directory of the sweep, with its ``config.yaml``.
    """

    def __init__(self, count: int, out: Path):
        self._count, self._out = count, out
        self._workers: list[_Worker] = []
        self._compiled: set[int] = set()
        self._timed = False
        self._signal: int | None = None
        self._earlier: dict[signal.Signals, Any] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Pool:
        with ExitStack() as opened:
            environment = _environment(opened)
            if threading.current_thread() is threading.main_thread():
                self._earlier = {one: signal.signal(one, self._noticed) for one in SIGNALS}
                opened.callback(self._give_back_signals)
            opened.callback(self._kill)
            for index in range(self._count):
                core = core_of(index, self._count)
                self._workers.append(_Worker(index + 1, core, self._out, environment))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._opened:
            if error is None:
                for worker in self._workers:
                    worker.send(None)
                for worker in self._workers:
                    worker.end(SECONDS_TO_END)
        if error is None and self._signal is not None:  # it came after the last chunk
            signal.raise_signal(self._signal)

    def begin(self, batch: object) -> None:
        """Tells every worker what the next batch of a search is made of."""
        for worker in self._workers:
            worker.send(("batch", batch))

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Has all chunks run, and says what happens, until they are done.

        Raises:
            Refused: before any of them.
            Stopped: a signal asked for it, and what is at work is saved.
            ChildProcessError: a worker has ended; likewise.
            InvalidInput, OSError: what went wrong with one.
        """
        waiting = list(tasks)
        while waiting or any(worker.task for worker in self._workers):
            for worker in self._workers:
                if worker.ready and worker.task is None and waiting:
                    self._deal(worker, waiting)
            heard = wait([one.connection for one in self._workers], SECONDS_TO_NOTICE)
            for worker in [one for one in self._workers if one.connection in heard]:
                if (event := self._heard(worker)) is not None:
                    yield event
            if self._signal is not None:
                self._stop(self._signal)
                raise Stopped(self._signal, "what was saved is kept", self._out)

    def _deal(self, worker: _Worker, waiting: list[Task]) -> None:
        """Gives a worker a chunk, of a program that it has traced or that nobody has, if it can.

        Those of a program that another one is compiling wait: then they find it compiled, and
        traced by then, too.
        """
        compiling = {one.task.program for one in self._workers if one.task and one.task.first}
        able = [task for task in waiting if task.program not in compiling - self._compiled]
        traced, compiled = worker.traced, self._compiled
        if not able:
            if (ahead := waiting[0]).program not in traced:
                traced.add(ahead.program)
                worker.send(("trace", ahead))
            return
        task = min(able, key=lambda one: (one.program not in traced, one.program in compiled))
        waiting.remove(task)
        worker.traced.add(task.program)
        first = task.program not in compiled
        worker.task = task._replace(first=first, timed=first and not self._timed)
        self._timed |= first
        worker.send(("run", worker.task))

    def _heard(self, worker: _Worker) -> Event | None:
        """What a worker says, if it is of a chunk."""
        try:
            kind, *value = worker.connection.recv()
        except (EOFError, OSError):
            self._lost(worker)
        if kind == "ready":
            worker.ready = True
            return None
        if kind == "refused":
            raise InvalidInput(*value) if worker.ready else Refused(str(InvalidInput(*value)))
        if kind == "failed":
            self._stop(signal.SIGTERM)
            raise OSError(*value)
        task = worker.task
        assert task is not None
        if kind != "round":
            self._compiled.add(task.program)
        if kind == "done":
            worker.task = None
        return Event(task, kind, *value)

    def _lost(self, worker: _Worker) -> None:
        """Stops the others, and says which one has ended."""
        status = worker.process.wait()
        how = f"with status {status}"
        if status < 0:
            how = f"by signal {-status} ({signal.Signals(-status).name})"
        self._stop(signal.SIGTERM)
        raise ChildProcessError(
            f"worker {worker.number} of {self._count} (process {worker.process.pid}) ended {how}; "
            "the others are stopped, and what was written so far is kept"
        )

    def _stop(self, number: int) -> None:
        """Has every worker save what it is at, and end."""
        for worker in self._workers:
            worker.send(("stop", number))
        for worker in self._workers:
            worker.process.wait()

    def _noticed(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._give_back_signals()  # so that a second one acts at once
        os.write(2, NOTICE)

    def _give_back_signals(self) -> None:
        while self._earlier:
            signal.signal(*self._earlier.popitem())

    def _kill(self) -> None:
        """Ends those that are still there."""
        for worker in self._workers:
            worker.process.kill()
            worker.end(SECONDS_TO_END)


def _environment(opened: ExitStack) -> dict[str, str]:
    """Variables of workers: they find the same modules, compile alike, and keep programs together.

    Where this session keeps no compiled programs, a folder that goes with the pool does.
    """
    found = os.pathsep.join(path for path in sys.path if path)
    known = {**os.environ, **compiler_variables(), "PYTHONPATH": found, "JAX_PLATFORMS": "cpu"}
    values = jax.config.values
    folder = values["jax_compilation_cache_dir"]
    if folder is None or not values["jax_enable_compilation_cache"]:
        folder = opened.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        known["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    known |= {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_ENABLE_COMPILATION_CACHE": "1"}
    return known
