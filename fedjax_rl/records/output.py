"""The output of a run: a directory with a checkpointer, or nothing."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fedjax_rl.cluster import hosts
from fedjax_rl.records import checkpoints
from fedjax_rl.records.checkpointer import Checkpointer, DirectoryCheckpointer, NoCheckpoints
from fedjax_rl.records.checkpoints import Origin
from fedjax_rl.records.directory import MARK, RunDirectory, check_writable, made_with
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.records.sinks.log import LogSchedule, RunLog, check_sinks, open_log
from fedjax_rl.records.sinks.protocol import About
from fedjax_rl.settings.files import settings_to_yaml
from fedjax_rl.settings.paths import Files, without_folders


class Destination(NamedTuple):
    """Where a run is written, and how often it is saved.

    Attributes:
        out: directory, or None to write nothing.
        overwrite: whether an earlier run there may be replaced.
        checkpoints: when it is saved.
        resume: whether to go on with the run that is there.
        log_to: sinks of its rows besides ``metrics.csv``.
    """

    out: Path | None = None
    overwrite: bool = False
    checkpoints: CheckpointSettings = CheckpointSettings()
    resume: bool = False
    log_to: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises InvalidInput unless a run may be written and logged there; touches nothing."""
        if self.out is None or not hosts.writes():
            return
        if not self.resume:
            check_writable(self.out, overwrite=self.overwrite)
        check_sinks(self.log_to)

    def below(self, name: str) -> Destination:
        """The folder of a run that belongs to this one, written anew where it was not begun."""
        if self.out is None:
            return self
        out = self.out / name
        return self._replace(out=out, overwrite=True, resume=self.resume and (out / MARK).exists())


class RunOutput(NamedTuple):
    """A destination that is open.

    Attributes:
        directory: None when nothing is written.
        checkpointer: to be asked within ``saving``.
        saving: the context to train in.
        open_log: the context to log in, whose rows go to ``metrics.csv`` and the other sinks.
    """

    directory: RunDirectory | None
    checkpointer: Checkpointer
    saving: AbstractContextManager[object]
    open_log: Callable[[LogSchedule], AbstractContextManager[RunLog]]


NOWHERE = RunOutput(
    None, NoCheckpoints(), nullcontext(), partial(open_log, None, (), About("", {}))
)
"""Nothing is written, nothing is kept."""


@contextmanager
def open_output(
    destination: Destination,
    algorithm: str,
    settings: Mapping[str, Any],
    digest: str,
    extra: Mapping[str, Any] = MappingProxyType({}),
    files: Files = MappingProxyType({}),
) -> Iterator[RunOutput]:
    """Opens a directory with its ``config.yaml``, and finds the checkpoint to go on from.

    Args:
        destination: where, and how.
        algorithm: its name.
        settings: of the run, complete.
        digest: SHA-256 of the problem's content.
        extra: what ``config.yaml`` says besides.
        files: settings that may name a file, of which a checkpoint knows the name alone: the
            digest says what is in it, and its folder may have been moved.

    Raises:
        InvalidInput: the directory or its checkpoint cannot be used; nothing was changed.
    """
    if destination.out is None:
        yield NOWHERE
        return
    if not hosts.writes():
        saving = _checkpointer(destination, None, algorithm, settings, digest, extra, files)
        yield RunOutput(None, *saving, NOWHERE.open_log)
        return
    with RunDirectory(
        destination.out, overwrite=destination.overwrite, resume=destination.resume
    ) as directory:
        saving = _checkpointer(destination, directory, algorithm, settings, digest, extra, files)
        about = About(algorithm, settings)
        yield RunOutput(directory, *saving, partial(open_log, directory, destination.log_to, about))


def _checkpointer(
    destination: Destination,
    directory: RunDirectory | None,
    algorithm: str,
    settings: Mapping[str, Any],
    digest: str,
    extra: Mapping[str, Any],
    files: Files,
) -> tuple[Checkpointer, AbstractContextManager[object]]:
    """Writes ``config.yaml``, or of a run that goes on removes what it had written.

    Tables and figures are made anew from the record in the checkpoint.
    """
    versions = made_with(digest)
    what = {"algorithm": algorithm, **without_folders(settings, files), "problem_sha256": digest}
    origin = Origin(what, versions)
    assert destination.out is not None
    saved = _resumed(destination.out, origin) if destination.resume else None
    if directory is None:  # another process writes
        pass
    elif destination.resume:
        directory.clear()
        checkpoints.remove_half_written(directory.path / checkpoints.FOLDER)
    else:
        recorded = {
            "checkpoints": dataclasses.asdict(destination.checkpoints),
            "sinks": list(destination.log_to),
        }
        text = settings_to_yaml(algorithm, {**settings, **recorded, **extra}, versions)
        directory.write_text(MARK, text)
    if destination.checkpoints.keep_checkpoints == 0:
        return NoCheckpoints(), nullcontext()
    checkpointer = DirectoryCheckpointer(destination.out, destination.checkpoints, origin, saved)
    return checkpointer, checkpointer


def newest_of(path: Path, origin: Origin) -> checkpoints.Saved | None:
    """The checkpoint to go on from, with a warning for each that is damaged.

    Raises:
        InvalidInput: it belongs to something else, or has a format of the future.
    """
    saved, warnings = checkpoints.newest(path / checkpoints.FOLDER)
    if saved is not None:
        changed = checkpoints.check_origin(saved, origin)
        warnings += [f"the last bits may differ ({difference})" for difference in changed]
    for warning in warnings if hosts.writes() else ():
        print(f"fedjax-rl: warning: {warning}", file=sys.stderr)
    return saved


def _resumed(path: Path, origin: Origin) -> checkpoints.Saved | None:
    """The same, with a word on it; every process of a team must find the same."""
    saved = newest_of(path, origin)
    found = -1 if saved is None else saved.manifest["round"]
    hosts.same_in_all("run directory", found, f"{path} to be the same to all of them")
    if saved is None:
        print(f"No checkpoint in {path}: starting over", flush=True)
    else:
        print(f"Going on from {saved.path}", flush=True)
    return saved
