"""``fedjax-rl run ALGORITHM``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.checks import check_choice
from fedjax_rl.cli.execution import Execution, execution_of
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.cluster.hosts import joined
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import Family
from fedjax_rl.families.registry import family_of
from fedjax_rl.settings.files import read_settings
from fedjax_rl.settings.paths import found_again

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


def main(arguments: list[str]) -> int:
    """Runs an algorithm; exit status 1 when it diverged."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    algorithm, words = arguments[0], arguments[1:]
    family = family_of(algorithm)
    settings, content = base(family, algorithm, words)
    kind = options_of(family)
    file = flag_value("--config", words)
    execution = {} if file is None else {"execution": execution_of(Path(file))}
    options = parse(
        kind,
        words,
        f"run {algorithm}",
        default=kind(settings=settings, **execution),
        description=family.about,
    )
    check_has_out(options.out, words)

    with joined(options.execution.hosts):
        from fedjax_rl.runs.session import Request, compare_and_record, run_and_record

        record = compare_and_record if getattr(options, "compare", False) else run_and_record
        destination, devices = options.execution.destination(options.out), options.execution.devices
        diverged = record(Request(algorithm, options.settings, destination, devices, content))
    sys.stdout.flush()
    return 1 if diverged else 0


def options_of(family: Family) -> Any:
    """The type of a family's options of ``run``: its settings, and how the run is carried out."""
    out = option(
        "out", Path | None, None, "Directory for config.yaml, metrics.csv, results and plots."
    )
    beside = option(
        "compare",
        bool,
        False,
        "Run the federation's references too, each in a folder of its own, and compare.",
    )
    execution = (
        "execution",
        Annotated[Execution, tyro.conf.arg(name="")],
        dataclasses.field(default_factory=Execution),
    )
    compared = [] if family.references is None else [beside]
    return made(family, *compared, out, execution)


def made(family: Family, *fields: Any) -> Any:
    """A type of options: a family's settings and where they start from, and these fields."""
    settings = ("settings", Annotated[family.settings, tyro.conf.arg(name="")])
    help_config = "A config.yaml to start from; flags given here come on top of it."
    starts = [option("config", Path | None, None, help_config)]
    if len(family.presets) > 1:
        starts.append(option("preset", str, "default", family.presets_help))
    return dataclasses.make_dataclass(
        "Options", [settings, *starts, *fields], frozen=True, kw_only=True
    )


def option(name: str, kind: Any, default: Any, told: str) -> Any:
    """A field of options with its help."""
    return name, Annotated[kind, tyro.conf.arg(help=told)], dataclasses.field(default=default)


def base(family: Family, algorithm: str, words: list[str]) -> tuple[Any, str | None]:
    """Settings before any flag, from ``--config`` or ``--preset``, and the problem's digest.

    Raises:
        InvalidInput: a file or preset that cannot be used, or both.
    """
    file, name = flag_value("--config", words), flag_value("--preset", words)
    if file is None:
        if name is not None and len(family.presets) > 1:
            check_choice("--preset", name, tuple(family.presets))
            return family.settings(**family.presets[name]), None
        return family.settings(), None
    if name is not None:
        raise InvalidInput("--preset", repr(name), "a preset or a --config, not both")
    settings: Any
    settings, origin = read_settings(Path(file), algorithm, family.settings)
    return found_again(settings, family.files, Path(file).parent), origin.get("problem_sha256")
