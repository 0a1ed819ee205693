"""``eval``: the saved policies of a run, as its family plays them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import EvaluationRequest
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.directory import MARK
from fedjax_rl.settings.files import read_run_file

ALLOWED = "a run of networks or of policies over tokens"


def evaluate(directory: Path, request: EvaluationRequest) -> None:
    """Evaluates the policies of a run directory and writes ``evaluation.json``.

    Raises:
        InvalidInput: no run, one of a family whose policies are not played, or what the family
            refuses; nothing was written.
    """
    if not (directory / MARK).is_file():
        raise InvalidInput("directory", directory, f"a run directory, with a {MARK}")
    algorithm = read_run_file(directory / MARK, "directory").algorithm
    try:
        reference = family_of(str(algorithm)).evaluate
    except InvalidInput:
        reference = ""
    if not reference:
        raise InvalidInput("directory", f"{directory} of {algorithm}", ALLOWED)
    module, _, name = reference.partition(":")
    play: Any = getattr(importlib.import_module(module), name)
    play(directory, request)
