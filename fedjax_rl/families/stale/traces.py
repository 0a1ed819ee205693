"""Laws of latency by name: registered ones, one's own, and files of measured seconds."""

from __future__ import annotations

import math
import re
from pathlib import Path

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.latency import LatencyLaw, empirical, latencies
from fedjax_rl.settings.text_file import Line, read_csv

NAME = re.compile(r"(?!(?:nan|na|n/a|inf|infinity|null|none)$)[^\W\d_][^;,\t]*", re.IGNORECASE)
"""What heads a column: it begins with a letter, and is no way of writing that there is nothing."""


def law_of(name: str) -> LatencyLaw:
    """A registered law, that of a ``module:factory``, or draws from a file's times.

    A file is read when its law is made, and not before.

    Raises:
        InvalidInput: no such law.
    """
    if names_trace(name):
        return LatencyLaw(lambda settings: empirical(read_trace(Path(name))))
    law: LatencyLaw = latencies.make(name)
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
