"""Settings of the devices that a run uses."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax

from fedjax_rl.backend import start_backend
from fedjax_rl.execution.placement import Placement, placement_of


@dataclasses.dataclass(frozen=True)
class DeviceSettings:
    """Over how many devices a run is spread; what it computes is the same up to rounding."""

    devices: Literal["all"] | int = 1
    """How many devices to use, or all; several processes always use all of theirs.
    XLA_FLAGS=--xla_force_host_platform_device_count=8 makes eight devices of a processor."""
    shard: str = "auto"
    """What is dealt to the devices: agents, members (of a sweep, or seeds), or auto."""

    def placement(self, agents: int, members: int, *, local: bool = False) -> Placement:
        """The placement of agents and members on the devices.

        Args:
            agents: N.
            members: B, or 1.
            local: of the devices of this process alone, whatever the others do.

        Raises:
            InvalidInput: more devices than there are, none at all, or nothing to deal to them.
        """
        start_backend()
        count = None if self.devices == "all" or jax.process_count() > 1 else self.devices
        devices = jax.local_devices() if local else jax.devices()
        return placement_of(devices, count, self.shard, agents, members)


ONE = DeviceSettings()
