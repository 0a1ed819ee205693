"""The one reader of ``config.yaml`` and of other YAML files, and the text of the former."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fedjax_rl.errors import InvalidInput
from fedjax_rl.settings.text_file import read_text
from fedjax_rl.settings.values import UNREADABLE, dump, parse, reason

Settings = TypeVar("Settings")


def read_yaml(field: str, path: Path) -> Any:
    """The document in a YAML file; see `values` for what its scalars are.

    Raises:
        InvalidInput: under ``field``; no such file, it is not YAML, or a key is given twice.
    """
    text = read_text(field, path, "YAML file")
    try:
        return parse(text)
    except UNREADABLE as error:
        raise InvalidInput(field, path, f"valid YAML ({reason(error)})") from None


class RunFile(NamedTuple):
    """The content of a ``config.yaml``.

    Attributes:
        path: of the file.
        algorithm: whose it is; None where it does not say.
        settings: what is neither of these nor below; of a sweep, what it was asked for.
        made_with: versions, devices and the problem's content, of a run.
        checkpoints: how the run saves itself, by setting.
        sinks: what its rows are logged to, as it stands there; see `records.saving.sink_names`.
        compare: whether references were run beside it.
    """

    path: Path
    algorithm: str | None
    settings: dict[str, Any]
    made_with: dict[str, Any]
    checkpoints: dict[str, Any]
    sinks: Any
    compare: bool


def read_run_file(path: Path, field: str = "--config") -> RunFile:
    """Reads a ``config.yaml``, or a part of one.

    Args:
        path: of the file.
        field: its name, for messages.

    Raises:
        InvalidInput: no such file, not YAML, or no mapping where there should be one.
    """
    document = read_yaml(field, path)
    if not isinstance(document, dict):
        raise InvalidInput(field, path, "a YAML mapping of settings")
    parts: dict[str, Any] = {}
    for name, kind, allowed in (
        ("made_with", dict, "a mapping of versions"),
        ("checkpoints", dict, "a mapping of settings such as checkpoint_every"),
    ):
        part = document.pop(name, None) or kind()
        if not isinstance(part, kind):
            raise InvalidInput(name, repr(part), allowed)
        parts[name] = part
    sinks = document.pop("sinks", None) or []
    algorithm, compare = document.pop("algorithm", None), bool(document.pop("compare", False))
    return RunFile(path, algorithm, document, sinks=sinks, compare=compare, **parts)


def settings_from(
    kind: type[Settings], entries: Mapping[str, Any], field: str = "--config"
) -> Settings:
    """Settings of a type from a mapping, with defaults for what it does not name.

    Args:
        kind: the dataclass of settings.
        entries: by name.
        field: name of the mapping, for messages.

    Raises:
        InvalidInput: a setting that does not exist or fit.
    """
    known = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in entries if name not in known)
    if unknown:
        raise InvalidInput(field, unknown[0], f"known settings: {', '.join(sorted(known))}")
    return kind(**entries)


def read_settings(
    path: Path, algorithm: str, kind: type[Settings]
) -> tuple[Settings, dict[str, Any]]:
    """The settings in a ``config.yaml``, with what its run was made with.

    Args:
        path: of the file.
        algorithm: whose settings they must be, where the file says it.
        kind: the dataclass of settings.

    Raises:
        InvalidInput: no such file, of another algorithm, or a setting that does not exist or fit.
    """
    file = read_run_file(path)
    if file.algorithm not in (None, algorithm):
        raise InvalidInput("--config", path, f"a config.yaml of algorithm {algorithm}")
    return settings_from(kind, file.settings), file.made_with


def settings_to_yaml(
    algorithm: str, settings: Mapping[str, Any], made_with: Mapping[str, Any]
) -> str:
    """The text of ``config.yaml``: every setting, and what made the run."""
    return dump({"algorithm": algorithm, **settings, "made_with": dict(made_with)})
