"""``fedjax-rl run ALGORITHM``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.execution import Execution, execution_of
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.runs.config import FedNPGConfig
from fedjax_rl.runs.hosts import joined
from fedjax_rl.settings.files import read_settings

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
    execution: Annotated[Execution, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=Execution
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

    with joined(options.execution.hosts):
        from fedjax_rl.runs.session import run_and_record

        destination = options.execution.destination(options.out)
        diverged = run_and_record(
            options.settings, destination, made_with, options.execution.devices
        )
    sys.stdout.flush()
    return 1 if diverged else 0


def _defaults(arguments: list[str]) -> tuple[RunFedNPG, dict[str, Any]]:
    """Defaults of the flags, from ``--config`` where it is given, and that file's origin."""
    if (file := flag_value("--config", arguments)) is None:
        return RunFedNPG(FedNPGConfig()), {}
    config, made_with = read_settings(Path(file), "fednpg", FedNPGConfig)
    return RunFedNPG(config, config=Path(file), execution=execution_of(Path(file))), made_with
