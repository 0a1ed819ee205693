"""``fedjax-rl run fedppo`` and ``fedjax-rl run fednatural``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.cli.execution import Execution, execution_of
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.deep.config import DeepConfig, preset
from fedjax_rl.runs.hosts import joined
from fedjax_rl.settings.files import read_settings


@dataclasses.dataclass(frozen=True)
class RunDeep:
    """Train networks on a task with costs that no agent sees all of.

    Every agent acts in its own environments, measures its own costs, improves its policy on its
    own Lagrangian for E local steps and keeps its multipliers to itself; then the policies are
    merged. T such rounds make a run. The table shows reward and violations in the agents' own
    rollouts, their multipliers, and what the merged policy does in episodes of its own.
    """

    settings: Annotated[DeepConfig, tyro.conf.arg(name="")]
    preset: str = "default"
    """default: ours, chosen on cartpole-pos2; paper: of the experiments of arXiv 2405.03236."""
    config: Path | None = None
    """A config.yaml to start from, in place of a preset; flags given here come on top of it."""
    compare: bool = False
    """Run the omniscient, the silent and the unconstrained agents too, and compare."""
    out: Path | None = None
    """Directory for config.yaml, metrics.csv, evaluations.csv, summary.json, policy.npz, plots."""
    execution: Annotated[Execution, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=Execution
    )


def main(algorithm: str, arguments: list[str]) -> int:
    """Runs an algorithm of networks; exit status 1 when a seed diverged."""
    defaults, made_with = _defaults(algorithm, arguments)
    options = parse(RunDeep, arguments, f"run {algorithm}", default=defaults)
    check_has_out(options.out, arguments)

    with joined(options.execution.hosts):
        from fedjax_rl.runs.deep.session import compare_and_record, run_and_record

        record = compare_and_record if options.compare else run_and_record
        destination = options.execution.destination(options.out)
        diverged = record(
            algorithm, options.settings, destination, made_with, options.execution.devices
        )
    sys.stdout.flush()
    return 1 if diverged else 0


def _defaults(algorithm: str, arguments: list[str]) -> tuple[RunDeep, dict[str, Any]]:
    """Defaults of the flags, from ``--config`` or ``--preset``, and the file's origin."""
    file, name = flag_value("--config", arguments), flag_value("--preset", arguments)
    if file is not None:
        if name is not None:
            raise InvalidInput("--preset", repr(name), "a preset or a --config, not both")
        config, made_with = read_settings(Path(file), algorithm, DeepConfig)
        return RunDeep(config, config=Path(file), execution=execution_of(Path(file))), made_with
    return RunDeep(preset(name or "default")), {}
