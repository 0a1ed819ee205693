"""A picture of a state, as shapes and without any drawing library."""

from __future__ import annotations

from typing import NamedTuple

Point = tuple[float, float]


class Picture(NamedTuple):
    """Shapes in the plane, drawn in this order.

    Attributes:
        limits: (left, right, bottom, top) of what is seen.
        zones: (left, right, bottom, top, index of the constraint) where a cost is paid.
        lines: each a sequence of points.
        circles: (centre, radius).
    """

    limits: tuple[float, float, float, float]
    zones: tuple[tuple[float, float, float, float, int], ...] = ()
    lines: tuple[tuple[Point, ...], ...] = ()
    circles: tuple[tuple[Point, float], ...] = ()
