"""The one exception a user's mistake raises."""

from __future__ import annotations


class InvalidInput(ValueError):
    """A value from outside that cannot be used, told in one line.

    The command line prints the message and exits with status 2.

    Args:
        field: what was set, by the name the user knows (``--rounds``, ``transition``).
        value: what it was set to, short enough for one line.
        allowed: what would have been accepted, and how to get there.
    """

    def __init__(self, field: str, value: object, allowed: str):
        super().__init__(f"{field}: got {value}; {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class SolverFailure(RuntimeError):
    """An exact solver could not vouch for its answer; the message says what to try."""


class MissingExtra(InvalidInput):
    """An optional package that is not installed; the message says how to install it."""

    def __init__(self, field: str, package: str, extra: str):
        super().__init__(
            field,
            f"no installed package {package!r}",
            f"install it with: pip install 'fedjax_rl[{extra}]'",
        )


def flag(field: str) -> str:
    """The command line's name of a setting."""
    return "--" + field.replace("_", "-")
