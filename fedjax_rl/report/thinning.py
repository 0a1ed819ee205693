"""Curves thinned, so that a page carries those of long runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedjax_rl.figures.curves import thin
from fedjax_rl.figures.description import Chart, Figure, Series
from fedjax_rl.report.document import Page, Section

POINTS_OF_PAGE = 60_000
POINTS = 40, 500
"""Fewest and most points of a curve."""


def thinned(page: Page) -> Page:
    """The page with no more points than it can carry."""
    count = sum(1 for figure in all_figures(page) for _ in _series(figure))
    points = int(np.clip(POINTS_OF_PAGE / max(1, count), *POINTS))
    return page._replace(
        sections=tuple(_thin_section(section, points) for section in page.sections),
        figures=tuple(_thin_figure(figure, points) for figure in page.figures),
    )


def all_figures(page: Page) -> Iterator[Figure]:
    """Figures of the page, of its sections and of their parts."""
    yield from page.figures
    todo = list(page.sections)
    while todo:
        section = todo.pop(0)
        yield from section.figures
        todo += section.parts


def _series(figure: Figure) -> Iterator[Series]:
    for view in figure.views:
        if isinstance(view, Chart):
            yield from view.series


def _thin_section(section: Section, points: int) -> Section:
    return section._replace(
        figures=tuple(_thin_figure(figure, points) for figure in section.figures),
        parts=tuple(_thin_section(part, points) for part in section.parts),
    )


def _thin_figure(figure: Figure, points: int) -> Figure:
    views = (
        view._replace(series=tuple(thin(series, points) for series in view.series))
        if isinstance(view, Chart)
        else view
        for view in figure.views
    )
    return figure._replace(views=tuple(views))
