"""``fedjax-rl compare ALGORITHM``: a sweep with a table, by ``--grid`` or by lists of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from fedjax_rl.checks import at_least
from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import flag_value, parse
from fedjax_rl.cli.sweep import SweepOptions, carried_out
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.stale.config import NAMED, HeteroConfig
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.settings.fields import base_of
from fedjax_rl.settings.own import extended, named_in

ALGORITHMS = ("fednpg",)
"""Those with lists of their own, beside --grid."""
BY_GRID = ("--grid", "--random")

HELP = """\
usage: fedjax-rl compare ALGORITHM --grid NAME=A,B [OPTIONS]
       fedjax-rl compare fednpg --learners A,B --local-steps 1,5 [OPTIONS]
       fedjax-rl compare --losses A,B --windows 0,4,32 [OPTIONS]

  --grid     settings of any algorithm, as fedjax-rl sweep takes them, and a table of what came out
  fednpg     learners, local steps, corrections, merges and references as lists
  --losses   losses of group policy optimisation on stale data, and windows, as lists

All of them are a sweep: combinations that make no sense are left out, with the reason, the others
run in as few programs as there can be, and fedjax-rl resume goes on with what was killed.

fedjax-rl compare fednpg --help and fedjax-rl compare --losses gepo --help explain every option.
"""

LISTS = {
    "--learner": "--learners",
    "--correction": "--corrections",
    "--merge": "--merges",
    "--reference": "--references",
}
"""Flags of ``run fednpg`` that are lists here."""
CORRECTIONS = ("none", "control-variate")
REFERENCES = ("fed", "omniscient", "no-communication")


@dataclasses.dataclass(frozen=True)
class ListOptions(SweepOptions):
    """What a comparison by lists has of a sweep's options: all but the space."""

    grid: tyro.conf.Suppress[tyro.conf.Fixed[tuple[str, ...]]] = ()
    random: tyro.conf.Suppress[tyro.conf.Fixed[tuple[str, ...]]] = ()
    samples: tyro.conf.Suppress[tyro.conf.Fixed[None]] = None
    sample_seed: tyro.conf.Suppress[tyro.conf.Fixed[int]] = 0
    file: tyro.conf.Suppress[tyro.conf.Fixed[None]] = None


@dataclasses.dataclass(frozen=True)
class CommonSettings(FedNPGConfig):
    """Settings that all variants share: those of a run without the ones that are compared."""

    learner: tyro.conf.Suppress[tyro.conf.Fixed[str]] = FedNPGConfig.learner
    correction: tyro.conf.Suppress[tyro.conf.Fixed[Literal["none", "control-variate"]]] = (
        FedNPGConfig.correction
    )
    local_steps: tyro.conf.Suppress[tyro.conf.Fixed[int]] = FedNPGConfig.local_steps
    merge: tyro.conf.Suppress[tyro.conf.Fixed[str]] = FedNPGConfig.merge
    reference: tyro.conf.Suppress[
        tyro.conf.Fixed[Literal["fed", "omniscient", "no-communication"]]
    ] = FedNPGConfig.reference
    rounds: Annotated[int, at_least(1)] = FedNPGConfig.rounds
    """T, merges in each variant."""
    log_every: tyro.conf.Suppress[tyro.conf.Fixed[int]] = FedNPGConfig.log_every


@dataclasses.dataclass(frozen=True)
class CompareFedNPG:
    """Run variants of FedNPG on one problem and put them side by side.

    Every combination of the lists (commas, no spaces) is a variant; those that make no sense are
    left out, with the reason. All run T rounds; one table shows them after T rounds, and where E
    differs another at the round where each has taken as many local steps as the shortest. "avg" is
    of the averages over rounds, "strong" averages the positive part of the violation, "gap" is of
    the last policy; bytes are all that crossed between agents. "feasible" says in how many seeds
    the averaged and the last policy keep every budget, and so do relative violation and rank. The
    best of those is named; where there is none, the one with the least relative violation.
    """

    settings: Annotated[CommonSettings, tyro.conf.arg(name="")]
    sweep: Annotated[ListOptions, tyro.conf.arg(name="")]
    learners: str = "npg"
    """List of npg, optimistic, regularized, crpo, or module:factory."""
    local_steps: str = "1"
    """List of E, local steps between two merges: 1,5,20."""
    corrections: str = "none"
    """List of none and control-variate."""
    merges: str = "auto"
    """List of auto, logits, probabilities, points, or module:factory."""
    references: str = "fed"
    """List of fed, omniscient and no-communication; the latter two merge nothing, so that one
    correction and one merge stand for all."""


@dataclasses.dataclass(frozen=True)
class SharedSettings(HeteroConfig):
    """Settings that all losses and windows share."""

    window: tyro.conf.Suppress[tyro.conf.Fixed[int]] = HeteroConfig.window
    log_every: tyro.conf.Suppress[tyro.conf.Fixed[int]] = HeteroConfig.log_every


@dataclasses.dataclass(frozen=True)
class CompareLosses:
    """Run losses at several windows on one task and put them side by side.

    All losses start at the same policy, and at one window they get batches at the same virtual
    times; seeds and windows of a loss are one program. Accuracy is on held-out prompts: the best
    of all evaluations, and the last.
    """

    settings: Annotated[SharedSettings, tyro.conf.arg(name="")]
    sweep: Annotated[ListOptions, tyro.conf.arg(name="")]
    losses: str = "gepo,gspo,grpo"
    """List of losses (see: fedjax-rl list losses), or module:factory."""
    windows: str = "0,4,32"
    """List of W; 0 is synchronous."""


def main(arguments: list[str]) -> int:
    """Compares configurations; exit status 1 when a member diverged.

    Raises:
        InvalidInput: an unknown algorithm, or nothing that is to be compared.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if arguments[0].startswith("--"):
        return compare_losses(arguments)
    family_of(arguments[0])
    if any(word.partition("=")[0] in BY_GRID for word in arguments[1:]):
        from fedjax_rl.cli import sweep

        return sweep.main(arguments, compare=True)
    if arguments[0] not in ALGORITHMS:
        raise InvalidInput("--grid", "nothing", "what to compare: --grid NAME=A,B")
    return compare_fednpg(arguments[1:])


def compare_fednpg(arguments: list[str]) -> int:
    """Compares the combinations of the lists of FedNPG.

    Raises:
        InvalidInput: a single value where compare takes a list, or before anything is written.
    """
    for word in (word.partition("=")[0] for word in arguments):
        if word in LISTS:
            raise InvalidInput(word, "a single value", f"compare takes a list: {LISTS[word]} A,B")
    learners = _entries("--learners", flag_value("--learners", arguments) or "npg")
    merges = _entries("--merges", flag_value("--merges", arguments) or "auto")
    own = family_of("fednpg").own("fednpg", {"learner": tuple(learners), "merge": tuple(merges)})
    default = CompareFedNPG(extended(CommonSettings, *own)(), ListOptions())
    options = parse(CompareFedNPG, arguments, "compare fednpg", default=default)
    corrections = _entries("--corrections", options.corrections)
    references = _entries("--references", options.references)
    grid: dict[str, Sequence[Any]] = {
        "learner": _entries("--learners", options.learners),
        "local_steps": [_count(entry) for entry in _entries("--local-steps", options.local_steps)],
        "correction": [choose("--corrections", word, CORRECTIONS) for word in corrections],
        "merge": _entries("--merges", options.merges),
        "reference": [choose("--references", word, REFERENCES) for word in references],
    }
    return _compared("fednpg", base_of(extended(FedNPGConfig, *own)), options, grid, arguments)


def compare_losses(arguments: list[str]) -> int:
    """Compares losses at several windows."""
    names = losses_of(flag_value("--losses", arguments) or CompareLosses.losses)
    given = {name: flag_value(flag(name), arguments) for name in NAMED}
    named = named_in(SharedSettings, NAMED, [given])
    own = [kind for name in names for kind in family_of(name).own(name, named)]
    default = CompareLosses(extended(SharedSettings, *own)(), ListOptions())
    options = parse(CompareLosses, arguments, "compare", default=default)
    grid: dict[str, Sequence[Any]] = {"algorithm": names, "window": windows_of(options.windows)}
    return _compared(names[0], base_of(extended(HeteroConfig, *own)), options, grid, arguments)


def _compared(
    algorithm: str,
    kind: type,
    options: CompareFedNPG | CompareLosses,
    grid: Mapping[str, Sequence[Any]],
    arguments: list[str],
) -> int:
    """Carries out a comparison that lists ask for."""
    from fedjax_rl.sweeps.space import space_of

    names = [field.name for field in dataclasses.fields(kind)]
    settings = kind(**{name: getattr(options.settings, name) for name in names})
    space = space_of(kind, grid, {}, None)
    return carried_out(algorithm, settings, space, options.sweep, arguments, compare=True)


def _entries(option: str, text: str) -> list[str]:
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise InvalidInput(option, repr(text), "a list with commas and no empty entry")
    return entries


def _count(entry: str) -> int:
    if not (entry.isascii() and entry.isdigit()) or int(entry) < 1:
        allowed = "whole numbers of at least 1, with commas: 1,5,20"
        raise InvalidInput("--local-steps", repr(entry), allowed)
    return int(entry)


def losses_of(text: str) -> list[str]:
    """The losses of a list, each known and named once.

    Raises:
        InvalidInput: a loss that is unknown or named twice.
    """
    from fedjax_rl.hetero.losses import losses

    names = [entry.strip() for entry in text.split(",")]
    for name in names:
        if ":" not in name:
            choose("--losses", name, list(losses))
    if len(set(names)) != len(names):
        raise InvalidInput("--losses", repr(text), "every loss once")
    return names


def windows_of(text: str) -> list[int]:
    """The windows of a list, each at least 0 and named once.

    Raises:
        InvalidInput: an entry that is no such number, or named twice.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entry.isascii() and entry.isdigit() for entry in entries):
        raise InvalidInput("--windows", repr(text), "whole numbers of at least 0, such as 0,4,32")
    windows = [int(entry) for entry in entries]
    if len(set(windows)) != len(windows):
        raise InvalidInput("--windows", repr(text), "every window once")
    return windows
