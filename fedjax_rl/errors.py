"""The one exception a user's mistake raises."""

from __future__ import annotations

import contextlib
import difflib
import shlex
from collections.abc import Iterable, Iterator


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


class Stopped(Exception):
    """A run that was told to stop by a signal, and saved itself first.

    Args:
        number: of the signal.
        what: what was kept, in a few words.
        directory: of the run.
    """

    def __init__(self, number: int, what: str, directory: object):
        name = {2: "interrupted", 15: "terminated"}.get(number, f"stopped by signal {number}")
        again = f"fedjax-rl resume {shlex.quote(str(directory))}"
        super().__init__(f"{name}, {what}; go on with: {again}")
        self.number, self.what, self.status = number, what, 128 + number

    def of(self, directory: object) -> Stopped:
        """This error, naming the comparison that the run belongs to."""
        return Stopped(self.number, self.what, directory)


class MissingExtra(InvalidInput):
    """An optional package that is not installed; the message says how to install it."""

    def __init__(self, field: str, package: str, extra: str):
        super().__init__(
            field,
            f"no installed package {package!r}",
            f"install it with: pip install 'fedjax_rl[{extra}]'",
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'npg'? one of crpo, npg``: what is allowed where the word is not known."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}one of {', '.join(names)}"


def flag(field: str) -> str:
    """The command line's name of a setting."""
    return "--" + field.replace("_", "-")


@contextlib.contextmanager
def by_flag(*fields: str) -> Iterator[None]:
    """Renames the field of an `InvalidInput` raised inside to the flag of that setting.

    Args:
        fields: that are one.

    Raises:
        InvalidInput: the one raised inside.
    """
    try:
        yield
    except InvalidInput as error:
        if error.field not in fields:
            raise
        raise InvalidInput(flag(error.field), error.value, error.allowed) from None
