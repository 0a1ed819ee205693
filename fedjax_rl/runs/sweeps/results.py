"""The directory of a sweep: what was asked, a file for every chunk that is done, one table."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.directory import (
    UNREADABLE,
    RunDirectory,
    _plain,
    npz_bytes,
    write_atomically,
)
from fedjax_rl.runs.sweeps.execution import Done, Row
from fedjax_rl.runs.yaml_file import read_yaml

CHUNKS = "chunks"
"""Folder of the files of chunks."""
CHUNK_FILES = "[0-9]*.npz"
KIND = "sweep "
"""What ``algorithm`` of a sweep's config.yaml begins with."""
ANEW = ("chunk", "made_with")
"""What may differ when a sweep goes on: how members are dealt, and the versions."""


def document_of(
    algorithm: str,
    base: Any,
    grid: Mapping[str, Sequence[Any]],
    random: Mapping[str, str],
    samples: int | None,
    sample_seed: int,
    chunk: int | None,
) -> dict[str, Any]:
    """Everything a sweep is asked for, as its ``config.yaml`` holds it but for ``made_with``."""
    document = {
        "algorithm": KIND + algorithm,
        "grid": grid,
        "random": random,
        "samples": samples,
        "sample_seed": sample_seed,
        "chunk": "auto" if chunk is None else chunk,
        "settings": dataclasses.asdict(base),
    }
    plain: dict[str, Any] = _listed(document)
    return plain


def _listed(value: Any) -> Any:
    """The value with tuples as lists, as YAML reads it back."""
    if isinstance(value, Mapping):
        return {name: _listed(entry) for name, entry in value.items()}
    return [_listed(entry) for entry in value] if isinstance(value, tuple | list) else value


class SweepDirectory:
    """Writes the files of a sweep, and finds what an earlier process had done.

    Args:
        path: a directory that is new or empty, or a sweep to overwrite or to go on with.
        document: what is asked for.
        overwrite: whether the files of an earlier run may be replaced.
        resume: whether to go on with the sweep that is there.

    Raises:
        InvalidInput: the directory cannot be written, or holds another sweep than this one.
    """

    def __init__(self, path: Path, document: dict[str, Any], *, overwrite: bool, resume: bool):
        self.path = path
        if resume and (path / "config.yaml").exists():
            check_same(path, document)
        else:
            RunDirectory(path, overwrite=overwrite)
            for file in (path / CHUNKS).glob(CHUNK_FILES):
                file.unlink()
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
            write_atomically(path / "config.yaml", text.encode())
        (path / CHUNKS).mkdir(exist_ok=True)

    def add(self, done: Sequence[Done]) -> dict[int, Done]:
        """Keeps the members of a chunk, all of them or none; returns them as they are kept."""
        names = done[0].curves
        arrays: dict[str, Any] = {
            "members": np.array([one.member for one in done]),
            "rows": np.array(json.dumps([_plain(one.row) for one in done])),
        }
        for name in names:
            arrays[f"curve/{name}"] = np.stack([_padded(one.curves, name, done) for one in done])
        target = self.path / CHUNKS / f"{done[0].member:06d}.npz"
        write_atomically(target, npz_bytes(arrays))
        return read_chunk(target)

    def done(self) -> dict[int, Done]:
        """Members that are done, by number."""
        return read_chunks(self.path)

    def write(self, done: Iterable[Done]) -> None:
        """Writes ``sweep.csv``, ``curves.npz`` and, where pyarrow is, ``sweep.parquet``."""
        ordered = sorted(done, key=lambda one: one.member)
        rows = [one.row for one in ordered]
        write_atomically(self.path / "sweep.csv", csv_text(rows).encode())
        write_atomically(self.path / "curves.npz", npz_bytes(curves_of(ordered)))
        if importlib.util.find_spec("pyarrow") is not None:
            write_atomically(self.path / "sweep.parquet", parquet_bytes(rows))


def check_same(path: Path, document: Mapping[str, Any]) -> None:
    """Raises InvalidInput, naming the first difference, unless a directory's sweep is this one."""
    earlier, _ = read_document(path, "--resume")
    for place, (was, now) in differences(earlier, document).items():
        raise InvalidInput("--resume", f"{place} {now}", f"the sweep in {path} has {was}")


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two sweeps were asked for differently: (earlier, now) by name.

    The problem's content is compared where it is known.
    """
    found = {
        name: (earlier.get(name), now.get(name))
        for name in dict.fromkeys([*now, *earlier])
        if name not in (*ANEW, "settings") and earlier.get(name) != now.get(name)
    }
    before, after = earlier.get("settings") or {}, now["settings"]
    for name in dict.fromkeys([*after, *before]):
        if before.get(name) != after.get(name):
            found[name] = before.get(name), after.get(name)
    was, is_now = ((asked.get("made_with") or {}).get("problem_sha256") for asked in (earlier, now))
    if is_now is not None and was != is_now:
        found["problem of content"] = was, is_now
    return found


def read_document(path: Path, field: str = "directory") -> tuple[dict[str, Any], str]:
    """A sweep's ``config.yaml``, and the name of its algorithm.

    Raises:
        InvalidInput: the directory holds no sweep.
    """
    file = path / "config.yaml"
    document = read_yaml(field, file) if file.is_file() else None
    if isinstance(document, dict) and str(document.get("algorithm")).startswith(KIND):
        return document, str(document["algorithm"]).removeprefix(KIND)
    raise InvalidInput(field, path, "a directory of fedjax-rl sweep, with its config.yaml")


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


def read_chunks(path: Path) -> dict[int, Done]:
    """Members of the chunks that are done; a file that cannot be read is not."""
    found: dict[int, Done] = {}
    for file in sorted((path / CHUNKS).glob(CHUNK_FILES)):
        with contextlib.suppress(*UNREADABLE, KeyError, IndexError, TypeError):
            found |= read_chunk(file)
    return found


def read_chunk(file: Path) -> dict[int, Done]:
    """The members of a chunk."""
    with np.load(file, allow_pickle=False) as arrays:
        known = dict(arrays)
    rows = json.loads(str(known["rows"]))
    curves = {
        name.removeprefix("curve/"): values
        for name, values in known.items()
        if name.startswith("curve/")
    }
    return {
        member: Done(member, rows[place], {name: leaf[place] for name, leaf in curves.items()})
        for place, member in enumerate(known["members"].tolist())
    }


def csv_text(rows: Sequence[Row]) -> str:
    """One line for each member; what it has no number for is empty."""
    table = StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return table.getvalue()


def cell(value: Any) -> Any:
    """A value as a table has it: lists as YAML would write them in a line."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return "" if value is None or value != value else value


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """The same table as a Parquet file; needs pyarrow."""
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
    """Arrays [members, points] by name, NaN behind the end of a curve; and ``member`` [members]."""
    names = list(dict.fromkeys(name for one in done for name in one.curves))
    arrays = {name: np.stack([_padded(one.curves, name, done) for one in done]) for name in names}
    return {"member": np.array([one.member for one in done]), **arrays}


def _padded(curves: Mapping[str, np.ndarray], name: str, done: Sequence[Done]) -> np.ndarray:
    longest = max(len(one.curves["round"]) for one in done)
    padded = np.full(longest, np.nan)
    if name in curves:
        padded[: len(curves[name])] = curves[name]
    return padded
