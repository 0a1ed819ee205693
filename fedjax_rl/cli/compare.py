"""``fedjax-rl compare ALGORITHM``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.config import FedNPGConfig

if TYPE_CHECKING:
    from fedjax_rl.runs.comparison import Finished, Grid, Measures

ALGORITHMS = ("fednpg",)

HELP = """\
usage: fedjax-rl compare fednpg [OPTIONS]
       fedjax-rl compare --losses A,B --windows 0,4,32 [OPTIONS]

  fednpg     variants of federated natural policy gradient, on one finite problem
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

HEADER = ("round", "avg gap", "avg viol", "strong", "gap", "viol", "bytes", "s", "feasible")
WIDTHS = (7, 11, 11, 11, 11, 11, 10, 7, 9)
NAME_WIDTH = 32
"""What lines of 120 characters leave for the variant; longer names get a line of their own."""
POLICIES = (
    ("averaged", "feasible_average", "average_gap", "average_violation"),
    ("last", "feasible_last", "gap", "violation"),
)
"""The two policies of a run, and the measures that say what they are worth."""


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
    rounds: int = 10_000
    """T, merges in each variant."""
    log_every: int = 1
    """Rounds between two points of curves.npz; rounds 0 and T are always written."""


@dataclasses.dataclass(frozen=True)
class CompareFedNPG:
    """Run variants of FedNPG on one problem and put them side by side.

    Every combination of the lists (commas, no spaces) is a variant; those that make no sense are
    left out, with the reason. All run T rounds; the tables show them after T rounds, and at the
    round where each has taken as many local steps as the shortest. "avg" is of the averages over
    rounds, "strong" averages the positive part of the violation, "gap" and "viol" are of the last
    policy; bytes are all that crossed between agents, seconds contain compilation.
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
    choose("algorithm", arguments[0], ALGORITHMS)
    for flag in (word.partition("=")[0] for word in arguments[1:]):
        if flag in LISTS:
            raise InvalidInput(flag, "a single value", f"compare takes a list: {LISTS[flag]} A,B")
    default = CompareFedNPG(CommonSettings())
    options = parse(CompareFedNPG, arguments[1:], "compare fednpg", default=default)
    if options.overwrite and options.out is None:
        raise InvalidInput("--overwrite", "no --out", "--out DIR says what to overwrite")
    return 1 if compare(options, grid(options)) else 0


def grid(options: CompareFedNPG) -> Grid:
    """The lists of the command line, each entry checked but the names of plug-ins."""
    from fedjax_rl.runs.comparison import Grid

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
    """Runs every variant, prints both tables and writes them when asked to.

    Returns:
        Whether any variant diverged; the others are complete.

    Raises:
        InvalidInput: before anything is written; no combination makes sense, for one.
    """
    from rich.console import Console

    from fedjax_rl.runs import comparison
    from fedjax_rl.runs.directory import check_writable, opened
    from fedjax_rl.runs.live import working

    settings = options.settings
    if options.out is not None:
        check_writable(options.out, overwrite=options.overwrite)
    with working(f"solving {settings.problem} exactly"):
        variants, left_out = comparison.plan(settings, grid)
    print("\n".join([comparison.opening(variants), *left_out]), flush=True)
    with opened(options.out, overwrite=options.overwrite) as directory:
        if directory is not None:
            directory.write_text(
                "config.yaml", comparison.configuration(settings, grid, variants, left_out)
            )
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        finished: list[Finished] = []
        for number, variant in enumerate(variants, 1):
            console.print(f"{number} of {len(variants)}: {variant.name} …")
            finished.append(comparison.run_variant(variant))
            if directory is not None:
                directory.write_text("comparison.csv", comparison.csv_text(finished))
        show(finished)
        if directory is None:
            print("Nothing was written; --out DIR keeps the tables, the curves and a plot.")
        else:
            directory.write_text("comparison.md", markdown(finished, left_out))
            with working("drawing"):
                comparison.record_curves(directory, finished)
            print(f"Written to {directory.path}: {', '.join(directory.names())}", flush=True)
    return any(one.result.outcome.failed_round is not None for one in finished)


def show(finished: Sequence[Finished]) -> None:
    """Prints both views, as tables of rich on a terminal and as plain lines elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for view, rows in views_of(finished).items():
        print(f"\n{headline(view, finished)}:")
        if console.is_terminal:
            table = Table("variant", box=None)
            for name in HEADER:
                table.add_column(name, justify="right", no_wrap=True)
            for name, row in rows.items():
                table.add_row(*map(Text, (name, *row_cells(row))))
            console.print(table)
        else:
            print(_line("variant", HEADER))
            for name, row in rows.items():
                print(_line(name, row_cells(row)))
        print(verdict(view, finished))
    for one in finished:
        if (failed := one.result.outcome.failed_round) is not None:
            print(f"DIVERGED: {one.variant.name} in round {failed}; the others are complete.")


def _line(name: str, cells: Sequence[str]) -> str:
    numbers = "".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    if len(name) <= NAME_WIDTH:
        return name.ljust(NAME_WIDTH) + numbers
    return f"{name}\n{' ' * NAME_WIDTH}{numbers}"


def row_cells(row: Measures) -> list[str]:
    """A row as text under `HEADER`; dashes for a variant that diverged before."""
    from fedjax_rl.runs.comparison import FIGURES

    if row["feasible"] is None:
        return [str(row["round"]), *["-"] * (len(HEADER) - 2), "diverged"]
    policies = [name for name, keeps, _, _ in POLICIES if row[keeps]]
    return [
        str(row["round"]),
        *(f"{row[name]:+.3g}" for name in FIGURES),
        f"{row['bytes_exchanged']:.3g}",
        f"{row['seconds']:.1f}",
        "both" if len(policies) == 2 else "".join(policies) or "no",
    ]


def views_of(finished: Sequence[Finished]) -> dict[str, dict[str, Measures]]:
    """The rows of each view, by the name of the variant."""
    from fedjax_rl.runs.comparison import VIEWS, views

    both = {one.variant.name: views(one) for one in finished}
    return {
        view: {name: rows[index] for name, rows in both.items()} for index, view in enumerate(VIEWS)
    }


def headline(view: str, finished: Sequence[Finished]) -> str:
    """What a view puts at equal, in words."""
    if view == "equal_rounds":
        return f"After {finished[0].result.config.rounds} rounds each"
    return f"After {finished[0].variant.equal_steps} local steps each, to the nearest round"


def verdict(view: str, finished: Sequence[Finished]) -> str:
    """The best feasible variant of a view in words, or that there is none."""
    from fedjax_rl.runs.summary import FEASIBILITY_TOLERANCE

    rows = views_of(finished)[view]
    policies = [
        (row[gap], row[violation], row[keeps], f"the {policy} policy of {name}")
        for name, row in rows.items()
        if row["feasible"] is not None
        for policy, keeps, gap, violation in POLICIES
    ]
    if not policies:
        return "Every variant had diverged."
    allowed = f"{100 * FEASIBILITY_TOLERANCE:g} %"
    if not any(keeps for _, _, keeps, _ in policies):
        _, violation, _, which = min(policies, key=lambda entry: entry[1])
        return (
            f"No variant is feasible: no policy is within {allowed} of every budget. "
            f"Least violating: {which}, {violation:.4g} above a budget."
        )
    gap, _, _, which = min(entry for entry in policies if entry[2])
    side = f"{abs(gap):.4g} {'below' if gap >= 0 else 'above'} V*"
    return f"Best feasible: {which}, {side}; no cost is more than {allowed} over its budget."


def markdown(finished: Sequence[Finished], left_out: Sequence[str]) -> str:
    """Both views as Markdown tables, the verdicts, and what was left out."""
    lines = [f"# Variants of FedNPG on {finished[0].result.problem.name}"]
    for view, rows in views_of(finished).items():
        lines += ["", f"## {headline(view, finished)}", ""]
        lines += [_cells("variant", *HEADER), _cells("---", *["---:"] * len(HEADER))]
        lines += [_cells(name, *row_cells(row)) for name, row in rows.items()]
        lines += ["", verdict(view, finished)]
    lines += ["", *(f"- {line}" for line in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
