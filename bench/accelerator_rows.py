"""Rows that fit a limit of time, and the file that their figures are written to as they come."""

from __future__ import annotations

import json
import math
import os
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

PACE = (0.1, 10.0)
"""Between which the estimates of rows are corrected by what rows before them took."""
MEASURED, FAILED, LEFT_OUT = "measured", "failed", "left out"


class Row(NamedTuple):
    """Something to measure.

    Attributes:
        name: unique.
        seconds: a guess of what it takes on a card, compilation included.
        work: given the rows so far, returns its figures.
    """

    name: str
    seconds: float
    work: Callable[[dict[str, Any]], dict[str, Any]]


class NotNeeded(Exception):
    """A row has nothing to add, and says why in one line."""


class Document:
    """The figures so far, in a file that is whole at any time.

    Args:
        path: JSON file; None for none.
        head: what stands before the rows.
    """

    def __init__(self, path: pathlib.Path | None, head: dict[str, Any]):
        self._path = path
        self._lock = threading.Lock()
        self.rows: dict[str, Any] = {}
        self._head = plain(head) | {"stopped": None, "rows": self.rows}

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Takes a row in and writes the file."""
        with self._lock:
            self.rows[name] = plain(entry)
            self._write()

    def stop(self, reason: str | None) -> None:
        """Says why it ended, and writes the file."""
        with self._lock:
            self._head["stopped"] = reason
            self._write()

    @property
    def measured(self) -> bool:
        """Whether any row has figures."""
        return any(row["status"] == MEASURED for row in list(self.rows.values()))

    def _write(self) -> None:
        if self._path is None:
            return
        text = json.dumps(self._head, indent=2, allow_nan=False) + "\n"
        # Replaced and not overwritten: the machine may go while it is written.
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, self._path)


class Limit:
    """The time that there is.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._begun = time.perf_counter()
        self._paces: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.perf_counter() - self._begun)

    def estimate(self, section: str, row: Row) -> float:
        """Seconds that a row will take, by its guess and what rows took beside theirs."""
        known = list(self._paces.values())
        pace = self._paces.get(section, sum(known) / len(known) if known else 1.0)
        return row.seconds * min(max(pace, PACE[0]), PACE[1])

    def took(self, section: str, row: Row, seconds: float) -> None:
        """Learns from a row that was measured; the latest of a section counts as much as all."""
        pace = seconds / row.seconds
        self._paces[section] = (self._paces.get(section, pace) + pace) / 2


def run(
    section: str, row: Row, limit: Limit, rows: dict[str, Any], reserved: float = 0.0
) -> dict[str, Any]:
    """One row: its figures, or in one line why there are none.

    Args:
        section: of the row.
        row: what to measure.
        limit: the time that there is.
        rows: those before it.
        reserved: seconds that are kept for others.
    """
    needs, left = limit.estimate(section, row), max(0.0, limit.left - reserved)
    if needs > left:
        reason = f"about {needs:.0f} s are needed and {left:.0f} s are left"
        return entry_of(section, LEFT_OUT, reason=reason)
    begun = time.perf_counter()
    try:
        figures = row.work(rows)
    except NotNeeded as reason:
        return entry_of(section, LEFT_OUT, reason=str(reason))
    except Exception as error:  # out of memory above all: the other rows may still be measured
        return entry_of(section, FAILED, time.perf_counter() - begun, one_line(error))
    seconds = time.perf_counter() - begun
    limit.took(section, row, seconds)
    return entry_of(section, MEASURED, seconds) | {"figures": figures}


def one_line(error: BaseException) -> str:
    """An error and its message in one line that fits a table."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def plain(value: Any) -> Any:
    """What JSON can hold: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(name): plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain(own) for own in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def entry_of(section: str, status: str, seconds: float = 0.0, reason: str = "") -> dict[str, Any]:
    """A row of the document; a reason where it has no figures."""
    entry: dict[str, Any] = {"section": section, "status": status, "seconds": seconds}
    return entry | ({"reason": reason} if reason else {})
