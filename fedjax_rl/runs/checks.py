"""Checks of single settings, each with a one-line error under the flag's name."""

from __future__ import annotations

import math
from typing import Any

import yaml

from fedjax_rl.errors import InvalidInput, flag

LARGEST_COUNT = 2**31 - 1


def check_count(field: str, value: object, least: int) -> None:
    """Raises InvalidInput unless the value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(flag(field), value, f"a whole number of at least {least}")
    if value > LARGEST_COUNT:
        raise InvalidInput(flag(field), value, f"a whole number of at most {LARGEST_COUNT}")


def check_text(field: str, value: object) -> None:
    """Raises InvalidInput unless the value is a word."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(flag(field), repr(value), "a name")


def check_positive(field: str, value: object, allowed: str) -> None:
    """Raises InvalidInput unless the value is a finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise InvalidInput(flag(field), value, allowed)


def check_not_negative(field: str, value: object) -> None:
    """Raises InvalidInput unless the value is a finite number of at least 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type, operator]
        raise InvalidInput(flag(field), value, "a number of at least 0")


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises InvalidInput unless the value is one of the choices."""
    if value not in choices:
        raise InvalidInput(flag(field), repr(value), f"one of {', '.join(choices)}")


def check_entries(field: str, entries: tuple[str, ...]) -> None:
    """Raises InvalidInput unless every entry is NAME=VALUE."""
    for entry in entries:
        if not isinstance(entry, str) or "=" not in entry:
            raise InvalidInput(flag(field), repr(entry), "NAME=VALUE")
        try:
            yaml.safe_load(entry.split("=", 1)[1])
        except yaml.YAMLError:
            raise InvalidInput(flag(field), repr(entry), "a VALUE that reads as YAML") from None


def as_number(value: Any) -> Any:
    """YAML reads 1e-3, without a dot, as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
