"""``metrics.csv``, which every run has."""

from __future__ import annotations

from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.protocol import Logged

FILE = "metrics.csv"


class CsvRows:
    """Writes a line per row to ``metrics.csv`` with all digits; undefined cells are empty."""

    def __init__(self, directory: RunDirectory):
        self._directory = directory

    def write(self, rows: Logged) -> None:
        written = [
            [None if value != value else value for value in column.tolist()]
            for column in rows.columns.values()
        ]
        self._directory.append_rows(FILE, list(rows.columns), list(zip(*written, strict=True)))

    def close(self, finished: bool) -> None:
        return None
