"""The live table of a run, and progress bars."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fedjax_rl.columns import Columns

QUIET_SECONDS = 1.0
ROWS_KEPT = 20
"""About how many rows a whole run leaves on the screen."""
BAR_FROM_COLUMNS = 60
"""A narrower terminal gets the count of rounds without the bar."""
COLUMN_PADDING = 2
PLAIN = {"markup": False, "soft_wrap": True}
"""How a line is printed as it is: wrapping is the terminal's affair, and a pipe has no width."""
NAMES = "variant"
"""Header of the column that holds names and not numbers."""
NUMBERS_SHOWN = 5
"""With more constraints or multipliers than this only the largest is shown."""


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Says on standard error what is being done, if it takes longer than a second."""
    console = Console(stderr=True, highlight=False)
    notice = threading.Timer(QUIET_SECONDS, console.print, [f"{what} …"], PLAIN)
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


class LiveTable:
    """A table of about twenty rows that grows while rounds pass, with a bar under it.

    Where standard output is not a terminal the rows are printed as plain lines. A terminal shows
    the columns from the left whose words fit, and says how many it leaves out.

    Args:
        rounds: T.
        header: names of the columns.
        cells: (rows, index) -> the texts of one row under the header.
        unit: the column that counts, of which T is the last.
    """

    def __init__(
        self,
        rounds: int,
        header: Sequence[str],
        cells: Callable[[Columns, int], list[str]],
        unit: str = "round",
    ):
        self._rounds = rounds
        self._unit = unit
        self._header = header
        self._cells = cells
        self._next = 0
        self._rows: list[list[str]] = []
        self._widths: list[int] = []
        console = Console(highlight=False)
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._progress = Progress(TextColumn(unit), *bars(console))
        self._task = self._progress.add_task(unit, total=rounds)

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(table_of(self._header, self._rows, self._console), refresh=True)
            self._live.__exit__(kind, error, trace)

    def show(self, rows: Columns) -> None:
        """Takes the columns of consecutive rounds and shows those that are due."""
        for index, round in enumerate(rows[self._unit]):
            if round < self._next and round != self._rounds:
                continue
            self._next = int(round) + max(1, self._rounds // ROWS_KEPT)
            self._rows.append(self._cells(rows, index))
            if self._live is None:
                self._print_row()
        if self._live is not None:
            self._progress.update(self._task, completed=int(rows[self._unit][-1]))
            table = table_of(self._header, self._rows, self._console)
            self._live.update(Group(table, self._progress))

    def _print_row(self) -> None:
        if len(self._rows) == 1:
            pairs = zip(self._header, self._rows[0], strict=True)
            self._widths = [max(len(name), len(cell)) + 2 for name, cell in pairs]
            self._print_cells(self._header)
        self._print_cells(self._rows[-1])

    def _print_cells(self, cells: Sequence[str]) -> None:
        padded = zip(cells, self._widths, strict=True)
        print("".join(cell.rjust(width) for cell, width in padded), flush=True)


def bars(console: Console) -> tuple[ProgressColumn, ...]:
    """Columns of a progress bar that fit the terminal: bar, count and time left, or the count."""
    if console.width < BAR_FROM_COLUMNS:
        return (MofNCompleteColumn(),)
    return BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> Table:
    """Columns to the right, but for names; those that do not fit are counted under the table."""
    visible = fitting([header, *rows], console.width)
    table = Table(box=None)
    for name in header[:visible]:
        table.add_column(Text(name), justify="left" if name == NAMES else "right")
    for row in rows:
        table.add_row(*map(Text, row[:visible]))
    if hidden := len(header) - visible:
        table.caption, table.caption_justify = f"+{hidden} columns", "left"
    return table


def fitting(rows: Sequence[Sequence[str]], width: int) -> int:
    """The number of columns, at least one, that fit a terminal without breaking words.

    Args:
        rows: texts; all have as many columns.
        width: of the terminal, in characters.
    """
    widths = [
        max((len(word) for cell in column for word in cell.split()), default=0)
        for column in zip(*rows, strict=True)
    ]
    taken = itertools.accumulate(word + COLUMN_PADDING for word in widths)
    return max(1, sum(end <= width for end in taken))


def several(numbers: Sequence[float], form: str) -> str:
    """Numbers side by side, or the largest when there are many."""
    if len(numbers) > NUMBERS_SHOWN:
        return f"max {format(max(numbers), form)}"
    return " ".join(format(number, form).rjust(6) for number in numbers)


def order_of(names: Sequence[str]) -> str:
    """A line that says to which constraints the numbers of a cell belong; one needs no order."""
    if len(names) > NUMBERS_SHOWN:
        return f"violations below are the largest of {len(names)}"
    return f"violations below are of {', '.join(names)}{', in this order' * (len(names) > 1)}"
