"""``fedjax-rl run ALGORITHM``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.runs.config import (
    CheckpointSettings,
    FedNPGConfig,
    SinkName,
    checkpoint_settings,
    config_from_yaml,
    sink_names,
)
from fedjax_rl.runs.devices import DeviceSettings
from fedjax_rl.runs.hosts import HostSettings, joined

FEDERATED = ("fednpg", "fedppo", "fednatural")

HELP = """\
usage: fedjax-rl run ALGORITHM [OPTIONS]

algorithms:
  fednpg      natural policy gradient on local Lagrangians, for finite problems
  fedppo      proximal policy optimisation with networks, for constrained gymnax tasks
  fednatural  natural policy gradient with networks, in a trust region
  gepo, gspo, grpo, … (see: fedjax-rl list losses)
              group policy optimisation of token policies, by samplers far from their learner

fednpg and fedppo are the methods of arXiv 2405.03236, gepo that of arXiv 2508.17850.
fedjax-rl run ALGORITHM --help explains every option.
"""


@dataclasses.dataclass(frozen=True)
class RunFedNPG:
    """Train FedNPG on a finite problem and compare it with the exact optimum.

    Every agent ascends its own Lagrangian for E local steps, keeps its multipliers to itself,
    and the policies are merged; T such rounds make a run. The table shows the merged policy,
    evaluated exactly: its value, the gap to the constrained optimum V*, how far each cost is above
    its budget, each agent's multipliers, and gap and violation of the average over rounds.
    """

    settings: Annotated[FedNPGConfig, tyro.conf.arg(name="")]
    config: Path | None = None
    """A config.yaml to start from; flags given here come on top of it."""
    out: Path | None = None
    """Directory for config.yaml, metrics.csv, summary.json, policy.npz and plots."""
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


def main(arguments: list[str]) -> int:
    """Runs an algorithm; exit status 1 when it diverged."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    algorithm = arguments[0]
    if algorithm in ("fedppo", "fednatural"):
        from fedjax_rl.cli import run_deep

        return run_deep.main(algorithm, arguments[1:])
    if algorithm != "fednpg":
        from fedjax_rl.cli import run_hetero
        from fedjax_rl.hetero.losses import losses

        if ":" not in algorithm:
            choose("algorithm", algorithm, [*FEDERATED, *losses])
        return run_hetero.main(algorithm, arguments[1:])
    defaults, made_with = _defaults(arguments[1:])
    options = parse(RunFedNPG, arguments[1:], "run fednpg", default=defaults)
    check_has_out(options.out, arguments)

    with joined(options.hosts):
        from fedjax_rl.runs.place import Destination
        from fedjax_rl.runs.session import run_and_record

        destination = Destination(
            options.out, options.overwrite, options.checkpoints, log_to=options.log_to
        )
        diverged = run_and_record(options.settings, destination, made_with, options.devices)
    sys.stdout.flush()
    return 1 if diverged else 0


def _defaults(arguments: list[str]) -> tuple[RunFedNPG, dict[str, Any]]:
    """Defaults of the flags, from ``--config`` where it is given, and that file's origin."""
    if (file := flag_value("--config", arguments)) is None:
        return RunFedNPG(FedNPGConfig()), {}
    config, made_with = config_from_yaml(Path(file))
    saving, sinks = checkpoint_settings(Path(file)), sink_names(Path(file))
    return RunFedNPG(config, config=Path(file), checkpoints=saving, log_to=sinks), made_with
