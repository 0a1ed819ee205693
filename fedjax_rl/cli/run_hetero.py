"""``fedjax-rl run gepo|gspo|grpo|…``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli.execution import Execution, execution_of
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.runs.hetero.config import HeteroConfig
from fedjax_rl.runs.hosts import joined
from fedjax_rl.settings.files import read_settings


@dataclasses.dataclass(frozen=True)
class RunHetero:
    """Train a policy over tokens on groups of responses that samplers drew long ago.

    One learner, several samplers, nobody waits: a sampler keeps its parameters until its sync
    interval has run out, and the learner takes the freshest batch that arrived. The algorithm's
    name is that of the loss. A virtual clock decides how stale every batch is; with --window 0
    everybody waits for everybody. The table shows staleness, the learner's distance from the
    sampler, what it does to the importance weights, and accuracy on held-out prompts.
    """

    settings: Annotated[HeteroConfig, tyro.conf.arg(name="")]
    config: Path | None = None
    """A config.yaml to start from; flags given here come on top of it."""
    out: Path | None = None
    """Directory for config.yaml, metrics.csv, evaluations.csv, summary.json, policy.npz, plots."""
    execution: Annotated[Execution, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=Execution
    )


def main(loss: str, arguments: list[str]) -> int:
    """Runs one loss on stale data; exit status 1 when a seed diverged."""
    defaults, made_with = _defaults(loss, arguments)
    options = parse(RunHetero, arguments, f"run {loss}", default=defaults)
    check_has_out(options.out, arguments)

    with joined(options.execution.hosts):
        from fedjax_rl.runs.hetero.session import run_and_record

        destination = options.execution.destination(options.out)
        diverged = run_and_record(
            loss, options.settings, destination, made_with, options.execution.devices
        )
    sys.stdout.flush()
    return 1 if diverged else 0


def _defaults(loss: str, arguments: list[str]) -> tuple[RunHetero, dict[str, Any]]:
    """Defaults of the flags, from ``--config`` where it is given, and that file's origin."""
    if (file := flag_value("--config", arguments)) is None:
        return RunHetero(HeteroConfig()), {}
    config, made_with = read_settings(Path(file), loss, HeteroConfig)
    return RunHetero(config, config=Path(file), execution=execution_of(Path(file))), made_with
