"""Variants of FedNPG side by side in words: tables, what a view puts at equal, and the best one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from fedjax_rl.families.tabular.comparison import FIGURES, VIEWS, Finished, Measures, views
from fedjax_rl.families.tabular.comparison_budgets import JUDGED_BY, standing
from fedjax_rl.families.tabular.summary import FEASIBILITY_TOLERANCE
from fedjax_rl.ranking import EVERY_SEED, best_first, seeds_in_words
from fedjax_rl.terminal.live import NAMES, table_of

HEADER = ("round", "avg gap", "avg viol", "strong", "gap", "viol", "bytes", "s", "feasible")
WIDTHS = (7, 10, 10, 10, 10, 10, 10, 7, 14)
NAME_WIDTH = 32
"""What lines of 120 characters leave for the variant; longer names get a line of their own."""


def show(finished: Sequence[Finished]) -> None:
    """Prints the views, as tables of rich on a terminal and as plain lines elsewhere."""
    console = Console(highlight=False)
    seeds = _seeds(finished)
    for view, rows in views_of(finished).items():
        print(f"\n{headline(view, finished)}:")
        if console.is_terminal:
            cells = [(name, *row_cells(row, seeds)) for name, row in rows.items()]
            console.print(table_of((NAMES, *HEADER), cells, console))
        else:
            print(_line(NAMES, HEADER))
            for name, row in rows.items():
                print(_line(name, row_cells(row, seeds)))
        print(verdict(view, finished))
    for one in finished:
        if (failed := one.result.outcome.failed_round) is not None:
            print(f"DIVERGED: {one.variant.name} in round {failed}; the others are complete.")


def _line(name: str, cells: Sequence[str]) -> str:
    numbers = "".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    if len(name) <= NAME_WIDTH:
        return name.ljust(NAME_WIDTH) + numbers
    return f"{name}\n{' ' * NAME_WIDTH}{numbers}"


def row_cells(row: Measures, seeds: int = 1) -> list[str]:
    """A row as text under `HEADER`; dashes for a variant that diverged before."""
    if row["feasible"] is None:
        return [str(row["round"]), *["-"] * (len(HEADER) - 2), "diverged"]
    return [
        str(row["round"]),
        *(f"{row[name]:+.3g}" for name in FIGURES),
        f"{row['bytes_exchanged']:.3g}",
        f"{row['seconds']:.1f}",
        _keeping(row, seeds),
    ]


def _keeping(row: Measures, seeds: int) -> str:
    """Which of the two policies keep every budget; of several seeds how many of each, if known."""
    shares = [row[f"feasible_share_{policy}"] for policy, _ in JUDGED_BY.values()]
    if seeds > 1 and None not in shares:
        return f"{', '.join(f'{round(share * seeds)}' for share in shares)} of {seeds}"
    policies = [name for name, (policy, _) in JUDGED_BY.items() if row[f"feasible_{policy}"]]
    return "both" if len(policies) == 2 else "".join(policies) or "no"


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


def _seeds(finished: Sequence[Finished]) -> int:
    return finished[0].result.config.seeds


def verdict(view: str, finished: Sequence[Finished]) -> str:
    """The best policy of a view in words: budgets first, and whether any keeps them."""
    rows = views_of(finished)[view]
    policies = [
        (row, policy, gap, f"the {whose} policy of {name}")
        for name, row in rows.items()
        if row["feasible"] is not None
        for whose, (policy, gap) in JUDGED_BY.items()
    ]
    standings = [standing(row, policy, gap) for row, policy, gap, _ in policies]
    order = best_first(standings)
    if not order:
        return "Every variant had diverged."
    (row, _, gap, which), excess = policies[order[0]], standings[order[0]].excess
    allowed, share = f"{100 * FEASIBILITY_TOLERANCE:g} %", finished[0].feasible_seeds
    everywhere = seeds_in_words(share, _seeds(finished))
    unknown = any(row[f"feasible_share_{policy}"] is None for row, policy, *_ in policies)
    strict = " (of a run that goes on after this round the worst seed decides)"
    strict *= unknown and bool(everywhere) and share != EVERY_SEED
    if excess:
        return (
            f"No variant is feasible: no policy is within {allowed} of every budget{everywhere}"
            f"{strict}. Least violating: {which}, relative violation {excess:.4g}."
        )
    side = f"{abs(row[gap]):.4g} {'below' if row[gap] >= 0 else 'above'} V*"
    return (
        f"Best feasible: {which}, {side}; no cost is more than {allowed} over its budget"
        f"{everywhere}{strict}."
    )


def markdown(finished: Sequence[Finished], left_out: Sequence[str]) -> str:
    """The views as Markdown tables, the verdicts, and what was left out."""
    lines = [f"# Variants of FedNPG on {finished[0].result.problem.name}"]
    seeds = _seeds(finished)
    for view, rows in views_of(finished).items():
        lines += ["", f"## {headline(view, finished)}", ""]
        lines += [_cells("variant", *HEADER), _cells("---", *["---:"] * len(HEADER))]
        lines += [_cells(name, *row_cells(row, seeds)) for name, row in rows.items()]
        lines += ["", verdict(view, finished)]
    lines += ["", *(f"- {line}" for line in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
