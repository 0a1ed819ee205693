"""Checks of single values, shared by all rooms; each has a one-line error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.errors import InvalidInput

LARGEST_COUNT = 2**31 - 1
"""Of settings: counts enter programs as 32-bit integers."""


class Rule(NamedTuple):
    """The allowed range of a number.

    Attributes:
        allowed: in words, for the message.
        holds: of a number that is finite.
        whole: whether it must be a whole number.
        most: largest of a whole number, told apart since nobody expects it; None for any.
    """

    allowed: str
    holds: Callable[[float], bool]
    whole: bool = False
    most: int | None = None

    def named(self, allowed: str) -> Rule:
        """This rule with another text for its error message."""
        return self._replace(allowed=allowed)


def at_least(least: int, most: int | None = LARGEST_COUNT) -> Rule:
    """A whole number from ``least`` on."""
    return Rule(f"a whole number of at least {least}", lambda n: n >= least, True, most)


def in_range(low: float, high: float, ends: str = "[]") -> Rule:
    """A number between two; ``ends`` are brackets, a round one where the end is not included."""

    def holds(number: float) -> bool:
        above = number > low if ends[0] == "(" else number >= low
        return above and (number < high if ends[1] == ")" else number <= high)

    return Rule(f"a number in {ends[0]}{low:g}, {high:g}{ends[1]}", holds)


whole = Rule("a whole number", lambda number: True, True, LARGEST_COUNT)
finite = Rule("a finite number", lambda number: True)
positive = Rule("a positive number", lambda number: number > 0)
not_negative = Rule("a number of at least 0", lambda number: number >= 0)


def plain(value: Any) -> Any:
    """A scalar or array of NumPy or JAX as Python's numbers and lists, anything else as it is."""
    if not (hasattr(value, "dtype") and hasattr(value, "__array__")):
        return value
    try:
        array = np.asarray(value)
    except Exception:  # an array without values: a tracer of JAX, a random key
        return value
    if array.dtype.kind in "fV" and np.can_cast(array.dtype, np.longdouble):
        array = array.astype(np.float64)  # of half and of extended precision
    return array.tolist() if array.dtype.kind in "biufcOSU" else value


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; of what `plain` makes plain, and no truth value is."""
    value = plain(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a finite real number; of what `plain` makes plain, truth values not."""
    value = plain(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # of a whole number beyond all floats
        return False


def checked(field: str, value: object, rule: Rule) -> Any:
    """The value as Python's int or float.

    Args:
        field: its name, for the message.
        value: what was given.
        rule: what it must be.

    Raises:
        InvalidInput: it is not.
    """
    found: Any = plain(value)
    fits = is_whole(found) if rule.whole else is_number(found)
    if not fits or not rule.holds(found):
        raise InvalidInput(field, one_line(found), rule.allowed)
    if rule.most is not None and found > rule.most:
        raise InvalidInput(field, one_line(found), f"a whole number of at most {rule.most}")
    return int(found) if rule.whole else float(found)


def check_count(field: str, value: object, least: int, most: int | None = LARGEST_COUNT) -> None:
    """Raises InvalidInput unless the value is a whole number of at least ``least``.

    Args:
        field: its name, for the message.
        value: what was given.
        least: smallest allowed.
        most: largest; None for any.
    """
    checked(field, value, at_least(least, most))


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises InvalidInput unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidInput(field, one_line(value, quoted=True), f"one of {', '.join(choices)}")


def one_line(value: object, quoted: bool = False) -> str:
    """A value on one short line; words in quotes where they are ``quoted`` or blank."""
    bare = isinstance(value, str) and value.strip() and not quoted
    try:
        text = " ".join((str(value) if bare else repr(value)).split())
    except Exception:  # of a whole number with thousands of digits, or an object's own
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:197]}..."
