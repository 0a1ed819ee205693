"""Checkpoints: all that a run needs to go on, whole on the disk or not there at all.

A checkpoint is a directory ``round-000000120``. Orbax keeps the arrays in its folder ``arrays``,
random keys as their data; ``manifest.json`` says what they are, what run they belong to and which
SHA-256 every file has. It is written under another name and put in place by one rename, so a
checkpoint that is there was finished, and one that was damaged later gives itself away. Nothing
that is read is ever executed: there is no pickle in it. Several processes write one together
(`checkpoint_parts`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.records.checkpoint_files import (
    Arrays,
    Damage,
    digest_of,
    read_arrays,
    read_manifest,
    write_files,
)
from fedjax_rl.records.checkpoint_leaves import OtherState, flat, restored
from fedjax_rl.records.checkpoint_parts import (
    PART,
    PIECES,
    Held,
    assembled,
    take_parts,
    write_part,
)

FORMAT, FORMAT_IN_PARTS = 1, 2
"""Raised when an older version could not read what is written; of one process, and of several."""
FOLDER = "checkpoints"
PREFIX = "round-"
PARTIAL = ".partial"


class CheckpointFailure(OSError):
    """A checkpoint could not be written; those before it are intact."""


class Origin(NamedTuple):
    """The run that a checkpoint belongs to.

    Attributes:
        settings: the algorithm, its settings and the problem's digest, as JSON types. A run goes
            on only from a checkpoint with the same.
        made_with: versions and devices, which decide about the last bits.
    """

    settings: Mapping[str, Any]
    made_with: Mapping[str, Any]


class Progress(NamedTuple):
    """A run after one of its rounds.

    Attributes:
        round: the last round that is done.
        state: of the algorithm, on the device or the host.
        failed: `Span.failed`.
        record: what the host remembers of rounds 0 … ``round``.
        seconds: that the run has taken, over all its sessions.
    """

    round: int
    state: Pytree
    failed: np.ndarray
    record: Arrays
    seconds: float


class Saved(NamedTuple):
    """A checkpoint that was read and found undamaged.

    Attributes:
        path: its directory.
        manifest: what it says of itself.
        arrays: its content.
    """

    path: Path
    manifest: Mapping[str, Any]
    arrays: Arrays


def write(
    folder: Path, progress: Progress, origin: Origin, keep: int, mine: Held | None = None
) -> None:
    """Adds a checkpoint, then removes all but the newest ``keep`` up to it.

    Args:
        folder: where the checkpoints of a run are; made if need be.
        progress: what to save.
        origin: what it belongs to.
        keep: at least 1.
        mine: of a team of processes, what this one has of the state; each of them calls this.

    Raises:
        CheckpointFailure: it could not be written, and nothing has changed.
    """
    target = folder / f"{PREFIX}{progress.round:09d}"
    partial = target.with_name(target.name + PARTIAL)
    process, processes = jax.process_index(), jax.process_count()
    state = flat(progress.state) if mine is None else mine.whole
    arrays = {**progress.record, "state": state, "loop": {"failed": progress.failed}}
    parts: dict[str, Any] = {}
    if mine is not None:
        arrays[PIECES] = mine.pieces
        parts = {"processes": processes, "layout": mine.layout}
    about = {
        "format": FORMAT if mine is None else FORMAT_IN_PARTS,
        "round": progress.round,
        "seconds": progress.seconds,
        "settings": dict(origin.settings),
        "settings_sha256": digest_of(origin.settings),
        "made_with": dict(origin.made_with),
        **parts,
    }
    if mine is not None and process > 0:
        with _failing_as_one(target):
            write_part(target, process, mine)
        return
    with _failing_as_one(target, partial):
        shutil.rmtree(partial, ignore_errors=True)
        others = processes if mine is not None else 1
        # The parts of the others come in before the manifest is written: with it, it is whole.
        write_files(partial, arrays, about, lambda into: take_parts(target, into, others))
        shutil.rmtree(target, ignore_errors=True)  # damaged, or the run would be beyond it
        partial.rename(target)  # at once or not at all, whenever the process is killed
    _prune(folder, progress.round, keep)


@contextlib.contextmanager
def _failing_as_one(target: Path, *partial: Path) -> Iterator[None]:
    """Whatever goes wrong is a `CheckpointFailure`, of which nothing is left."""
    try:
        yield
    except Exception as error:  # a full disk is a ValueError where TensorStore meets it
        for path in partial:
            shutil.rmtree(path, ignore_errors=True)
        raise CheckpointFailure(
            f"checkpoint {target} could not be written ({_reason(error)}); "
            "those before it are intact"
        ) from error


def newest(folder: Path) -> tuple[Saved | None, list[str]]:
    """The newest undamaged checkpoint, and a line for every newer one that is damaged.

    Raises:
        InvalidInput: the newest that is whole has a format of the future.
    """
    damaged: list[str] = []
    for path in sorted(found(folder), reverse=True):
        try:
            manifest = read_manifest(path)
            if manifest["format"] > FORMAT_IN_PARTS:
                raise InvalidInput(
                    "checkpoint",
                    f"{path} of format {manifest['format']}",
                    f"format {FORMAT_IN_PARTS} or older: update fedjax-rl",
                )
            arrays = read_arrays(path, manifest)
            if manifest["format"] == FORMAT_IN_PARTS:
                arrays["state"] = arrays.get("state", {}) | assembled(path, manifest, arrays)
                arrays.pop(PIECES, None)
            return Saved(path, manifest, arrays), damaged
        except Damage as damage:
            damaged.append(f"{path} is damaged ({damage}) and is not used")
    return None, damaged


def check_origin(saved: Saved, origin: Origin) -> list[str]:
    """Names of the versions and devices that have changed since a checkpoint was made.

    Raises:
        InvalidInput: it belongs to other settings; names the first that differs.
    """
    ours, theirs = plain(origin.settings), saved.manifest["settings"]
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise InvalidInput(
                "checkpoint",
                f"{saved.path} of a run with {name}: {theirs.get(name)!r}",
                f"one with {name}: {ours.get(name)!r}, as config.yaml has it; put that right, or "
                "start anew with run --overwrite",
            )
    now, then = plain(origin.made_with), saved.manifest["made_with"]
    return [
        f"{name}: {then.get(name)} then, {now.get(name)} now"
        for name in {**now, **then}
        if now.get(name) != then.get(name)
    ]


def progress_of(saved: Saved, template: Pytree) -> Progress:
    """A checkpoint as `Progress`, with its state shaped like a freshly initialised one.

    Raises:
        InvalidInput: the state has other parts than this version's.
    """
    try:
        state = restored(template, saved.arrays["state"])
    except OtherState as other:
        raise InvalidInput(
            "checkpoint",
            f"{saved.path} with {other.name}: {other.theirs}",
            f"a state with {other.name}: {other.ours}; one of another version is to be run anew",
        ) from None
    return Progress(
        round=saved.manifest["round"],
        state=state,
        failed=saved.arrays["loop"]["failed"],
        record={name: g for name, g in saved.arrays.items() if name not in ("state", "loop")},
        seconds=saved.manifest["seconds"],
    )


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, damaged ones among them."""
    return [path for path in folder.glob(f"{PREFIX}*") if path.name[len(PREFIX) :].isdigit()]


def remove_all(folder: Path) -> None:
    """Removes every checkpoint, half-written ones too, and nothing else."""
    remove_half_written(folder)
    for path in folder.glob(f"{PREFIX}*"):
        shutil.rmtree(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_half_written(folder: Path) -> None:
    """Removes what a process left that was killed while it saved."""
    for path in folder.glob(f"{PREFIX}*{PART}*"):
        path.unlink()
    for path in folder.glob(f"{PREFIX}*{PARTIAL}"):
        shutil.rmtree(path)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON reads them back: tuples are lists."""
    read: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return read


def _prune(folder: Path, round: int, keep: int) -> None:
    """Keeps the newest up to a round; newer ones are damaged, or the run would not be here."""
    current = f"{PREFIX}{round:09d}"
    preserved = sorted(path for path in found(folder) if path.name <= current)[-keep:]
    for path in folder.glob(f"{PREFIX}*"):
        if path not in preserved and PART not in path.name:  # others may be at work on the next one
            shutil.rmtree(path, ignore_errors=True)


def _reason(error: Exception) -> str:
    """The cause of an error in a few words, out of the pages that TensorStore writes."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    known = [one for one in ("No space left on device", "File too large") if one in message]
    return known[0] if known else " ".join(message.split())[:200] or type(error).__name__
