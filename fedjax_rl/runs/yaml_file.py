"""Reading YAML with one-line errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.checks import as_number
from fedjax_rl.runs.text_file import read_text

Settings = TypeVar("Settings")


def read_yaml(field: str, path: Path) -> Any:
    """The document in a YAML file.

    Raises:
        InvalidInput: under ``field``; no such file, or it is not YAML.
    """
    text = read_text(field, path, "YAML file")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: of dates like 13-13
        where = _where(error)
        raise InvalidInput(
            field, path, f"valid YAML ({str(error).splitlines()[0]}{where})"
        ) from None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" in line {mark.line + 1}"


def read_settings(
    path: Path, algorithm: str, kind: type[Settings]
) -> tuple[Settings, dict[str, Any]]:
    """Reads a ``config.yaml`` back, with what the run was made with.

    Args:
        path: of the file.
        algorithm: whose settings they must be, where the file says it.
        kind: the dataclass of settings; it checks their values.

    Raises:
        InvalidInput: no such file, of another algorithm, or a field that does not exist or fit.
    """
    document = read_yaml("--config", path)
    if not isinstance(document, dict):
        raise InvalidInput("--config", path, "a YAML mapping of settings")
    made_with = document.pop("made_with", None) or {}
    if not isinstance(made_with, dict):
        raise InvalidInput("made_with", repr(made_with), "a mapping of versions")
    for name in ("compare", "checkpoints", "sinks"):
        document.pop(name, None)
    if document.pop("algorithm", algorithm) != algorithm:
        raise InvalidInput("--config", path, f"a config.yaml of algorithm {algorithm}")
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(document) - known)
    if unknown:
        raise InvalidInput("--config", unknown[0], f"known settings: {', '.join(sorted(known))}")
    for name, value in document.items():
        document[name] = tuple(value) if isinstance(value, list) else as_number(value)
    return kind(**document), made_with
