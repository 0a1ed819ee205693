"""The directory of a sweep: what was asked, a file for every chunk that is done, one table."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_rl.cluster import hosts
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import as_text
from fedjax_rl.records.checkpoint_files import digest_of
from fedjax_rl.records.checkpointer import DirectoryCheckpointer
from fedjax_rl.records.checkpoints import Origin
from fedjax_rl.records.directory import (
    LOCK,
    MARK,
    SWEEP,
    UNREADABLE,
    RunDirectory,
    npz_bytes,
    plain,
    write_atomically,
)
from fedjax_rl.records.output import Destination, newest_of
from fedjax_rl.settings.files import read_yaml
from fedjax_rl.settings.values import dump
from fedjax_rl.sweeps.execution import Done
from fedjax_rl.training.members import Member
from fedjax_rl.training.rows import Row

CHUNKS = "chunks"
"""Folder of the files of chunks."""
CHUNK_FILES = "[0-9]*.npz"
ANEW = ("chunk", "checkpoints", "made_with", "feasible_seeds")
"""What may differ when a sweep goes on: how members are dealt and saved, the versions, and which
are then called feasible. (A search depends on the latter, and has it among what it asked for.)"""


def listed_in(value: Any) -> Any:
    """The value with tuples as lists, as YAML reads it back."""
    if isinstance(value, Mapping):
        return {name: listed_in(entry) for name, entry in value.items()}
    return [listed_in(entry) for entry in value] if isinstance(value, tuple | list) else value


class SweepDirectory:
    """Writes the files of a sweep, and finds what an earlier process had done.

    Of several processes one owns the directory and writes the tables; each adds the chunks that
    it ran.

    Args:
        destination: a directory that is new or empty, or a sweep to overwrite or to go on with.
        document: what is asked for, and with what it is made.
        identity: what must be the same in a sweep to go on with; the document unless given.
        owner: whether this process owns it; unless given, the first of a team does.

    Raises:
        InvalidInput: the directory cannot be written, or holds chunks of another sweep.
    """

    def __init__(
        self,
        destination: Destination,
        document: Mapping[str, Any],
        identity: Mapping[str, Any] | None = None,
        owner: bool | None = None,
    ):
        assert destination.out is not None
        self.path, self._destination = destination.out, destination
        known = listed_in(identity or document)
        identity = {name: value for name, value in known.items() if name not in ANEW}
        self._identity = digest_of({**identity, "problem": document["made_with"]["problem_sha256"]})
        self._made_with = document["made_with"]
        self._held = None
        if hosts.writes() if owner is None else owner:
            self._held = RunDirectory(
                self.path, overwrite=destination.overwrite, resume=destination.resume
            )
            if not destination.resume:
                shutil.rmtree(self.path / CHUNKS, ignore_errors=True)
                self._held.write_text(MARK, dump(listed_in(document)))
            (self.path / CHUNKS).mkdir(exist_ok=True)
        hosts.wait_for_all()

    def __enter__(self) -> SweepDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        if self._held is not None:
            self._held.close()

    def checkpointer(self, members: Sequence[Member]) -> DirectoryCheckpointer | None:
        """The checkpointer of a chunk at work, as a context."""
        settings = self._destination.checkpoints
        if settings.keep_checkpoints == 0:
            return None
        numbers = [member.number for member in members]
        origin = Origin({"sweep": self._identity, "members": numbers}, self._made_with)
        folder = self._folder(numbers)
        return DirectoryCheckpointer(
            folder, settings, origin, newest_of(folder, origin), alone=True
        )

    def add(self, done: Sequence[Done]) -> dict[int, Done]:
        """Keeps the members of a chunk, all of them or none; returns them as they are kept."""
        names = done[0].curves
        arrays: dict[str, Any] = {
            "sweep": np.array(self._identity),
            "members": np.array([one.member for one in done]),
            "rows": np.array(json.dumps([plain(one.row) for one in done])),
        }
        arrays |= {f"curve/{name}": values for name, values in _together(names, done).items()}
        target = self._chunk(done[0].member)
        write_atomically(target, npz_bytes(arrays))
        shutil.rmtree(self._folder([one.member for one in done]), ignore_errors=True)
        return read_chunk(target)[1]

    def added(self, first: int) -> dict[int, Done]:
        """The members of a chunk that another process has added, by the first one's number."""
        return read_chunk(self._chunk(first))[1]

    def done(self) -> dict[int, Done]:
        """Members that are done, by number.

        Raises:
            InvalidInput: some of them belong to another sweep.
        """
        return read_chunks(self.path, self._identity)

    def write(self, done: Iterable[Done]) -> None:
        """Writes ``sweep.csv``, ``curves.npz`` and, where pyarrow is, ``sweep.parquet``."""
        if self._held is None:
            return
        ordered = sorted(done, key=lambda one: one.member)
        rows = [one.row for one in ordered]
        self.write_table(ordered)
        self._held.write_arrays("curves.npz", curves_of(ordered))
        if importlib.util.find_spec("pyarrow") is not None:
            write_atomically(self.path / "sweep.parquet", parquet_bytes(rows))

    def write_text(self, name: str, text: str) -> None:
        """Writes a whole text file or nothing."""
        if self._held is not None:
            self._held.write_text(name, text)

    def write_table(self, done: Iterable[Done]) -> None:
        """Writes ``sweep.csv`` alone; until a sweep ends, curves are in the files of its chunks."""
        ordered = sorted(done, key=lambda one: one.member)
        self.write_text("sweep.csv", csv_text([one.row for one in ordered]))

    def names(self) -> str:
        """The names of its files, as a list in one line."""
        known = [path.name for path in self.path.iterdir() if path.name != LOCK]
        return ", ".join(sorted(known))

    def _chunk(self, first: int) -> Path:
        """The file of a chunk that is done."""
        return self.path / CHUNKS / f"{first:06d}.npz"

    def _folder(self, numbers: Sequence[int]) -> Path:
        """The folder of the checkpoints of a chunk."""
        return self.path / CHUNKS / f"{numbers[0]:06d}-{len(numbers)}"


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """A sweep's ``config.yaml``, and the name of its algorithm.

    Raises:
        InvalidInput: the directory holds no sweep.
    """
    file = path / "config.yaml"
    document = read_yaml("directory", file) if file.is_file() else None
    if isinstance(document, dict) and str(document.get("algorithm")).startswith(SWEEP):
        return document, str(document["algorithm"]).removeprefix(SWEEP)
    raise InvalidInput("directory", path, "a directory of fedjax-rl sweep, with its config.yaml")


def read_rows(path: Path) -> list[Row]:
    """The table of a sweep so far, in the order of its members.

    Raises:
        InvalidInput: the directory holds no sweep, or none of its chunks is done.
    """
    read_document(path)
    done = read_chunks(path)
    if not done:
        raise InvalidInput("directory", path, "a sweep of which at least one chunk is done")
    return [done[member].row for member in sorted(done)]


def read_chunks(path: Path, identity: str | None = None) -> dict[int, Done]:
    """Members of the chunks that are done; a file that cannot be read is not.

    Args:
        path: of the sweep.
        identity: digest of what the sweep was asked for; None to take any.

    Raises:
        InvalidInput: a chunk was run when something else was asked for.
    """
    found: dict[int, Done] = {}
    for file in sorted((path / CHUNKS).glob(CHUNK_FILES)):
        try:
            of, members = read_chunk(file)
        except (*UNREADABLE, KeyError, IndexError, TypeError):
            continue
        if identity not in (None, of):
            raise InvalidInput(
                "run directory",
                file,
                "members of the sweep that config.yaml describes: put it and the problem right, "
                "or start anew with sweep --overwrite",
            )
        found |= members
    return found


def read_chunk(file: Path) -> tuple[str, dict[int, Done]]:
    """The digest of what a chunk's sweep was asked for, and its members."""
    with np.load(file, allow_pickle=False) as arrays:
        known = dict(arrays)
    rows = json.loads(str(known["rows"]))
    curves = {
        name.removeprefix("curve/"): values
        for name, values in known.items()
        if name.startswith("curve/")
    }
    members = {
        member: Done(member, rows[index], {name: leaf[index] for name, leaf in curves.items()})
        for index, member in enumerate(known["members"].tolist())
    }
    return str(known["sweep"]), members


def csv_text(rows: Sequence[Row]) -> str:
    """The content of ``sweep.csv``: a line per member; undefined cells are empty."""
    table = StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return table.getvalue()


def cell(value: Any) -> Any:
    """A value as a table has it."""
    if isinstance(value, list | tuple):
        return as_text(value)
    return "" if value is None or value != value else value


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """The table of a sweep as a Parquet file; needs pyarrow."""
    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if list in kinds or (len(kinds) > 1 and not kinds <= {int, float}):
            values = [None if value is None else str(cell(value)) for value in values]
        columns[name] = values
    buffer = BytesIO()
    parquet.write_table(arrow.table(columns), buffer)
    return buffer.getvalue()


def curves_of(done: Sequence[Done]) -> dict[str, np.ndarray]:
    """Arrays [members, points] by name, NaN after the end of a curve; and ``member`` [members]."""
    names = list(dict.fromkeys(name for one in done for name in one.curves))
    return {"member": np.array([one.member for one in done]), **_together(names, done)}


def _together(names: Iterable[str], done: Sequence[Done]) -> dict[str, np.ndarray]:
    """[members, points] of every curve, as long as the longest."""
    longest = max((len(one.curves["round"]) for one in done), default=0)
    arrays = {name: np.full((len(done), longest), np.nan) for name in names}
    for index, one in enumerate(done):
        for name in arrays.keys() & one.curves.keys():
            arrays[name][index, : len(one.curves[name])] = one.curves[name]
    return arrays
