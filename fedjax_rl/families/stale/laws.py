"""The laws of latency and what the virtual clock is told, from settings."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.hetero.latency import Latency, LatencyChoices, latencies
from fedjax_rl.hetero.settings import ScheduleSettings
from fedjax_rl.settings.fields import check_default
from fedjax_rl.settings.text_file import Line, read_csv

FLAGS = {
    "low": "--latency-low",
    "high": "--latency-high",
    "offset": "--latency-offset",
    "times": "--latency",
    "sync_seconds": "--latency",
}
FITTED = ("latency_low", "latency_high", "latency_offset")
"""Settings of laws that are fitted to quantiles; a trace has none, the constant law the first."""
NAME = re.compile(r"(?!(?:nan|na|n/a|inf|infinity|null|none)$)[^\W\d_][^;,\t]*", re.IGNORECASE)
"""What heads a column: it begins with a letter, and is no way of writing that there is nothing."""


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
        InvalidInput: no such law, an unreadable trace, times that are none, low ≥ high, or a
            setting that the law does not have.
    """
    name = config.latency
    times: tuple[float, ...] = ()
    if names_trace(name):
        check_default(config, FITTED, "a law that is fitted")
        name, times = "trace", read_trace(Path(name))
    elif name == "constant":
        check_default(config, FITTED[1:], "a law that is fitted")
        times = (config.latency_low,)
    choices = LatencyChoices(
        low=config.latency_low, high=config.latency_high, offset=config.latency_offset, times=times
    )
    law: Latency = latencies.make(name, choices)
    return law


def names_trace(name: str) -> bool:
    """Whether the name of a law is that of a file of seconds."""
    is_path = bool(Path(name).suffix) or Path(name).exists()
    return name not in latencies and ":" not in name and is_path


def read_trace(path: Path) -> tuple[float, ...]:
    """Seconds from a CSV file: one number a line, or the last column under a header.

    Without a header there is one column: ``60,5`` would be two, or one with a decimal comma.

    Raises:
        InvalidInput: no such file, no times, a line with other columns than the first, or an
            entry that is no finite number of at least 0.
    """
    lines = read_csv("--latency", path)
    width, rows = 1, lines
    # Tables of other programs have a first column of row names, whose own name may be empty.
    *before, last = [cell.strip() for cell in lines[0].cells] if lines else [""]
    if NAME.fullmatch(last) and all(not name or NAME.fullmatch(name) for name in before):
        width, rows = len(lines[0].cells), lines[1:]
    if not rows:
        raise InvalidInput("--latency", f"no times in {path}", "at least one, in seconds")
    return tuple(_seconds(line, width, path) for line in rows)


def _seconds(line: Line, width: int, path: Path) -> float:
    """The last cell of a line; raises InvalidInput unless it is a time, and there are so many."""
    text = line.cells[-1].strip() if len(line.cells) == width else ",".join(line.cells)
    try:
        seconds = math.nan if "_" in text or len(line.cells) != width else float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds < math.inf:
        allowed = "seconds, finite and of at least 0, with a decimal point and no unit"
        if len(line.cells) != width:
            allowed = f"{width} column{'s' * (width > 1)}; a file of several has a header of names"
        raise InvalidInput("--latency", f"{text!r} in line {line.number} of {path}", allowed)
    return seconds
