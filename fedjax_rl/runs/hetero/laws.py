"""The laws of latency and what the virtual clock is told, from settings."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.hetero.latency import Latency, LatencyChoices, latencies
from fedjax_rl.hetero.settings import ScheduleSettings
from fedjax_rl.runs.hetero.config import HeteroConfig

FLAGS = {
    "low": "--latency-low",
    "high": "--latency-high",
    "offset": "--latency-offset",
    "times": "--latency",
    "sync_seconds": "--latency",
}


@contextlib.contextmanager
def named_by_flags() -> Iterator[None]:
    """Laws and clocks know their settings by other names than the command line's.

    Raises:
        InvalidInput: the one raised inside, with the command line's name of its field.
    """
    try:
        yield
    except InvalidInput as error:
        if error.field.startswith("--") or error.field == "latency":
            raise
        name = FLAGS.get(error.field, flag(error.field))
        raise InvalidInput(name, error.value, error.allowed) from None


def schedule_settings(config: HeteroConfig, window: int, law: Latency) -> ScheduleSettings:
    """What the virtual clock is told."""
    each = config.sampler_seconds
    return ScheduleSettings(
        samplers=config.samplers,
        window=window,
        learner_seconds=config.learner_seconds,
        sampler_seconds=each[0] if len(each) == 1 else tuple(each),
        sync_seconds=law,
        travel_seconds=config.travel_seconds,
        jitter=config.jitter,
        packet_loss=config.packet_loss,
        pacing=config.pacing,
        discard=config.discard,
    )


def latency_of(config: HeteroConfig) -> Latency:
    """The law of the time between two syncs.

    Raises:
        InvalidInput: no such law, an unreadable trace, times that are none, or low ≥ high.
    """
    name = config.latency
    times: tuple[float, ...] = ()
    if name not in latencies and ":" not in name and (Path(name).suffix or Path(name).exists()):
        name, times = "trace", read_trace(Path(name))
    elif name == "constant":
        times = (config.latency_low,)
    choices = LatencyChoices(
        low=config.latency_low, high=config.latency_high, offset=config.latency_offset, times=times
    )
    law: Latency = latencies.make(name, choices)
    return law


def read_trace(path: Path) -> tuple[float, ...]:
    """Seconds from a CSV file: its last column, a header allowed.

    Raises:
        InvalidInput: no such file, or an entry that is no number.
    """
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InvalidInput("--latency", path, "a law, or a readable CSV file of seconds") from None
    times: list[float] = []
    for number, row in enumerate(rows):
        try:
            times.append(float(row[-1]))
        except ValueError:
            if number > 0:
                raise InvalidInput(
                    "--latency", f"{row[-1]!r} in line {number + 1} of {path}", "seconds"
                ) from None
    return tuple(times)
