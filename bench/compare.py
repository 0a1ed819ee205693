"""Two files of figures of one bench, side by side."""

from __future__ import annotations

import json
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

LEFT_OUT = ("bench", "quick", "machine")
SMALLEST_SPREAD = 0.05
"""Of a figure, within which two measurements of it are alike whatever was measured."""


class Change(NamedTuple):
    """One figure in both files.

    Attributes:
        name: where it stands, keys joined by slashes.
        old: its value in the first file.
        new: its value in the second.
        spread: how far measurements in one file are apart, as a share; NaN if it does not say.
    """

    name: str
    old: float
    new: float
    spread: float

    @property
    def ratio(self) -> float:
        """New over old."""
        return self.new / self.old if self.old else math.nan

    @property
    def stands_out(self) -> bool:
        """Whether it changed by more than its measurements are apart."""
        known = 0.0 if math.isnan(self.spread) else self.spread
        return abs(self.ratio - 1.0) > max(known, SMALLEST_SPREAD)


def compare(old: pathlib.Path, new: pathlib.Path) -> int:
    """Prints every figure that both files have; exit status 2 when they cannot be compared."""
    try:
        before, after = read(old), read(new)
    except ValueError as error:
        print(f"bench compare: {error}", file=sys.stderr)
        return 2
    if before["bench"] != after["bench"] or before["quick"] != after["quick"]:
        titles = [f"{d['bench']}{' --quick' * d['quick']}" for d in (before, after)]
        print(
            f"bench compare: {titles[0]} and {titles[1]} measure different things", file=sys.stderr
        )
        return 2
    for name, (was, now) in machines(before["machine"], after["machine"]).items():
        print(f"another machine: {name} was {was}, is {now}")
    found = list(changes(before, after))
    width = max((len(change.name) for change in found), default=0)
    for change in found:
        mark = " *" if change.stands_out else ""
        print(
            f"{change.name:<{width}}  {change.old:>12.6g} -> {change.new:>12.6g}  "
            f"× {change.ratio:.3f}{mark}"
        )
    marked = sum(change.stands_out for change in found)
    print(f"{len(found)} figures in both; * {marked} changed by more than their spread")
    return 0


def read(path: pathlib.Path) -> dict[str, Any]:
    """A file that a bench wrote.

    Raises:
        ValueError: it is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path} is no file of figures") from None
    if not isinstance(document, dict) or not {*LEFT_OUT} <= set(document):
        raise ValueError(f"{path} was not written by python -m bench NAME --out")
    return document


def machines(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two machines, by name."""
    return {
        name: (old.get(name), new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    }


def changes(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """Every number that stands at the same place in both; medians with their spread."""
    if isinstance(old, dict) and isinstance(new, dict):
        if {"median", "least", "most"} <= set(old) & set(new):
            apart = max(spread(old), spread(new))
            yield Change("/".join(path), old["median"], new["median"], apart)
            return
        for key in old:
            if key in new and (path or key not in LEFT_OUT):
                yield from changes(old[key], new[key], (*path, key))
    elif number(old) and number(new):
        yield Change("/".join(path), float(old), float(new), math.nan)


def spread(rates: dict[str, float]) -> float:
    """Largest minus smallest of repeated measurements, as a share of their median."""
    return (rates["most"] - rates["least"]) / rates["median"]


def number(value: Any) -> bool:
    """Whether a value is a figure."""
    return isinstance(value, int | float) and not isinstance(value, bool)
