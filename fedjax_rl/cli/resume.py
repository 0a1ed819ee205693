"""``fedjax-rl resume DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fedjax_rl.backend import start_backend
from fedjax_rl.cli.parse import parse
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.cluster.hosts import HostSettings


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped or killed, to the result it would have had.

    The run is finished from its newest undamaged checkpoint, or from the start where there is
    none. On the same machine every number is what it would have been, to the last bit; only
    timings differ. What run fedppo --compare began is resumed as a whole; a sweep, a search or a
    comparison runs the members that are missing.
    """

    directory: tyro.conf.Positional[Path]
    """The --out of the run; its config.yaml says what the run is."""
    workers: Literal["auto"] | int = "auto"
    """Processes that run the chunks of a sweep or search, whatever ran them before; as of sweep."""
    devices: Annotated[DeviceSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DeviceSettings
    )
    hosts: Annotated[HostSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=HostSettings
    )


def main(arguments: list[str]) -> int:
    """Finishes a run; exit status 1 when it diverged."""
    options = parse(Resume, arguments, "resume")
    from fedjax_rl.runs.resume import resume

    start_backend()
    diverged = resume(options.directory, options.devices, options.workers)
    sys.stdout.flush()
    return 1 if diverged else 0
