"""The user's cache: arrays that are costly to compute, under a digest of all they depend on.

A cache that cannot be read or written, or that has no place, is no obstacle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_rl.records.cache_directory import cache_directory
from fedjax_rl.records.directory import UNREADABLE, npz_bytes, write_atomically


def key_of(*known: Any) -> str:
    """SHA-256 of all that an entry depends on, told by `repr`."""
    return hashlib.sha256(repr(known).encode()).hexdigest()


def cached(folder: str, key: str) -> dict[str, np.ndarray] | None:
    """The arrays of an entry, or None where there is none that can be read."""
    if (entry := _entry(folder, key)) is None:
        return None
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            return dict(arrays)
    except (*UNREADABLE, KeyError, TypeError):
        return None


def keep(folder: str, key: str, arrays: Mapping[str, Any]) -> None:
    """Writes an entry, where that is possible."""
    if (entry := _entry(folder, key)) is None:
        return
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, npz_bytes(arrays))
    except OSError:
        return


def _entry(folder: str, key: str) -> Path | None:
    directory = cache_directory()
    return None if directory is None else directory / folder / f"{key}.npz"
