"""Cells of a rectangle, counted row by row, and the steps between them."""

from __future__ import annotations


def neighbour(cell: int, step: tuple[int, int], shape: tuple[int, int]) -> int:
    """The cell that a step leads to; at the border one stays in the row or column.

    Args:
        cell: row · width + column.
        step: rows down, columns to the right.
        shape: height, width.
    """
    row, column = divmod(cell, shape[1])
    row = min(max(row + step[0], 0), shape[0] - 1)
    column = min(max(column + step[1], 0), shape[1] - 1)
    return row * shape[1] + column
