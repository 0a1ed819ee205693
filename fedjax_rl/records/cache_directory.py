"""The user's cache directory; asked for before anything that takes long is imported."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """``$FEDJAX_RL_CACHE``, else ``$XDG_CACHE_HOME/fedjax_rl``, else ``~/.cache/fedjax_rl``.

    None where there is no such place: a user whom the machine does not know has no home.
    """
    if configured := os.environ.get("FEDJAX_RL_CACHE"):
        return Path(configured)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedjax_rl"
    except RuntimeError:
        return None
