"""Values of files as numbers, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.figures.description import FloatArray
from fedjax_rl.statistics import Interval, interquartile_mean, stratified_bootstrap

NOTHING = "–"
EXACT_BELOW = 1e4
PLAIN_BELOW = 1e7


def number(value: Any) -> float:
    """A number or truth value as a float; NaN for anything else."""
    return float(value) if isinstance(value, bool | int | float) else math.nan


def array(values: Any) -> FloatArray:
    """Numbers of a list, [K] or [K, M], with NaN for what is none; empty for anything else."""
    if not isinstance(values, list) or not values:
        return np.zeros(0)
    if all(isinstance(row, list) for row in values):
        width = len(values[0])
        if width == 0 or any(len(row) != width for row in values):
            return np.zeros(0)
        return np.array([[number(value) for value in row] for row in values])
    return np.array([number(value) for value in values])


def mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping of this name, or an empty one."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def brief(value: Any) -> str:
    """A value as a reader wants it: four digits, separated thousands, lists in brackets."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= EXACT_BELOW else str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {brief(entry)}" for name, entry in value.items()) or NOTHING
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(brief, value))}]"
    return str(value)


def _float(value: float) -> str:
    if EXACT_BELOW <= abs(value) < PLAIN_BELOW:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def exactly(value: Any) -> str:
    """A setting as text, with all its digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {exactly(entry)}" for name, entry in value.items()) or "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(exactly, value))}]"
    return str(value)


def percent(part: float, whole: float) -> str:
    """A part of a whole that is not zero, in percent; the part itself otherwise."""
    return f"{100 * part / abs(whole):.3g} %" if whole else f"{part:.3g}"


def seconds(value: float) -> str:
    """A duration as text."""
    if math.isnan(value):
        return NOTHING
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"


def in_bytes(value: float) -> str:
    """A number of bytes in the unit that suits it, of powers of 1000."""
    if math.isnan(value):
        return NOTHING
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def interval(values: FloatArray) -> Interval:
    """Interquartile mean and its 95 % bootstrap interval of what is finite; NaN of nothing."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Interval(math.nan, math.nan, math.nan)
    return stratified_bootstrap(finite, interquartile_mean, seed=0)


def estimate(values: FloatArray) -> str:
    """``0.98 [0.95, 1]``: interquartile mean and 95 % interval over seeds."""
    middle, low, high = interval(values)
    return f"{brief(middle)} [{brief(low)}, {brief(high)}]"


def plural(count: int, word: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count:,} {word}{'s' * (count != 1)}"
