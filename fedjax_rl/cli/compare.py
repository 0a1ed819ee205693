"""``fedjax-rl compare ALGORITHM``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from fedjax_rl.checks import at_least
from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.tabular.config import FedNPGConfig

if TYPE_CHECKING:
    from fedjax_rl.families.tabular.comparison import Finished, Grid

ALGORITHMS = ("fednpg",)
"""Those with lists of their own, beside --grid."""
BY_GRID = ("--grid", "--random")

HELP = """\
usage: fedjax-rl compare ALGORITHM --grid NAME=A,B [OPTIONS]
       fedjax-rl compare fednpg --learners A,B --local-steps 1,5 [OPTIONS]
       fedjax-rl compare --losses A,B --windows 0,4,32 [OPTIONS]

  --grid     settings of any algorithm, as fedjax-rl sweep takes them, and a table of what came out
  fednpg     variants of federated natural policy gradient, also at equal local steps
  --losses   losses of group policy optimisation on stale data, on one token task

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
class CommonSettings(FedNPGConfig):
    """Settings that all variants share: those of a run without the ones that are compared."""

    learner: tyro.conf.Suppress[tyro.conf.Fixed[str]] = "npg"
    correction: tyro.conf.Suppress[tyro.conf.Fixed[Literal["none", "control-variate"]]] = "none"
    local_steps: tyro.conf.Suppress[tyro.conf.Fixed[int]] = 1
    merge: tyro.conf.Suppress[tyro.conf.Fixed[str]] = "auto"
    reference: tyro.conf.Suppress[
        tyro.conf.Fixed[Literal["fed", "omniscient", "no-communication"]]
    ] = "fed"
    rounds: Annotated[int, at_least(1)] = 10_000
    """T, merges in each variant."""
    log_every: Annotated[int, at_least(1)] = 1
    """Rounds between two points of curves.npz; rounds 0 and T are always written."""


@dataclasses.dataclass(frozen=True)
class CompareFedNPG:
    """Run variants of FedNPG on one problem and put them side by side.

    Every combination of the lists (commas, no spaces) is a variant; those that make no sense are
    left out, with the reason. All run T rounds; one table shows them after T rounds, and where E
    differs another at the round where each has taken as many local steps as the shortest. "avg" is
    of the averages over rounds, "strong" averages the positive part of the violation, "gap" and
    "viol" are of the last policy; bytes are all that crossed between agents, seconds contain
    compilation. "feasible" names the policies that keep every budget; of several seeds it says how
    many of the averaged and how many of the last ones do. The best of those is named; where there
    is none, the one with the least relative violation.
    """

    settings: Annotated[CommonSettings, tyro.conf.arg(name="")]
    learners: str = "npg"
    """List of npg, optimistic, regularized, crpo, or module:factory."""
    local_steps: str = "1"
    """List of E, local steps between two merges: 1,5,20."""
    corrections: str = "none"
    """List of none and control-variate."""
    merges: str = "auto"
    """List of auto, logits, probabilities, points, or module:factory."""
    references: str = "fed"
    """List of fed, omniscient and no-communication; the latter two run with the first correction
    and the first merge only."""
    feasible_seeds: float = 1.0
    """Share of --seeds that must keep every budget after all rounds; at equal local steps the
    worst seed decides."""
    out: Path | None = None
    """Directory for config.yaml, comparison.csv, .md and .png, and curves.npz."""
    overwrite: bool = False
    """Replace the run that is in --out."""


def main(arguments: list[str]) -> int:
    """Compares variants of an algorithm; exit status 1 when one of them diverged.

    Raises:
        InvalidInput: an unknown algorithm, or a single value where compare takes a list.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if arguments[0].startswith("--"):
        from fedjax_rl.cli import compare_hetero

        return compare_hetero.main(arguments)
    family_of(arguments[0])
    if any(word.partition("=")[0] in BY_GRID for word in arguments[1:]):
        from fedjax_rl.cli import sweep

        return sweep.main(arguments, compare=True)
    if arguments[0] not in ALGORITHMS:
        raise InvalidInput("--grid", "nothing", "what to compare: --grid NAME=A,B")
    for flag in (word.partition("=")[0] for word in arguments[1:]):
        if flag in LISTS:
            raise InvalidInput(flag, "a single value", f"compare takes a list: {LISTS[flag]} A,B")
    default = CompareFedNPG(CommonSettings())
    options = parse(CompareFedNPG, arguments[1:], "compare fednpg", default=default)
    if options.overwrite and options.out is None:
        raise InvalidInput("--overwrite", "no --out", "--out DIR says what to overwrite")

    from fedjax_rl.ranking import check_share

    check_share(options.feasible_seeds)
    return 1 if compare(options, grid(options)) else 0


def grid(options: CompareFedNPG) -> Grid:
    """The lists of the command line, each entry checked but the names of plug-ins."""
    from fedjax_rl.families.tabular.comparison import Grid

    corrections = _entries("--corrections", options.corrections)
    references = _entries("--references", options.references)
    return Grid(
        learners=_entries("--learners", options.learners),
        local_steps=tuple(map(_count, _entries("--local-steps", options.local_steps))),
        corrections=tuple(choose("--corrections", word, CORRECTIONS) for word in corrections),
        merges=_entries("--merges", options.merges),
        references=tuple(choose("--references", word, REFERENCES) for word in references),
    )


def _entries(flag: str, text: str) -> tuple[str, ...]:
    entries = tuple(entry.strip() for entry in text.split(","))
    if not all(entries):
        raise InvalidInput(flag, repr(text), "a list with commas and no empty entry")
    return entries


def _count(entry: str) -> int:
    if not (entry.isascii() and entry.isdigit()) or int(entry) < 1:
        allowed = "whole numbers of at least 1, with commas: 1,5,20"
        raise InvalidInput("--local-steps", repr(entry), allowed)
    return int(entry)


def compare(options: CompareFedNPG, grid: Grid) -> bool:
    """Runs every variant, prints their tables and writes them when asked to.

    Returns:
        Whether any variant diverged; the others are complete.

    Raises:
        InvalidInput: before anything is written; no combination makes sense, for one.
    """
    from rich.console import Console

    from fedjax_rl.families.tabular import comparison, comparison_words
    from fedjax_rl.records.directory import check_writable, opened
    from fedjax_rl.terminal.live import working

    settings = options.settings
    if options.out is not None:
        check_writable(options.out, overwrite=options.overwrite)
    with working(f"solving {settings.problem} exactly"):
        variants, left_out = comparison.plan(settings, grid)
    print("\n".join([comparison.opening(variants), *left_out]), flush=True)
    with opened(options.out, overwrite=options.overwrite) as directory:
        if directory is not None:
            asked = settings, grid, variants, left_out, options.feasible_seeds
            directory.write_text("config.yaml", comparison.configuration(*asked))
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        finished: list[Finished] = []
        for number, variant in enumerate(variants, 1):
            console.print(f"{number} of {len(variants)}: {variant.name} …")
            finished.append(comparison.run_variant(variant, options.feasible_seeds))
            if directory is not None:
                directory.write_text("comparison.csv", comparison.csv_text(finished))
        comparison_words.show(finished)
        if directory is None:
            print("Nothing was written; --out DIR keeps the tables, the curves and a plot.")
        else:
            directory.write_text("comparison.md", comparison_words.markdown(finished, left_out))
            with working("drawing"):
                comparison.record_curves(directory, finished)
            print(f"Written to {directory.path}: {', '.join(directory.names())}", flush=True)
    return any(one.result.outcome.failed_round is not None for one in finished)
