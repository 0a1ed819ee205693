"""Figures as JSON within a page: descriptions, field by field."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedjax_rl.figures.description import (
    Chart,
    Figure,
    FloatArray,
    HeatMap,
    Parallel,
    View,
    meanings,
)
from fedjax_rl.report.maps import colour_of, css, shares_of
from fedjax_rl.report.markup import Html

DIGITS = 6
"""So many digits of a number reach the page."""


def embedded(figures: Sequence[Figure]) -> Html:
    """The figures as JSON that cannot end the element it stands in."""
    documents = [{"title": one.title, "views": [*map(_view, one.views)]} for one in figures]
    text = json.dumps(documents, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)


def _view(view: View) -> dict[str, Any]:
    """A view with the name of its type; series name their abscissas by number, many share them.

    A heat map is on the page already, as a table.
    """
    if isinstance(view, HeatMap):
        return {"kind": "HeatMap", "name": view.name}
    document = {"kind": type(view).__name__, **_plain(view)}
    if isinstance(view, Parallel):
        shares = 0.25 + 0.6 * shares_of(view.values)  # neither end is lost on a light or dark page
        document["colours"] = [css(colour_of(share)) for share in shares]
    if isinstance(view, Chart):
        known: dict[bytes, int] = {}
        abscissas: list[FloatArray] = []
        for series, own in zip(view.series, document["series"], strict=True):
            for x in series.x:
                if known.setdefault(x.tobytes(), len(abscissas)) == len(abscissas):
                    abscissas.append(x)
            own["x"] = [known[x.tobytes()] for x in series.x]
        document |= {"abscissas": _plain(tuple(abscissas)), "meanings": meanings(view.series)}
    return document


def _plain(value: Any) -> Any:
    """Descriptions as mappings, arrays as lists, and numbers as short as they can be."""
    if hasattr(value, "_asdict"):
        return {name: _plain(entry) for name, entry in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < 10**DIGITS:
        return int(value)
    return float(f"{value:.{DIGITS}g}")
