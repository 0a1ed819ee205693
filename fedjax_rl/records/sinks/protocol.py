"""The contract of a sink of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedjax_rl.columns import Columns


class About(NamedTuple):
    """The run that a sink writes about.

    Attributes:
        algorithm: its name.
        settings: all of them, as in ``config.yaml``.
    """

    algorithm: str
    settings: Mapping[str, Any]


class Logged(NamedTuple):
    """R logged rows, on the host.

    Attributes:
        steps: [R], rounds or learner steps.
        columns: [R] each, under the names of ``metrics.csv``.
        metrics: [R] each, under the names that tools show, NaN where undefined.
    """

    steps: np.ndarray
    columns: Columns
    metrics: Columns


class Sink(Protocol):
    """Takes the rows of one run, in order and each of them once.

    A run that is resumed hands a new sink all rows from round 0 on; what the earlier process
    wrote is gone by then. It is opened and closed by the thread of the run, and written to by
    another one.
    """

    def write(self, rows: Logged) -> None:
        """Takes the rows of a span."""

    def close(self, finished: bool) -> None:
        """Closes the sink; ``finished`` is false for a run that was stopped or failed."""


def defined(rows: Logged) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and metrics of every row, without those that are undefined there."""
    names = list(rows.metrics)
    values = zip(*(np.float64(leaf).tolist() for leaf in rows.metrics.values()), strict=True)
    for step, row in zip(rows.steps.tolist(), values, strict=True):
        yield step, {name: cell for name, cell in zip(names, row, strict=True) if cell == cell}
