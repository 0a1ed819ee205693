"""``metrics.jsonl``: the rows of ``metrics.csv``, each a JSON object under the same names."""

from __future__ import annotations

import json
import math

from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.protocol import About, Logged

FILE = "metrics.jsonl"


class JsonLines:
    """Writes a JSON object per row with all digits; numbers that JSON lacks are null."""

    def __init__(self, directory: RunDirectory):
        self._path = directory.path / FILE

    def write(self, rows: Logged) -> None:
        values = zip(*(column.tolist() for column in rows.columns.values()), strict=True)
        with self._path.open("a", encoding="utf-8") as file:
            for row in values:
                cells = [cell if math.isfinite(cell) else None for cell in row]
                line = dict(zip(rows.columns, cells, strict=True))
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self, finished: bool) -> None:
        return None


def open_sink(directory: RunDirectory, about: About) -> JsonLines:
    """Opens the file of a run."""
    return JsonLines(directory)
