"""Variants of FedNPG side by side in words: tables, what a view puts at equal, and the best one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from fedjax_rl.runs.comparison import FIGURES, VIEWS, Finished, Measures, views
from fedjax_rl.runs.live import NAMES, table_of
from fedjax_rl.runs.summary import FEASIBILITY_TOLERANCE

HEADER = ("round", "avg gap", "avg viol", "strong", "gap", "viol", "bytes", "s", "feasible")
WIDTHS = (7, 11, 11, 11, 11, 11, 10, 7, 9)
NAME_WIDTH = 32
"""What lines of 120 characters leave for the variant; longer names get a line of their own."""
POLICIES = (
    ("averaged", "feasible_average", "average_gap", "average_violation"),
    ("last", "feasible_last", "gap", "violation"),
)
"""The two policies of a run, and the measures that say what they are worth."""


def show(finished: Sequence[Finished]) -> None:
    """Prints the views, as tables of rich on a terminal and as plain lines elsewhere."""
    console = Console(highlight=False)
    for view, rows in views_of(finished).items():
        print(f"\n{headline(view, finished)}:")
        if console.is_terminal:
            cells = [(name, *row_cells(row)) for name, row in rows.items()]
            console.print(table_of((NAMES, *HEADER), cells, console))
        else:
            print(_line(NAMES, HEADER))
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
    """The rows of each view, by the name of the variant; one view where both are the same."""
    both = {one.variant.name: views(one) for one in finished}
    shown = VIEWS[:1] if _equally_long(finished) else VIEWS
    return {
        view: {name: rows[index] for name, rows in both.items()} for index, view in enumerate(shown)
    }


def headline(view: str, finished: Sequence[Finished]) -> str:
    """What a view puts at equal, in words."""
    rounds, steps = finished[0].result.config.rounds, finished[0].variant.equal_steps
    if view == "equal_rounds":
        return f"After {rounds} rounds{f' ({steps} local steps)' * _equally_long(finished)} each"
    return f"After {steps} local steps each, to the nearest round"


def _equally_long(finished: Sequence[Finished]) -> bool:
    """Whether all variants take as many local steps a round, so that both views are one."""
    return len({one.result.config.local_steps for one in finished}) == 1


def verdict(view: str, finished: Sequence[Finished]) -> str:
    """The best feasible variant of a view in words, or that there is none."""
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
    """The views as Markdown tables, the verdicts, and what was left out."""
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
