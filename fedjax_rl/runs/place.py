"""Where a run goes: a directory with a keeper, or nowhere."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fedjax_rl.runs import checkpoints
from fedjax_rl.runs.checkpoints import Origin
from fedjax_rl.runs.config import CheckpointSettings, settings_to_yaml
from fedjax_rl.runs.directory import MARK, RunDirectory, check_writable, made_with
from fedjax_rl.runs.keeper import CheckpointKeeper, Keeper, KeepsNothing


class Destination(NamedTuple):
    """Where a run is to be written, and how it survives.

    Attributes:
        out: directory, or None to write nothing.
        overwrite: whether an earlier run there may be replaced.
        checkpoints: when it is saved.
        resume: whether to go on with the run that is there.
    """

    out: Path | None = None
    overwrite: bool = False
    checkpoints: CheckpointSettings = CheckpointSettings()
    resume: bool = False

    def check(self) -> None:
        """Raises InvalidInput unless a run may be written there; touches nothing."""
        if self.out is not None and not self.resume:
            check_writable(self.out, overwrite=self.overwrite)

    def below(self, name: str) -> Destination:
        """The folder of a run that belongs to this one, written anew where it was not begun."""
        if self.out is None:
            return self
        out = self.out / name
        return self._replace(out=out, overwrite=True, resume=self.resume and (out / MARK).exists())


class Place(NamedTuple):
    """A destination that is open.

    Attributes:
        directory: None when nothing is written.
        keeper: to be asked within ``kept``.
        kept: the context to train in.
    """

    directory: RunDirectory | None
    keeper: Keeper
    kept: AbstractContextManager[object]


NOWHERE = Place(None, KeepsNothing(), nullcontext())
"""Nothing is written, nothing is kept."""


@contextmanager
def open_place(
    destination: Destination,
    algorithm: str,
    settings: Mapping[str, Any],
    digest: str,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Place]:
    """Opens a directory with its ``config.yaml``, and finds the checkpoint to go on from.

    Args:
        destination: where, and how.
        algorithm: its name.
        settings: of the run, complete.
        digest: SHA-256 of the problem's content.
        extra: what ``config.yaml`` says besides.

    Raises:
        InvalidInput: the directory or its checkpoint cannot be used; nothing was changed.
    """
    if destination.out is None:
        yield NOWHERE
        return
    with RunDirectory(
        destination.out, overwrite=destination.overwrite, resume=destination.resume
    ) as directory:
        yield Place(directory, *_keeper(destination, directory, algorithm, settings, digest, extra))


def _keeper(
    destination: Destination,
    directory: RunDirectory,
    algorithm: str,
    settings: Mapping[str, Any],
    digest: str,
    extra: Mapping[str, Any],
) -> tuple[Keeper, AbstractContextManager[object]]:
    """Writes ``config.yaml``, or clears what is written behind the checkpoint to go on from."""
    versions = made_with(digest)
    origin = Origin({"algorithm": algorithm, **settings, "problem_sha256": digest}, versions)
    saved = _newest(directory.path, origin) if destination.resume else None
    if destination.resume:
        directory.clear()
        checkpoints.remove_half_written(directory.path / checkpoints.FOLDER)
    else:
        told = {**settings, "checkpoints": dataclasses.asdict(destination.checkpoints)}
        text = settings_to_yaml(algorithm, {**told, **extra}, versions)
        directory.write_text(MARK, text)
    if destination.checkpoints.keep_checkpoints == 0:
        return KeepsNothing(), nullcontext()
    keeper = CheckpointKeeper(directory.path, destination.checkpoints, origin, saved)
    return keeper, keeper


def _newest(path: Path, origin: Origin) -> checkpoints.Saved | None:
    """The checkpoint to go on from, with a word on it and on those that are damaged."""
    saved, warnings = checkpoints.newest(path / checkpoints.FOLDER)
    if saved is not None:
        changed = checkpoints.check_origin(saved, origin)
        warnings += [f"the last bits may differ ({difference})" for difference in changed]
    for warning in warnings:
        print(f"fedjax-rl: warning: {warning}", file=sys.stderr)
    if saved is None:
        print(f"No checkpoint in {path}: starting over", flush=True)
    else:
        print(f"Going on from {saved.path}", flush=True)
    return saved
