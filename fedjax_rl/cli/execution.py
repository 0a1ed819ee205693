"""Options that every ``fedjax-rl run`` has: how it is logged, saved and spread."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fedjax_rl.cli.parse import flag_value
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.cluster.hosts import HostSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.records.saving import CheckpointSettings, SinkName, sink_names
from fedjax_rl.settings.files import read_run_file, settings_from

if TYPE_CHECKING:
    from fedjax_rl.records.output import Destination


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a run is carried out, whatever it computes."""

    overwrite: bool = False
    """Replace the run that is in --out."""
    log_to: tuple[SinkName, ...] = ()
    """What rows go to besides metrics.csv, all of it offline; nothing: metrics.csv alone."""
    checkpoints: Annotated[CheckpointSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=CheckpointSettings
    )
    devices: Annotated[DeviceSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DeviceSettings
    )
    hosts: Annotated[HostSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=HostSettings
    )

    def destination(self, out: Path | None) -> Destination:
        """Where the run is written, and how it survives."""
        from fedjax_rl.records.output import Destination

        return Destination(out, self.overwrite, self.checkpoints, log_to=self.log_to)


def hosts_in(argv: list[str]) -> HostSettings:
    """The team that flags speak of, before the command's options are known.

    JAX has to hear of other processes before anything starts a backend, and a family that says
    which options it has, or a plug-in of which it asks them, may do so as it is imported.

    Raises:
        InvalidInput: a number that is none.
    """
    if not {"-h", "--help"}.isdisjoint(argv):
        return HostSettings()
    process, processes = (flag_value(flag, argv) for flag in ("--process", "--processes"))
    for flag, text in (("--process", process), ("--processes", processes)):
        if text is not None and not (text.isascii() and text.isdigit()):
            raise InvalidInput(flag, text, "a whole number")
    return HostSettings(
        flag_value("--coordinator", argv),
        None if process is None else int(process),
        None if processes is None else int(processes),
    )


def execution_of(path: Path) -> Execution:
    """How the run of a ``config.yaml`` was logged and saved.

    Raises:
        InvalidInput: no such file, not YAML, or a field that does not exist or fit.
    """
    file = read_run_file(path)
    checkpoints = settings_from(CheckpointSettings, file.checkpoints, "checkpoints")
    return Execution(log_to=sink_names(file.sinks), checkpoints=checkpoints)
