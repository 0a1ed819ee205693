"""The environment of a run, for its section: versions, devices, commit."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedjax_rl.figures.numbers import NOTHING, exactly, mapping
from fedjax_rl.records import checkpoints
from fedjax_rl.records.checkpoint_files import Damage, read_manifest

LABELS = {"fedjax_rl": "fedjax-rl", "problem_sha256": "problem, SHA-256"}
LAST = ("devices", "commit", "problem_sha256")
"""What follows the versions."""


def environment(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Versions, devices, commit and the problem's content, as far as they are on record.

    Devices that ``config.yaml`` does not name are those of the newest checkpoint.
    """
    known = dict(mapping(config, "made_with"))
    known.setdefault("devices", _devices_of_checkpoints(path / checkpoints.FOLDER))
    known.setdefault("commit", None)
    ordered = [name for name in known if name not in LAST] + [n for n in LAST if n in known]
    return {
        LABELS.get(name, name): counted(known[name]) if name == "devices" else _text(known[name])
        for name in ordered
    }


def counted(devices: Any) -> str:
    """``2 × NVIDIA H100`` of ``NVIDIA H100, NVIDIA H100``."""
    if not isinstance(devices, str):
        return "not recorded"
    kinds = Counter(devices.split(", "))
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items())


def _text(value: Any) -> str:
    return "not recorded" if value is None else exactly(value) or NOTHING


def _devices_of_checkpoints(folder: Path) -> str | None:
    """What the newest readable manifest says; a report needs no checkpoint to be whole."""
    for path in sorted(checkpoints.found(folder), reverse=True):
        with contextlib.suppress(Damage):
            devices = mapping(read_manifest(path), "made_with").get("devices")
            if isinstance(devices, str):
                return devices
    return None
