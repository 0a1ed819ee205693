"""Checks of single settings of a simulation, each a one-line error."""

from __future__ import annotations

import math

import numpy as np

from fedjax_rl.errors import InvalidInput


def check_count(field: str, value: object, least: int) -> None:
    """Raises InvalidInput unless the value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidInput(field, repr(value), f"a whole number of at least {least}")


def check_not_negative(field: str, value: object) -> None:
    """Raises InvalidInput unless the value is a finite number of at least 0."""
    if not _is_number(value) or value < 0.0:  # type: ignore[operator]
        raise InvalidInput(field, repr(value), "a finite number of at least 0")


def check_positive(field: str, value: object) -> None:
    """Raises InvalidInput unless the value is a finite number above 0."""
    if not _is_number(value) or value <= 0.0:  # type: ignore[operator]
        raise InvalidInput(field, repr(value), "a finite number above 0")


def check_probability_below_one(field: str, value: object) -> None:
    """Raises InvalidInput unless the value is in [0, 1)."""
    if not _is_number(value) or not 0.0 <= value < 1.0:  # type: ignore[operator]
        raise InvalidInput(field, repr(value), "a probability in [0, 1)")


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]
