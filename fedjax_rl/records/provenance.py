"""Provenance of results: devices, versions, and the commit of this package."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import jax

import fedjax_rl
from fedjax_rl.backend import chosen_device, compiler, default_device, start_backend

SECONDS_FOR_GIT = 5.0


def devices() -> str:
    """The kinds of all devices, separated by commas; of the session's, where it chose one."""
    start_backend()
    used = [default_device()] if chosen_device() else jax.devices()
    return ", ".join(device.device_kind for device in used)


def surroundings() -> dict[str, str]:
    """Versions, devices and compiler flags, on which the last bits of a result depend."""
    flags_set = {} if not (flags := compiler()) else {"compiler": flags}
    return {"jax": version("jax"), "jaxlib": version("jaxlib"), "devices": devices(), **flags_set}


def commit(package: Path = Path(fedjax_rl.__file__).parent) -> str | None:
    """The commit that the package lies in, with ``-dirty`` where files differ from it.

    None unless the package is the top of a git checkout, as an editable install is; an installed
    copy within somebody else's checkout says nothing.
    """
    checkout = package.parent
    if not (checkout / ".git").exists():
        return None
    ask = ["git", "--no-optional-locks", "-C", str(checkout), "describe"]
    ask += ["--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        completed = subprocess.run(
            ask, capture_output=True, text=True, timeout=SECONDS_FOR_GIT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip() or None
