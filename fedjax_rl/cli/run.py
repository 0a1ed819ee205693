"""``fedjax-rl run ALGORITHM``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from fedjax_rl.backend import start_backend
from fedjax_rl.checks import check_choice
from fedjax_rl.cli.execution import Execution, execution_of
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.protocol import Family, settings_of, without_effect
from fedjax_rl.families.registry import family_of
from fedjax_rl.settings.fields import base_of, declared
from fedjax_rl.settings.files import read_run_file, read_settings
from fedjax_rl.settings.paths import found_again
from fedjax_rl.settings.values import read_as

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
    algorithm, argv = arguments[0], arguments[1:]
    family = family_of(algorithm)
    settings, content = base(family, algorithm, argv)
    kind = options_of(family, type(settings))
    file = flag_value("--config", argv)
    execution = {} if file is None else {"execution": execution_of(Path(file))}
    options = parse(
        kind,
        argv,
        f"run {algorithm}",
        default=kind(settings=settings, **execution),
        description=family.about,
    )
    check_has_out(options.out, argv)

    from fedjax_rl.runs.session import Request, compare_and_record, run_and_record

    start_backend()
    record = compare_and_record if getattr(options, "compare", False) else run_and_record
    destination, devices = options.execution.destination(options.out), options.execution.devices
    diverged = record(Request(algorithm, options.settings, destination, devices, content))
    sys.stdout.flush()
    return 1 if diverged else 0


def options_of(family: Family, settings: type) -> Any:
    """The type of a family's options of ``run``: its settings, and how the run is carried out."""
    out = option(
        "out", Path | None, None, "Directory for config.yaml, metrics.csv, results and plots."
    )
    references = option(
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
    compared = [] if family.references is None else [references]
    return made(family, settings, *compared, out, execution)


def made(family: Family, settings: type, *fields: Any) -> Any:
    """A type of options: settings of a family and where they start from, and these fields."""
    own = ("settings", Annotated[settings, tyro.conf.arg(name="")])
    help_config = "A config.yaml to start from; flags given here come on top of it."
    starts = [option("config", Path | None, None, help_config)]
    if len(family.presets) > 1:
        starts.append(option("preset", str, "default", family.presets_help))
    return dataclasses.make_dataclass("Options", [own, *starts, *fields], frozen=True, kw_only=True)


def option(name: str, kind: Any, default: Any, help_text: str) -> Any:
    """A field of options with its help."""
    return name, Annotated[kind, tyro.conf.arg(help=help_text)], dataclasses.field(default=default)


def base(
    family: Family, algorithm: str, argv: list[str], swept: Sequence[Mapping[str, Any]] = ()
) -> tuple[Any, str | None]:
    """Settings before any flag, from ``--config`` or ``--preset``, and the problem's digest.

    Their type has the settings of all plug-ins that the flags, the file or what is swept name;
    where something is swept, it is that of what several runs have in common.

    Raises:
        InvalidInput: a file or preset that cannot be used, or both.
    """
    flags = {name: flag_value(flag(name), argv) for name in family.named}
    file, name = flag_value("--config", argv), flag_value("--preset", argv)
    settings: Any
    if file is None:
        settings = settings_of(family, algorithm, flags, *swept)
        settings = base_of(settings) if swept else settings
        if name is not None and len(family.presets) > 1:
            check_choice("--preset", name, family.presets)
            return settings(**_preset(family, algorithm, settings, argv, name)), None
        return settings(), None
    if name is not None:
        raise InvalidInput("--preset", repr(name), "a preset or a --config, not both")
    known = read_run_file(Path(file)).settings
    kind = settings_of(family, algorithm, flags, known, *swept)
    kind = base_of(kind) if swept else kind
    settings, origin = read_settings(Path(file), algorithm, kind)
    return found_again(settings, family.files, Path(file).parent), origin.get("problem_sha256")


def _preset(
    family: Family, algorithm: str, kind: Any, argv: list[str], name: str
) -> dict[str, Any]:
    """The settings of a preset that have an effect beside the flags."""
    found = family.preset(algorithm, name)
    others = {one.name for annotation in declared(kind).values() for one in annotation.company}
    given = {other: flag_value(flag(other), argv) for other in others}
    flags = {other: read_as(text) for other, text in given.items() if text is not None}
    defaults = {setting: getattr(kind, setting) for setting in declared(kind)}
    without = without_effect(family, algorithm, kind, {**defaults, **found, **flags})
    return {setting: value for setting, value in found.items() if setting not in without}
