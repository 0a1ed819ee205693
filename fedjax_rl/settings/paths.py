"""File names in settings: absolute where a run is begun, found again where it was moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Files = Mapping[str, Callable[[str], bool]]
"""Settings that may name a file, and whether a value of theirs does."""
FOLDERS_ABOVE = 3
"""How far above a run that was moved its files are looked for."""


def absolute(settings: Any, files: Files) -> Any:
    """The settings with absolute file names, so that they run from anywhere."""
    changes = {name: absolute_name(getattr(settings, name), files[name]) for name in files}
    return dataclasses.replace(settings, **changes)


def absolute_name(value: Any, is_file: Callable[[str], bool]) -> Any:
    """A file's name, absolute; any other name, and None, as it is."""
    return str(Path(value).resolve()) if isinstance(value, str) and is_file(value) else value


def without_folders(settings: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """Settings by name, of files the last part of their names alone."""
    return {
        name: Path(value).name if name in files and value and files[name](value) else value
        for name, value in settings.items()
    }


def found_again(settings: Any, files: Files, directory: Path) -> Any:
    """The settings of a run, with files that are gone found beside it where it was moved.

    Args:
        settings: as the run recorded them.
        files: settings that may name a file.
        directory: of the run, as it is now.
    """
    changes = {
        name: found_name(getattr(settings, name), is_file, directory)
        for name, is_file in files.items()
    }
    return dataclasses.replace(settings, **changes)


def found_name(value: Any, is_file: Callable[[str], bool], directory: Path) -> Any:
    """A file's name; if it is gone, that of its like in the run's directory or one above it.

    That its content is the same is checked where it is read.
    """
    if not isinstance(value, str) or not is_file(value) or Path(value).exists():
        return value
    here = directory.resolve()
    folders = (here, *here.parents[:FOLDERS_ABOVE])
    found = (folder / Path(value).name for folder in folders)
    return next((str(one) for one in found if one.is_file()), value)
