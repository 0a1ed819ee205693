"""``fedjax-rl resume DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import tyro

from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped or killed, to the result it would have had.

    The run is finished from its newest undamaged checkpoint, or from the start where there is
    none. On the same machine every number is what it would have been, to the last bit; only
    timings differ. A comparison (run fedppo --compare) is resumed as a whole.
    """

    directory: tyro.conf.Positional[Path]
    """The --out of the run; its config.yaml says what the run is."""


def main(arguments: list[str]) -> int:
    """Finishes a run; exit status 1 when it diverged."""
    options = parse(Resume, arguments, "resume")

    from fedjax_rl.runs.resume import resume

    diverged = resume(options.directory)
    sys.stdout.flush()
    return 1 if diverged else 0
