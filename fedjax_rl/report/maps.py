"""Heat maps as tables with coloured cells: they need no script, and are printed and read aloud."""

from __future__ import annotations

import math

import numpy as np

from fedjax_rl.figures.description import FloatArray, HeatMap
from fedjax_rl.figures.numbers import brief
from fedjax_rl.report.markup import NONE, Html, tag

VIRIDIS = (
    *((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)),
    *((39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)),
)
"""Colours told apart by colour-blind readers."""
BRIGHT = 0.179
"""Of a luminance above this black stands out more than white, by 4.5 at least (WCAG 2)."""
BEST = {True: "; the largest is best", False: "; the smallest is best", None: ""}


def map_of(found: HeatMap, index: int) -> Html:
    """A map as a figure's view of this number; its first row is the lowest."""
    low, high = float(np.nanmin(found.values)), float(np.nanmax(found.values))
    shares = shares_of(found.values)
    rows = []
    for at, label in enumerate(found.rows):
        cells = []
        for column, value, share in zip(found.columns, found.values[at], shares[at], strict=True):
            row = f", {found.y_label} {label}" if found.y_label else ""
            title = f"{found.x_label} {column}{row}: {brief(float(value))}"
            cells.append(tag("td", brief(float(value)), title=title, style=_colours(share)))
        rows.append(tag("tr", tag("th", label, scope="row"), cells))
    columns = [tag("th", each, scope="col") for each in found.columns]
    across = tag("td", found.x_label, colspan=len(columns))
    whole = tag(
        "table",
        tag("caption", found.y_label or NONE),
        tag("tbody", rows[::-1]),
        tag("tfoot", tag("tr", tag("td"), columns), tag("tr", tag("td"), across)),
        class_="map",
    )
    legend = f"{found.name}: {brief(low)} (dark) to {brief(high)} (light){BEST[found.maximize]}"
    return tag("div", whole, tag("p", legend, class_="quiet"), class_="map-box", data_view=index)


def colour_of(share: float) -> tuple[int, ...]:
    """Red, green and blue, of 255, of a share between the lowest and the highest."""
    at = np.linspace(0, 1, len(VIRIDIS))
    return tuple(round(float(np.interp(share, at, each))) for each in zip(*VIRIDIS, strict=True))


def css(colour: tuple[int, ...]) -> str:
    """The colour as a page says it."""
    return f"rgb({' '.join(map(str, colour))})"


def shares_of(values: FloatArray) -> FloatArray:
    """Where numbers lie between the lowest and the highest of them, [0, 1]; NaN stays NaN."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else values - low + 0.5


def _colours(share: float) -> str | None:
    """Of a cell and its text; none where there is no number."""
    if not math.isfinite(share):
        return None
    parts = np.array(colour := colour_of(share)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    text = "#000" if linear @ (0.2126, 0.7152, 0.0722) > BRIGHT else "#fff"
    return f"background:{css(colour)};color:{text}"
