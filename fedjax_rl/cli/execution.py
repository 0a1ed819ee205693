"""Options that every ``fedjax-rl run`` has: how it is logged, saved and spread."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.cluster.hosts import HostSettings
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


def execution_of(path: Path) -> Execution:
    """How the run of a ``config.yaml`` was logged and saved.

    Raises:
        InvalidInput: no such file, not YAML, or a field that does not exist or fit.
    """
    file = read_run_file(path)
    checkpoints = settings_from(CheckpointSettings, file.checkpoints, "checkpoints")
    return Execution(log_to=sink_names(file.sinks), checkpoints=checkpoints)
