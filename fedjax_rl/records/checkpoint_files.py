"""Files of a checkpoint: its arrays, written by Orbax, and a manifest beside them.

The manifest says what the arrays are and which SHA-256 every file has, its own text included.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

MANIFEST = "manifest.json"
ARRAYS = "arrays"
PACKED = "packed"
END = b"\0"
"""Behind the bytes of all arrays, for Orbax saves nothing that is empty."""

Arrays = dict[str, dict[str, np.ndarray]]
"""Arrays by group and name."""


class Damage(ValueError):
    """Raised for a checkpoint that cannot be read; the message says why."""


def write_files(
    path: Path,
    arrays: Arrays,
    about: Mapping[str, Any],
    add: Callable[[Path], None] = lambda path: None,
) -> None:
    """Fills a new directory with arrays, what ``add`` adds, and a manifest with ``about`` in it."""
    path.mkdir(parents=True)
    _write_arrays(path / ARRAYS, arrays)
    add(path)
    manifest = {**about, "arrays": _listed(arrays), "files": _digests(path)}
    with (path / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest | {"sha256": digest_of(manifest)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of any format, itself undamaged.

    Raises:
        Damage: it is not as it was written.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        raise Damage(f"{MANIFEST} cannot be read") from None
    if not isinstance(manifest, dict) or manifest.pop("sha256", None) != digest_of(manifest):
        raise Damage(f"{MANIFEST} is not as it was written")
    return manifest


def read_arrays(path: Path, manifest: Mapping[str, Any]) -> Arrays:
    """The arrays, after every file was found to be as written.

    Raises:
        Damage: one is not, or there are more or fewer of them.
    """
    present = _digests(path)
    present.pop(MANIFEST, None)
    for name in sorted({**present, **manifest["files"]}):
        if present.get(name) != manifest["files"].get(name):
            raise Damage(f"{name} is {'not as it was written' if name in present else 'missing'}")
    return _read_arrays(path / ARRAYS, manifest["arrays"])


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of JSON with sorted keys. Of a manifest, in every format: of all but ``sha256``."""
    return hashlib.sha256(json.dumps(dict(document), sort_keys=True).encode()).hexdigest()


def _digests(path: Path) -> dict[str, str]:
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def _listed(groups: Arrays) -> list[list[Any]]:
    return [
        [group, name, str(array.dtype), list(array.shape)]
        for group, members in groups.items()
        for name, array in members.items()
    ]


def _write_arrays(path: Path, groups: Arrays) -> None:
    """Saves the bytes of all arrays as one; of several that fail at once, Orbax loses track."""
    import orbax.checkpoint as ocp  # takes a second, which no first row should wait for

    arrays = [array for members in groups.values() for array in members.values()]
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    packed = np.frombuffer(content + END, np.uint8)
    with _without_log(), _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave({PACKED: packed}))


def _checkpointer() -> Any:
    """Orbax's, which in a team of processes must not wait for the others: one writes, all read."""
    import orbax.checkpoint as ocp

    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"p{process}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Orbax logs what it raises, too, with a trace of every thread."""
    log = logging.getLogger("absl")
    earlier = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(earlier)


def _read_arrays(path: Path, listed: list[list[Any]]) -> Arrays:
    import orbax.checkpoint as ocp

    as_saved = {PACKED: ocp.RestoreArgs(restore_type=np.ndarray)}
    with _checkpointer() as checkpointer:
        content = checkpointer.restore(
            path.absolute(), args=ocp.args.PyTreeRestore(restore_args=as_saved)
        )[PACKED].tobytes()
    groups: Arrays = {}
    begin = 0
    for group, name, dtype, shape in listed:
        kind, count = np.dtype(dtype), math.prod(shape)
        array = np.frombuffer(content, kind, count, begin).reshape(shape).copy()
        groups.setdefault(group, {})[name] = array
        begin += count * kind.itemsize
    return groups
