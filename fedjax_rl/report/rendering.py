"""A page as HTML: one file, that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Mapping
from importlib import resources
from typing import Any

from fedjax_rl.figures.description import Figure, HeatMap
from fedjax_rl.figures.numbers import brief, exactly
from fedjax_rl.report.document import (
    Bar,
    KeyFigure,
    Page,
    Satisfaction,
    Section,
    State,
    Table,
)
from fedjax_rl.report.embedding import embedded
from fedjax_rl.report.maps import map_of
from fedjax_rl.report.markup import NONE, Html, join, tag
from fedjax_rl.report.satisfaction import cost_of_budget
from fedjax_rl.report.thinning import all_figures

SCRIPTS = ("scales.js", "chart.js", "parallel.js", "page.js")
NO_SCRIPT = tag("noscript", tag("p", "This figure needs JavaScript; the tables do not."))
BARS_SHOWN = 12
DIVERGED_LISTED = 20
SIGNS = {"kept": "✓", "tolerated": "≈", "broken": "✗", "unknown": "?"}
VERDICTS = {True: "good", False: "bad", None: "open"}


def html_of(page: Page) -> str:
    """The whole file."""
    template = string.Template(_asset("page.html"))
    script = "\n".join(map(_asset, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    figures = list(all_figures(page))
    body = _Body(figures).page(page)
    return template.substitute(
        title=join(f"{page.title} · fedjax-rl"),
        digest=digest,
        style=_asset("page.css"),
        body=body,
        figures=embedded(figures),
        script=script,
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


class _Body:
    """Renders sections; figures are named by their number in the list that is embedded.

    Args:
        figures: of the page.
    """

    def __init__(self, figures: list[Figure]):
        self._indices = {id(figure): index for index, figure in enumerate(figures)}

    def page(self, page: Page) -> Html:
        """Everything within the body."""
        several = len(page.sections) > 1
        links = [
            tag("a", section.name, href=f"#section-{index}")
            for index, section in enumerate(page.sections)
        ]
        if several:
            links = [tag("a", "Side by side", href="#together"), *links]
        navigation = tag("nav", links, aria_label="Sections") if several else NONE
        header = tag(
            "header",
            tag("p", "fedjax-rl report", class_="kicker"),
            tag("h1", page.title, id="title"),
            navigation,
        )
        together = NONE
        if several:
            together = tag(
                "section",
                tag("h2", "Side by side", id="together-heading"),
                [_table(table) for table in page.tables],
                self._figures(page.figures),
                id="together",
                aria_labelledby="together-heading",
            )
        sections = [self._section(one, index, several) for index, one in enumerate(page.sections)]
        footer = tag("footer", tag("p", page.written, class_="quiet"))
        return join(header, tag("main", together, sections), footer)

    def _section(self, section: Section, index: int, several: bool) -> Html:
        identifier = f"section-{index}"
        named_by = f"{identifier}-heading" if several else "title"
        heading = tag("h2", section.name, id=named_by) if several else NONE
        parts = [
            tag(
                "details",
                tag("summary", tag("span", part.name), " ", tag("small", part.kind)),
                self._content(part, closed=True),
                class_="part",
            )
            for part in section.parts
        ]
        parts_heading = tag("h3", "References") if parts else NONE
        return tag(
            "section",
            heading,
            self._content(section, closed=several),
            parts_heading,
            parts,
            id=identifier,
            aria_labelledby=named_by,
        )

    def _content(self, section: Section, closed: bool) -> Html:
        results = [_table(table) for table in section.tables]
        curves = self._figures(section.figures)
        mapped = any(isinstance(view, HeatMap) for f in section.figures for view in f.views)
        return join(
            tag("p", section.kind, " ", [_badge(s) for s in section.states], class_="kind"),
            [tag("p", sentence, class_="verdict") for sentence in section.verdict],
            _diverged(section.diverged),
            _key_figures(section.key_figures),
            _under("Constraint satisfaction", [_satisfaction(s) for s in section.satisfaction]),
            _under("Maps and curves" if mapped else "Curves", [curves] if curves else []),
            _under("Results", results),
            _settings("Configuration", section.configuration, closed),
            _settings("Environment", section.environment, closed),
        )

    def _figures(self, figures: tuple[Figure, ...]) -> Html:
        if not figures:
            return NONE
        return tag("div", [self._figure(figure) for figure in figures], class_="figures")

    def _figure(self, figure: Figure) -> Html:
        views = enumerate(figure.views)
        maps = [map_of(view, at) for at, view in views if isinstance(view, HeatMap)]
        wide = any(isinstance(view, HeatMap) and len(view.columns) > 6 for view in figure.views)
        return tag(
            "figure",
            tag("figcaption", tag("strong", figure.title)),
            tag("div", maps, class_="plot"),
            tag("p", figure.note, class_="quiet note") if figure.note else NONE,
            NONE if maps else NO_SCRIPT,
            class_="wide" if wide else None,
            data_figure=self._indices[id(figure)],
        )


def _under(heading: str, content: list[Html]) -> Html:
    return join(tag("h3", heading), content) if content else NONE


def _badge(state: State) -> Html:
    return tag("span", state.text, class_=f"badge {VERDICTS[state.good]}")


def _diverged(lines: tuple[str, ...]) -> Html:
    if not lines:
        return NONE
    listed = [tag("li", line) for line in lines[:DIVERGED_LISTED]]
    if len(lines) > DIVERGED_LISTED:
        listed.append(tag("li", f"and {len(lines) - DIVERGED_LISTED} more"))
    return tag("div", tag("strong", "Diverged"), tag("ul", listed), class_="alarm", role="note")


def _key_figures(found: tuple[KeyFigure, ...]) -> Html:
    if not found:
        return NONE
    cards = [
        tag(
            "div",
            tag("dt", one.name),
            tag("dd", one.value),
            tag("dd", one.note, class_="quiet") if one.note else NONE,
        )
        for one in found
    ]
    return tag("dl", cards, class_="key-figures")


def _satisfaction(found: Satisfaction) -> Html:
    """Bars without a script: those of the first constraints, and the others on request."""
    first, others = found.bars[:BARS_SHOWN], found.bars[BARS_SHOWN:]
    more = NONE
    if others:
        more = tag(
            "details",
            tag("summary", f"{len(others)} more constraints"),
            tag("ul", [_bar(one) for one in others], class_="bars"),
        )
    return tag(
        "div",
        tag("h4", found.whose),
        tag("p", found.summary, class_="quiet"),
        tag("ul", [_bar(one) for one in first], class_="bars"),
        more,
        class_="satisfaction",
    )


def _bar(one: Bar) -> Html:
    track = tag(
        "div",
        tag("i", class_="fill", style=f"width:{100 * one.fill:.2f}%"),
        tag("i", class_="mark", style=f"left:{100 * one.mark:.2f}%"),
        class_="track",
        aria_hidden="true",
    )
    share = tag("span", one.share, class_="quiet") if one.share else NONE
    verdict = tag("span", tag("b", SIGNS[one.verdict], aria_hidden="true"), " ", one.verdict_text)
    return tag(
        "li",
        tag("div", tag("strong", one.name), tag("span", cost_of_budget(one)), class_="name"),
        track,
        tag("div", verdict, share, class_="words"),
        class_=one.verdict,
    )


def _table(table: Table) -> Html:
    headings = [
        tag(
            "th",
            tag("button", heading, type="button") if table.sortable else heading,
            scope="col",
            class_="n" if _numeric(table, column) else None,
        )
        for column, heading in enumerate(table.headings)
    ]
    rows = [
        tag(
            "tr",
            [_cell(value, column == 0) for column, value in enumerate(row)],
            class_="marked" if index in table.marked else None,
        )
        for index, row in enumerate(table.rows)
    ]
    whole = tag(
        "table",
        tag("caption", table.title),
        tag("thead", tag("tr", headings)),
        tag("tbody", rows),
        class_="sortable" if table.sortable else None,
    )
    scroll = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.title)
    note = tag("p", table.note, class_="quiet note") if table.note else NONE
    return tag("div", scroll, note, class_="table")


def _numeric(table: Table, column: int) -> bool:
    return any(_is_number(row[column]) for row in table.rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, first: bool) -> Html:
    number = _is_number(value)
    exact = repr(value) if number and brief(value) != str(value) else None
    attributes = {"class_": "n" if number else None, "data_v": exact}
    if first:
        return tag("th", brief(value), scope="row", **attributes)
    return tag("td", brief(value), **attributes)


def _settings(title: str, settings: Mapping[str, Any], closed: bool) -> Html:
    if not settings:
        return NONE
    pairs = [
        tag("div", tag("dt", name), tag("dd", exactly(value))) for name, value in settings.items()
    ]
    return tag(
        "details",
        tag("summary", title),
        tag("dl", pairs, class_="facts"),
        open=not closed,
    )
