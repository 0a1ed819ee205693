"""The log of a run: which rows are logged, and the sinks that take them."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput, MissingExtra
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.saving import SinkName
from fedjax_rl.records.sinks.background import BackgroundSink
from fedjax_rl.records.sinks.csv_rows import CsvRows
from fedjax_rl.records.sinks.names import SPEED, metrics_of
from fedjax_rl.records.sinks.protocol import About, Logged, Sink
from fedjax_rl.terminal.live import working

FLAG = "--log-to"
MODULES = {
    "jsonl": "fedjax_rl.records.sinks.json_lines",
    "tensorboard": "fedjax_rl.records.sinks.tensorboard_events",
    "wandb": "fedjax_rl.records.sinks.wandb_offline",
    "mlflow": "fedjax_rl.records.sinks.mlflow_store",
}
"""Each imports what it needs, and has ``open_sink(directory, about)``.

Another one is named in `saving.SinkName`, too, and what it writes among `directory.WRITTEN` or
`FOLDERS`, or a run that goes on would find its old rows. Its extra has the name of the sink."""
OURS = ("csv", "jsonl")
"""Written at once; if one of these cannot be written, neither can the run."""


class LogSchedule(NamedTuple):
    """The rounds whose rows are logged.

    Attributes:
        unit: the column that counts.
        last: of which this is the end, which is always logged.
        every: rows that are logged are so many apart.
        seeds: runs that a row is the mean of.
    """

    unit: str
    last: int
    every: int
    seeds: int


class RunLog:
    """Hands the rows of a run to its sinks.

    A tool that fails while the run goes on is left out from there, with a warning: its figures
    are in ``metrics.csv`` too, and are not worth the run.
    """

    def __init__(self, schedule: LogSchedule):
        self._schedule = schedule
        self._sinks: dict[str, Sink] = {}
        self._speed = Speed(schedule)
        self._written = -1

    def add(self, name: str, sink: Sink) -> None:
        """From now on the sink takes rows."""
        self._sinks[name] = sink

    def write(self, rows: Columns) -> None:
        """Takes the columns of consecutive rounds, and logs those that are due."""
        schedule, steps = self._schedule, rows[self._schedule.unit]
        due = (steps % schedule.every == 0) | (steps == schedule.last)
        self._hand_out(rows, due, self._speed.since_last(rows))

    def write_last(self, rows: Columns) -> None:
        """Logs the last of these rows, if it was not due."""
        steps = rows[self._schedule.unit]
        if steps[-1] != self._written:
            self._hand_out(rows, steps == steps[-1], np.nan)

    def close(self, finished: bool) -> None:
        """Closes all sinks; waits for those that lag if the run has finished."""
        for name, sink in list(self._sinks.items()):
            with working(f"logging to {name}"):
                self._guarded(name, partial(sink.close, finished))
        self._sinks.clear()

    def _hand_out(self, rows: Columns, due: np.ndarray, speed: float) -> None:
        if not due.any():
            return
        columns = {name: column[due] for name, column in rows.items()}
        steps = columns[self._schedule.unit]
        metrics = metrics_of(columns, self._schedule.unit)
        logged = Logged(steps, columns, metrics | {SPEED: np.full(len(steps), speed)})
        for name, sink in list(self._sinks.items()):
            self._guarded(name, partial(sink.write, logged))
        self._written = int(steps[-1])

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            if name in OURS:
                raise
            del self._sinks[name]
            print(
                f"fedjax-rl: warning: {FLAG} {name} failed and is left out "
                f"({one_line(error)}); metrics.csv has every row",
                file=sys.stderr,
                flush=True,
            )


class Speed:
    """Frames per second, of all agents and seeds, between two visits of the host.

    Frames are environment steps, or where none are counted (exact evaluation, stale data) rounds
    or learner steps.
    """

    def __init__(self, schedule: LogSchedule):
        self._schedule = schedule
        self._before: tuple[float, float] | None = None

    def since_last(self, rows: Columns) -> float:
        """Of the frames since the rows before; NaN at the first of a process."""
        frames = rows.get("environment_steps", np.zeros(1))[-1] or rows[self._schedule.unit][-1]
        before, now = self._before, (float(frames), time.perf_counter())
        self._before = now
        if before is None:
            return np.nan
        return self._schedule.seeds * (now[0] - before[0]) / max(now[1] - before[1], 1e-9)


def check_sinks(names: Sequence[str]) -> None:
    """Imports what the sinks need.

    Raises:
        InvalidInput: there is no such sink, or one is named twice.
        MissingExtra: a package is not installed.
    """
    known = get_args(SinkName)
    for name in names:
        if name not in known:
            raise InvalidInput(FLAG, repr(name), f"one of {', '.join(known)}")
    if len(set(names)) != len(names):
        raise InvalidInput(FLAG, " ".join(names), "every sink once")
    for name in names:
        try:
            importlib.import_module(MODULES[name])
        except ImportError as error:
            package = (error.name or name).split(".")[0]
            raise MissingExtra(f"{FLAG} {name}", package, name) from None


@contextmanager
def open_log(
    directory: RunDirectory | None, names: Sequence[str], about: About, schedule: LogSchedule
) -> Iterator[RunLog]:
    """Opens the sinks of a run, and closes them in the end.

    Args:
        directory: None for a log that goes nowhere.
        names: sinks beside ``metrics.csv``, which `check_sinks` has seen.
        about: the run.
        schedule: which rows are logged.

    Raises:
        OSError: a tool does not open, in one line that names it.
    """
    log, finished = RunLog(schedule), False
    try:
        if directory is not None:
            log.add("csv", CsvRows(directory))
            for name in names:
                sink = _opened(name, directory, about)
                log.add(name, sink if name in OURS else BackgroundSink(sink))
        yield log
        finished = True
    finally:
        log.close(finished)


def _opened(name: str, directory: RunDirectory, about: About) -> Sink:
    builder: Any = importlib.import_module(MODULES[name])
    try:
        sink: Sink = builder.open_sink(directory, about)
    except Exception as error:
        raise OSError(f"{FLAG} {name} does not open ({one_line(error)})") from error
    return sink


def one_line(error: Exception) -> str:
    """The message of an error, short enough for a warning."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
