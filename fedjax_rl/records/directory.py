"""A run directory: made only when every input was valid, written file by file, atomically."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import platform
import shutil
import tokenize
import weakref
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import fedjax_rl
from fedjax_rl.errors import InvalidInput
from fedjax_rl.records import checkpoints
from fedjax_rl.records.provenance import commit, surroundings

WRITTEN = (
    "config.yaml",
    "metrics.csv",
    "metrics.jsonl",
    "summary.json",
    "policy.npz",
    "value.png",
    "costs.png",
    "multipliers.png",
    "solution.json",
    "solution.npz",
    "comparison.csv",
    "comparison.md",
    "comparison.png",
    "curves.npz",
    "evaluations.csv",
    "reward.png",
    "evaluation.json",
    "episode.gif",
    "accuracy.png",
    "diagnostics.png",
    "staleness.png",
    "sweep.csv",
    "sweep.parquet",
    "study.db",
    "study.db-journal",
    "heatmap.png",
    "curves.png",
    "parallel.png",
    "report.html",
)
"""What overwriting a run replaces; other files in the directory are its owner's."""
FOLDERS = ("tensorboard", "wandb", "mlflow")
"""Likewise, whole: what tools log to."""
MARK = "config.yaml"
"""A directory that holds this file is a run directory and may be overwritten on request."""
SWEEP = "sweep "
"""What the ``algorithm`` of a sweep's configuration begins with."""
LOCK = ".lock"
"""Locked while a process writes; what a killed one leaves behind is not locked."""

UNREADABLE = (
    *(OSError, ValueError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What `numpy.load` raises on a file that is damaged or is no npz file; RuntimeError covers
encrypted archives and compression that Python lacks."""


class RunDirectory:
    """Writes the files of one run; no other process does so until it is closed.

    Args:
        path: a directory that is new or empty, or an earlier run to overwrite.
        overwrite: whether the files of an earlier run may be replaced.
        resume: whether to open an earlier run as it is, to go on with it.

    Raises:
        InvalidInput: the directory exists and is not empty, cannot be written, or another
            process writes there.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False):
        self.path = path
        if not resume:
            check_writable(path, overwrite=overwrite)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path / LOCK)
        except BlockingIOError:
            raise InvalidInput(
                "--out", path, "another process writes there: wait for it, or choose another"
            ) from None
        except OSError as error:
            raise InvalidInput("--out", path, f"a writable place ({error.strerror})") from None
        self.close = weakref.finalize(self, _unlocked, path / LOCK, lock)
        if not resume:
            self.clear()
            checkpoints.remove_all(path / checkpoints.FOLDER)
            (path / MARK).unlink(missing_ok=True)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def clear(self) -> None:
        """Removes what a run writes, but for its configuration and checkpoints."""
        for name in WRITTEN:
            if name != MARK:
                (self.path / name).unlink(missing_ok=True)
        for name in FOLDERS:
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)

    def names(self) -> list[str]:
        """The names of its files."""
        return sorted(path.name for path in self.path.iterdir() if path.name != LOCK)

    def write_text(self, name: str, text: str) -> None:
        """Writes a whole text file or nothing."""
        write_atomically(self.path / name, text.encode("utf-8"))

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Writes JSON in which every number is finite or null."""
        self.write_text(name, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Writes arrays by name as an npz file."""
        write_atomically(self.path / name, npz_bytes(arrays))

    def append_rows(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows to a CSV file, whole lines at a time, and flushes them."""
        target = self.path / name
        fresh = not target.exists()
        with target.open("a", encoding="utf-8", newline="") as file:
            if fresh:
                csv.writer(file, lineterminator="\n").writerow(header)
            file.writelines(",".join(map(_cell, row)) + "\n" for row in rows)


def opened(out: Path | None, *, overwrite: bool) -> AbstractContextManager[RunDirectory | None]:
    """A `RunDirectory` to write to within a context, or None when nothing is to be written."""
    return nullcontext() if out is None else RunDirectory(out, overwrite=overwrite)


def _locked(lock: Path) -> int:
    """A descriptor of the locked file; raises BlockingIOError when another one has the lock."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            return descriptor  # a file system without locks, as some clusters have
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)  # its last owner removed it in between


def _unlocked(lock: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the directory may be gone by now
        lock.unlink()
    os.close(descriptor)


def _cell(value: Any) -> str:
    """A number with all its digits, a word as it is, and nothing for None."""
    return value if isinstance(value, str) else "" if value is None else repr(value)


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """The content of an npz file of these arrays."""
    buffer = BytesIO()
    named: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Raises InvalidInput unless a run may be written there; touches nothing."""
    if path.exists() and not path.is_dir():
        raise InvalidInput("--out", path, "a directory is needed, this is a file")
    if not path.is_dir() or {entry.name for entry in path.iterdir()} <= {LOCK}:
        return
    if not overwrite:
        raise InvalidInput(
            "--out", path, "the directory exists and is not empty: choose another, or --overwrite"
        )
    if not (path / MARK).exists():
        raise InvalidInput(
            "--out", path, f"only a run directory (with a {MARK}) can be overwritten"
        )


def write_atomically(target: Path, content: bytes) -> None:
    """Puts a whole file in place, or leaves what was there."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def made_with(problem_digest: str) -> dict[str, str]:
    """Versions, devices, what the compiler was told, and problem content that a result depends on.

    The commit of the package is said too where it lies in a git checkout.
    """
    versions = {
        "fedjax_rl": fedjax_rl.__version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        **surroundings(),
    }
    known = {} if (own := commit()) is None else {"commit": own}
    return {**versions, **known, "problem_sha256": problem_digest}


def plain(value: Any) -> Any:
    """The value as JSON types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
