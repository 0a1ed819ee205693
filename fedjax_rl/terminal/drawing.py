"""Matplotlib, wherever the session lets it keep its list of fonts."""

from __future__ import annotations

import importlib
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from fedjax_rl.terminal.surroundings import environment, quiet

NEEDED = "matplotlib.font_manager"
"""The part that writes as it is imported."""


def import_matplotlib(root: Path) -> None:
    """Imports it, without a home or a folder for temporary files, too.

    It wants to keep a list of fonts, and says so in a paragraph where there is no home. Without
    a temporary folder it cannot be imported at all.

    Args:
        root: a folder that can be written, where the list may lie until it is read.
    """
    if NEEDED in sys.modules:
        return
    with ExitStack() as stack:
        stack.enter_context(quiet("matplotlib", level=logging.ERROR))
        try:
            gettempdir()
        except FileNotFoundError:
            folder = stack.enter_context(TemporaryDirectory(dir=root))
            stack.enter_context(environment(MPLCONFIGDIR=folder))
        importlib.import_module(NEEDED)
