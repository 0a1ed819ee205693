"""TensorBoard: an event file, written with the package's own records."""

from __future__ import annotations

import time

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.protocol import About, Logged, defined

FOLDER = "tensorboard"


class TensorBoardEvents:
    """Writes an event per row with all its scalars, in single precision as TensorBoard does."""

    def __init__(self, directory: RunDirectory):
        folder = directory.path / FOLDER
        folder.mkdir()
        file = folder / f"events.out.tfevents.{time.time():.6f}.fedjax-rl"
        self._records = RecordWriter(file.open("wb"))
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, rows: Logged) -> None:
        for step, metrics in defined(rows):
            event = Event(wall_time=time.time(), step=step)
            for name, value in metrics.items():
                event.summary.value.add(tag=name, simple_value=value)
            self._add(event)
        self._records.flush()

    def close(self, finished: bool) -> None:
        self._records.close()

    def _add(self, event: Event) -> None:
        self._records.write(event.SerializeToString())


def open_sink(directory: RunDirectory, about: About) -> TensorBoardEvents:
    """Opens the event file of a run."""
    return TensorBoardEvents(directory)
