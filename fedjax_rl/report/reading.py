"""The files of a directory, read leniently: a run that was stopped is shown as far as it went."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.figures.description import FloatArray
from fedjax_rl.records.directory import MARK, SWEEP, UNREADABLE
from fedjax_rl.settings.files import read_yaml
from fedjax_rl.settings.text_file import read_csv, read_text

FIELD = "directory"
WRITERS = "a directory that fedjax-rl run, compare, sweep or solve wrote"


class Source(NamedTuple):
    """A directory whose ``config.yaml`` was read.

    Attributes:
        path: of it.
        kind: ``run``, ``sweep`` or ``solution``.
        algorithm: its name.
        config: the document.
    """

    path: Path
    kind: str
    algorithm: str
    config: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.path / name).is_file()

    def document(self, name: str) -> dict[str, Any]:
        """A JSON document, empty where there is no such file.

        Raises:
            InvalidInput: it cannot be read or is no mapping.
        """
        if not self.has(name):
            return {}
        text = read_text(FIELD, self.path / name, "JSON document")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise InvalidInput(FIELD, self.path / name, "a readable JSON document")
        return document

    def texts(self, name: str) -> dict[str, list[str]]:
        """The columns of a CSV file as text; a last line that was cut off is left out.

        Raises:
            InvalidInput: it cannot be read, or a line before the last has other columns.
        """
        if not self.has(name):
            return {}
        lines = read_csv(FIELD, self.path / name)
        if not lines:
            raise InvalidInput(FIELD, self.path / name, "a readable CSV file; it is empty")
        header, rows = lines[0].cells, lines[1:]
        if len(header) == 1 and ";" in header[0]:
            raise InvalidInput(FIELD, self.path / name, "commas between columns, not semicolons")
        for line in rows[:-1]:
            if (count := len(line.cells)) != len(header):
                where = f"line {line.number} of {self.path / name}"
                found = f"{count} cell{'s' * (count != 1)} in {where}"
                raise InvalidInput(FIELD, found, f"{len(header)}, as in the header")
        whole = [line.cells for line in rows if len(line.cells) == len(header)]
        return {title: [row[index] for row in whole] for index, title in enumerate(header)}

    def columns(self, name: str) -> Columns:
        """The columns of a CSV file as numbers; NaN for what is none."""
        return {title: _numbers(cells) for title, cells in self.texts(name).items()}

    def arrays(self, name: str, ranks: int = 1) -> Columns:
        """The arrays of an npz file with so many axes, empty where there is none.

        Raises:
            InvalidInput: it cannot be read.
        """
        if not self.has(name):
            return {}
        try:
            with np.load(self.path / name, allow_pickle=False) as file:
                arrays = {key: np.asarray(file[key], np.float64) for key in file.files}
        except UNREADABLE:
            raise InvalidInput(FIELD, self.path / name, "a readable npz file") from None
        return {key: values for key, values in arrays.items() if values.ndim == ranks}


def open_source(path: Path) -> Source:
    """The files of a directory, by what wrote them.

    Raises:
        InvalidInput: it is none, or nothing that the command line wrote.
    """
    if not path.is_dir():
        raise InvalidInput(FIELD, path, f"{WRITERS}; there is no such directory")
    if not (path / MARK).is_file():
        raise InvalidInput(FIELD, path, f"{WRITERS}, with its {MARK}")
    config = read_yaml(FIELD, path / MARK)
    if isinstance(config, dict):
        algorithm = config.get("algorithm")
        kind = _kind(algorithm, config)
        if kind is not None:
            return Source(path, kind, str(algorithm).removeprefix(SWEEP), config)
    raise InvalidInput(FIELD, path / MARK, f"that of {WRITERS}")


def _kind(algorithm: Any, config: dict[str, Any]) -> str | None:
    if algorithm is None or algorithm == "solve":
        return "solution" if algorithm else None
    if isinstance(algorithm, str) and algorithm.startswith(SWEEP):
        return "sweep" if isinstance(config.get("settings"), dict) else None
    try:
        settings: Any = family_of(str(algorithm)).settings
    except InvalidInput:
        return None
    # Any name with a colon may be a loss of somebody's own; its settings tell whether it is.
    known_settings = {field.name for field in dataclasses.fields(settings)}
    return "run" if ":" not in str(algorithm) or known_settings & config.keys() else None


def _numbers(cells: list[str]) -> FloatArray:
    """[R] of cells; NaN for words and nothing."""
    try:
        return np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return np.array([_number(cell) for cell in cells])


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return {"True": 1.0, "False": 0.0}.get(cell, math.nan)
