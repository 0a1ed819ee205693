"""When a run saves itself, and how it is stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

import jax

from fedjax_rl.algorithm import Pytree
from fedjax_rl.cluster import hosts
from fedjax_rl.errors import Stopped
from fedjax_rl.execution.placement import on_host
from fedjax_rl.records import checkpoints
from fedjax_rl.records.checkpoint_leaves import named
from fedjax_rl.records.checkpoint_parts import held
from fedjax_rl.records.checkpoints import Origin, Progress, Saved
from fedjax_rl.records.saving import CheckpointSettings

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"fedjax-rl: saving, then stopping; once more to stop at once\n"


class Checkpointer(Protocol):
    """Restores and saves a run; the loop over spans calls it at every visit of the host."""

    def restore(self, template: Pytree) -> Progress | None:
        """The progress to resume from, or None; ``template`` is a freshly initialised state."""

    def visit(self, round: int, progress: Callable[[], Progress]) -> None:
        """A span has ended after ``round``; ``progress`` says all about it."""


class NoCheckpoints:
    """The checkpointer of a run that is written nowhere."""

    def restore(self, template: Pytree) -> Progress | None:
        return None

    def visit(self, round: int, progress: Callable[[], Progress]) -> None:
        return None


class DirectoryCheckpointer:
    """Saves a run while it goes on, and stops it when it is told to.

    Within its context SIGINT and SIGTERM are taken as a wish: at the next visit the run is
    saved and ends with `Stopped`. A second signal acts at once. Checkpoints are written by one
    thread beside the run, one after another. Of several processes all visit, the first one
    decides, and all write.

    Args:
        directory: of the run.
        settings: when to save.
        origin: what the run is.
        saved: the checkpoint to go on from.
        alone: whether no other process of a team visits with this one.
    """

    def __init__(
        self,
        directory: Path,
        settings: CheckpointSettings,
        origin: Origin,
        saved: Saved | None = None,
        *,
        alone: bool = False,
    ):
        self._directory = directory
        self._settings = settings
        self._origin = origin
        self._saved = saved
        self._alone = alone or jax.process_count() == 1
        self._decides = alone or hosts.writes()
        self._any_of = (lambda flag: flag) if alone else hosts.any_of
        self._last = (0, time.monotonic())
        # One thread: checkpoints reach the disk in the order in which they were taken.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        self._earlier: dict[signal.Signals, Any] = {}
        self._signal: int | None = None
        self._told = False

    def restore(self, template: Pytree) -> Progress | None:
        if self._saved is None:
            return None
        progress = checkpoints.progress_of(self._saved, template)
        self._saved, self._last = None, (progress.round, time.monotonic())
        return progress

    def visit(self, round: int, progress: Callable[[], Progress]) -> None:
        if self._writing is not None and self._writing.done():
            self._wait()  # what went wrong is raised at the next visit, not when the run has ended
        # Of a team each call is an exchange, so all must make the same calls: the second one is
        # made only where everybody has heard from the first that nobody was stopped.
        stopped = self._any_of(self._signal is not None)
        if not stopped and not self._any_of(self._decides and self._due(round)):
            return
        self._wait()  # a second copy of the state in memory would be one too many
        self._last = (round, time.monotonic())
        self._write(progress())  # made only now, for it is copied from the devices
        if stopped:
            self._wait()  # it is on the disk before anybody is told so
            number = self._signal or signal.SIGTERM
            raise Stopped(number, f"saved after round {round}", self._directory)

    def __enter__(self) -> DirectoryCheckpointer:
        # Python lets no other thread set handlers; there a signal ends the process as ever.
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._noticed) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.shutdown(wait=True)  # after an error, too: half a file helps nobody
        self._give_back_signals()
        if error is None:
            self._wait()
            if self._signal is not None and not self._told:  # it came after the last visit
                signal.raise_signal(self._signal)

    def stop(self, number: int) -> None:
        """Takes a signal that another process was sent; any thread may say so."""
        self._signal, self._told = number, True

    def _write(self, progress: Progress) -> None:
        """Begins to write; each process of a team writes what it holds of the state."""
        folder, keep = self._directory / checkpoints.FOLDER, self._settings.keep_checkpoints
        mine = None if self._alone else held(named(progress.state))
        if mine is None:
            progress = progress._replace(state=on_host(progress.state))
        arguments = (folder, progress, self._origin, keep, mine)
        self._writing = self._writer.submit(checkpoints.write, *arguments)

    def _due(self, round: int) -> bool:
        every, (last, when) = self._settings.checkpoint_every, self._last
        by_rounds = every is not None and round // every > last // every
        return by_rounds or time.monotonic() - when >= self._settings.checkpoint_seconds

    def _wait(self) -> None:
        """Until what is being written is there; raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _noticed(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._give_back_signals()  # so that a second one acts at once
        os.write(2, NOTICE)  # print could be what was interrupted

    def _give_back_signals(self) -> None:
        while self._earlier:
            signal.signal(*self._earlier.popitem())
