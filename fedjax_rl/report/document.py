"""The content of a page beside its figures, as plain data for the renderer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fedjax_rl.figures.description import Figure, Series


class Table(NamedTuple):
    """Rows of numbers, words and truth values under headings.

    Attributes:
        title: above it.
        headings: one for each column.
        rows: of plain values; the first column names the row.
        note: below it.
        sortable: whether a click on a heading sorts.
        marked: rows that are set off, such as the best.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    sortable: bool = False
    marked: tuple[int, ...] = ()


class Bar(NamedTuple):
    """A cost beside its budget.

    Attributes:
        name: of the constraint.
        cost: in the budget's unit.
        budget: its largest allowed value.
        verdict: ``kept``, ``tolerated``, ``broken`` or ``unknown``.
        verdict_text: the verdict in words, with by how much.
        share: in how many seeds or agents it is kept, in words; empty for a single policy.
        fill: [0, 1], where on its track the bar ends.
        mark: [0, 1], where the budget is.
    """

    name: str
    cost: float
    budget: float
    verdict: str
    verdict_text: str
    share: str
    fill: float
    mark: float


class Satisfaction(NamedTuple):
    """Bars that show how a policy keeps its budgets, with a summary.

    Attributes:
        whose: which policy.
        bars: one for each constraint.
        summary: all of it in a sentence.
    """

    whose: str
    bars: tuple[Bar, ...]
    summary: str


class State(NamedTuple):
    """A word on how a run ended.

    Attributes:
        text: such as ``unfinished``.
        good: True, False, or None for neither.
    """

    text: str
    good: bool | None


class KeyFigure(NamedTuple):
    """A figure in large type.

    Attributes:
        name: of it.
        value: as text.
        note: in small type, or empty.
    """

    name: str
    value: str
    note: str = ""


class Section(NamedTuple):
    """A directory, or a run that belongs to it.

    Attributes:
        name: of the directory, as it was given, or of the part.
        kind: what it is, in words.
        states: how it ended.
        verdict: sentences on what came out.
        key_figures: the few that matter.
        satisfaction: for each policy.
        figures: curves and maps.
        tables: results.
        configuration: every setting by name.
        environment: versions, devices and commit.
        parts: runs that belong to it.
        glance: the row of a table over several sections.
        curves: what can be laid over those of other sections, by (ordinate, abscissas …).
        diverged: what diverged, one line each.
    """

    name: str
    kind: str
    states: tuple[State, ...]
    verdict: tuple[str, ...] = ()
    key_figures: tuple[KeyFigure, ...] = ()
    satisfaction: tuple[Satisfaction, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    configuration: Mapping[str, Any] = {}
    environment: Mapping[str, str] = {}
    parts: tuple[Section, ...] = ()
    glance: Mapping[str, Any] = {}
    curves: Mapping[tuple[str, ...], Series] = {}
    diverged: tuple[str, ...] = ()


class Page(NamedTuple):
    """A whole report.

    Attributes:
        title: of the page.
        sections: one for each directory.
        tables: over several of them.
        figures: of several of them.
        written: when and with what the page was made, in words.
    """

    title: str
    sections: tuple[Section, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    written: str
