"""Figures as JSON within a page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from fedjax_rl.figures.description import (
    Chart,
    Figure,
    FloatArray,
    HeatMap,
    Parallel,
    Scale,
    Series,
    View,
    meanings,
)
from fedjax_rl.report.markup import Html

SCALES: tuple[Scale, ...] = ("linear", "log", "log-log")
"""In the order that the page's choice of scales has."""
DIGITS = 6
"""So many digits of a number reach the page."""


def embedded(figures: Sequence[Figure]) -> Html:
    """The figures as JSON that cannot end the element it stands in."""
    text = json.dumps([_figure(one) for one in figures], separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)


def _figure(figure: Figure) -> dict[str, Any]:
    return {"title": figure.title, "views": [_view(view) for view in figure.views]}


def _view(view: View) -> dict[str, Any]:
    if isinstance(view, Chart):
        return _chart(view)
    return _map(view) if isinstance(view, HeatMap) else _parallel(view)


def _chart(chart: Chart) -> dict[str, Any]:
    """A chart, whose series name their abscissas by number: many share them."""
    known: dict[bytes, int] = {}
    abscissas: list[list[float | None]] = []

    def place(x: FloatArray) -> int:
        key = x.tobytes()
        if key not in known:
            known[key] = len(abscissas)
            abscissas.append(_rounded(x))
        return known[key]

    return {
        "kind": "chart",
        "name": chart.name,
        "axes": list(chart.x_labels),
        "label": chart.y_label,
        "scale": SCALES.index(chart.scale),
        "limits": chart.limits,
        "meanings": meanings(chart.series),
        "series": [_series(one, [place(x) for x in one.x]) for one in chart.series],
        "abscissas": abscissas,
    }


def _series(series: Series, places: list[int]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": series.name,
        "x": places,
        "y": _rounded(series.y),
        "colour": series.colour,
        "dash": series.dash,
        "shown": series.shown,
    }
    if series.faint:
        document["faint"] = True
    if (band := series.band) is not None:
        document["band"] = {
            "low": _rounded(band.low),
            "high": _rounded(band.high),
            "name": band.name,
            "filled": band.filled,
        }
    if series.reference is not None and _one(series.reference) is not None:
        document["reference"] = {"at": _one(series.reference), "name": series.reference_name}
    return document


def _map(found: HeatMap) -> dict[str, Any]:
    return {
        "kind": "map",
        "name": found.name,
        "across": found.x_label,
        "up": found.y_label,
        "columns": list(found.columns),
        "rows": list(found.rows),
        "values": [_rounded(row) for row in found.values],
        "maximize": found.maximize,
    }


def _parallel(found: Parallel) -> dict[str, Any]:
    return {
        "kind": "parallel",
        "name": found.name,
        "axes": list(found.axes),
        "ticks": found.ticks,
        "heights": [_rounded(line) for line in found.heights],
        "values": _rounded(found.values),
    }


def _rounded(values: FloatArray) -> list[float | None]:
    return [_one(value) for value in values.tolist()]


def _one(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < 10**DIGITS:
        return int(value)
    return float(f"{value:.{DIGITS}g}")
