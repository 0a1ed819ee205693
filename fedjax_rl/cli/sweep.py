"""``fedjax-rl sweep ALGORITHM``."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fedjax_rl.backend import start_backend
from fedjax_rl.cli.parse import check_has_out, flag_value, parse
from fedjax_rl.cli.run import base, made
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.cluster.hosts import HostSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.ranking import check_share
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.settings.files import read_yaml

HELP = """\
usage: fedjax-rl sweep ALGORITHM --grid NAME=A,B [--random NAME=LAW --samples S] [OPTIONS]
       fedjax-rl sweep --file sweep.yaml [OPTIONS]

Every combination of settings, for several seeds, in as few compiled programs as there can be.
ALGORITHM is any that fedjax-rl run takes, and so are the options: what is not swept is as of a run.

  fedjax-rl sweep fednpg --grid step_size=0.01,0.1 --grid local_steps=1,5 --seeds 5 --out runs/s
  fedjax-rl sweep fedppo --random learning_rate=loguniform:1e-4:1e-2 --samples 16 --out runs/t
  fedjax-rl best runs/s --metric average_gap --subject-to 'strong_violation<=0.01'
  fedjax-rl plot runs/s

fedjax-rl sweep ALGORITHM --help explains every option.
"""
FILE = (
    *("algorithm", "grid", "random", "samples", "sample_seed", "seeds", "chunk", "feasible_seeds"),
    "settings",
)
"""What a file of a sweep may hold; what made it and how it was saved is passed over."""

Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """What a sweep has beside the settings of a run."""

    grid: Repeated = ()
    """NAME=A,B,C: values of a setting; may be given again for others. Lists are [64,64],[32]."""
    random: Repeated = ()
    """NAME=loguniform:LOW:HIGH, uniform:LOW:HIGH or choice:A|B|C; may be given again."""
    samples: int | None = None
    """Draws of all --random settings together, for every combination of --grid."""
    sample_seed: int = 0
    """Seed of the draws."""
    chunk: str = "auto"
    """Members side by side in one program: a number, or auto: as many as fit memory, dealt to the
    cores."""
    workers: Literal["auto"] | int = "auto"
    """Processes that run chunks, whose bits are the same; auto: one to a core, or this one alone
    for little work, on an accelerator, and beside --devices and --processes."""
    feasible_seeds: float = 1.0
    """Share of a configuration's seeds that must keep every budget before it can be the best."""
    file: Path | None = None
    """YAML file with grid, random, samples, seeds, settings; flags given here come on top. The
    config.yaml of a sweep is one."""
    out: Path | None = None
    """Directory for config.yaml, sweep.csv, curves.npz and a file for each chunk that is done."""
    overwrite: bool = False
    """Replace the sweep that is in --out."""
    checkpoints: Annotated[CheckpointSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=CheckpointSettings
    )
    devices: Annotated[DeviceSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DeviceSettings
    )
    hosts: Annotated[HostSettings, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=HostSettings
    )


ABOUT = """Run an algorithm with every combination of settings, as few programs as there can be.

Real-valued settings share one compiled program, and so do windows and latencies of stale data;
counts and names make groups of their own. Every member computes what the same run alone computes,
up to rounding. --seed and --seeds say which seeds every combination is run with."""


def main(arguments: list[str], compare: bool = False) -> int:
    """Runs a sweep; exit status 1 when every member diverged, of a comparison when any did.

    Args:
        arguments: of the command.
        compare: whether configurations are put side by side in the end.

    Raises:
        InvalidInput: no algorithm, or another than the file has.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    document = _document(arguments)
    if arguments[0].startswith("-"):
        if "algorithm" not in document:
            raise InvalidInput("algorithm", "none", "fedjax-rl sweep ALGORITHM, or one in --file")
        algorithm, argv = document["algorithm"], arguments
    else:
        algorithm, argv = arguments[0], arguments[1:]
    if document.get("algorithm", algorithm) != algorithm:
        raise InvalidInput("--file", document["algorithm"], f"a sweep of {algorithm}")
    options = _parsed(algorithm, argv, document)

    space = _space(type(options.settings), options.sweep, document)
    return carried_out(algorithm, options.settings, space, options.sweep, arguments, compare)


def carried_out(
    algorithm: str,
    settings: Any,
    space: Any,
    own: SweepOptions,
    arguments: list[str],
    compare: bool,
) -> int:
    """The exit status of a sweep over a space.

    Args:
        algorithm: its name.
        settings: that are not swept.
        space: those that are.
        own: what it has beside these.
        arguments: of the command.
        compare: whether configurations are put side by side in the end.

    Raises:
        InvalidInput: before anything is written.
    """
    check_has_out(own.out, arguments)
    from fedjax_rl.records.output import Destination
    from fedjax_rl.sweeps.request import SweepRequest
    from fedjax_rl.sweeps.session import sweep_and_record

    start_backend()
    diverged = sweep_and_record(
        SweepRequest(
            algorithm=algorithm,
            base=settings,
            space=space,
            chunk=chunk_of(own.chunk),
            destination=Destination(own.out, own.overwrite, own.checkpoints),
            devices=own.devices,
            feasible_seeds=own.feasible_seeds,
            compare=compare,
            workers=own.workers,
        )
    )
    sys.stdout.flush()
    return 1 if diverged else 0


def _document(arguments: list[str]) -> dict[str, Any]:
    """What ``--file`` holds; empty without one."""
    if (file := flag_value("--file", arguments)) is None:
        return {}
    document = read_yaml("--file", Path(file))
    if not isinstance(document, dict):
        raise InvalidInput("--file", file, "a YAML mapping with grid or random")
    for name in ("made_with", "checkpoints", "compare", "left_out"):
        document.pop(name, None)
    if unknown := sorted(set(document) - set(FILE)):
        raise InvalidInput("--file", unknown[0], f"known: {', '.join(FILE)}")
    for name in ("grid", "random", "settings"):
        if not isinstance(document.setdefault(name, {}) or {}, dict):
            raise InvalidInput("--file", f"{name} {document[name]!r}", "a mapping by setting")
    if "algorithm" in document:
        document["algorithm"] = str(document["algorithm"]).removeprefix("sweep ")
    return document


def _parsed(algorithm: str, argv: list[str], document: dict[str, Any]) -> Any:
    """The options, on top of the file's and those of ``--config`` or ``--preset``."""
    family = family_of(algorithm)
    lists = {**(document.get("grid") or {}), **named_lists(family.named, argv)}
    settings, _ = base(family, algorithm, argv, [lists, document.get("settings") or {}])
    if document.get("settings") and flag_value("--config", argv) is not None:
        raise InvalidInput("--config", flag_value("--config", argv), "it or settings in --file")
    own: dict[str, Any] = {
        name: document[name]
        for name in ("samples", "sample_seed", "feasible_seeds")
        if name in document
    }
    if "chunk" in document:
        own["chunk"] = str(document["chunk"])
    if "feasible_seeds" in document:
        check_share(document["feasible_seeds"])
    kind = made(family, type(settings), ("sweep", Annotated[SweepOptions, tyro.conf.arg(name="")]))
    default = kind(settings=_on_top(settings, document), sweep=SweepOptions(**own))
    return parse(kind, argv, f"sweep {algorithm}", default=default, description=ABOUT)


def named_lists(names: Sequence[str], argv: Sequence[str]) -> dict[str, Any]:
    """What ``--grid`` and ``--random`` list of these settings, before anything is parsed."""
    found: dict[str, list[str]] = {}
    for word in argv:
        name, equals, values = word.removeprefix("--grid=").removeprefix("--random=").partition("=")
        if equals and (name := name.strip().replace("-", "_")) in names:
            found[name] = [one.strip() for one in re.split(r"[,|]", values.removeprefix("choice:"))]
    return found


def _on_top(base: Any, document: dict[str, Any]) -> Any:
    """The settings with those of a file on top."""
    from fedjax_rl.sweeps.space import setting, spelled

    changes = spelled("--file", document.get("settings") or {})
    if "seeds" in document:
        changes["seeds"] = document["seeds"]
    for name in changes:
        if name not in ("seed", "seeds"):
            setting("--file", type(base), name)
    return dataclasses.replace(base, **changes)


def _space(config: type, own: SweepOptions, document: dict[str, Any]) -> Any:
    """The space of the flags, on top of the file's."""
    from fedjax_rl.sweeps.space import entries, listed, space_of, spelled

    filed = {name: spelled("--file", document.get(name) or {}) for name in ("grid", "random")}
    flags = entries("--grid", own.grid).items()
    grid = {**filed["grid"], **{name: listed(name, text) for name, text in flags}}
    random = {**filed["random"], **entries("--random", own.random)}
    return space_of(config, grid, random, own.samples, own.sample_seed)


def chunk_of(text: str) -> int | None:
    """Members side by side; None for as many as fit memory.

    Raises:
        InvalidInput: neither ``auto`` nor a count.
    """
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise InvalidInput("--chunk", repr(text), "auto, or a whole number of at least 1")
    return int(text)
