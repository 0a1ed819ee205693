"""Parsing with tyro, with its framed errors folded to one line."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any, TypeVar

import tyro

from fedjax_rl.errors import InvalidInput

Options = TypeVar("Options")

WRITING_FLAGS = (
    *("--checkpoint-every", "--checkpoint-seconds", "--keep-checkpoints"),
    *("--log-to", "--overwrite"),
)
"""Options that mean nothing without ``--out``."""


def parse(
    options: type[Options], arguments: list[str], command: str, **tyro_options: Any
) -> Options:
    """Fills a dataclass from the arguments of ``fedjax-rl COMMAND``.

    Raises:
        InvalidInput: an unknown flag or a value of the wrong type, in one line.
        SystemExit: 0, after ``--help``.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                options,
                args=arguments,
                prog=f"fedjax-rl {command}",
                config=(tyro.conf.FlagCreatePairsOff,),
                **tyro_options,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        field, value, allowed = _folded(complaint.getvalue())
        raise InvalidInput(field, value, f"{allowed}; see: fedjax-rl {command} --help") from None


def flag_value(flag: str, arguments: list[str]) -> str | None:
    """The word after ``--flag`` or ``--flag=``, before anything is parsed; None without one."""
    for position, word in enumerate(arguments):
        name, _, value = word.partition("=")
        if name == flag:
            return value or "".join(arguments[position + 1 : position + 2])
    return None


def check_has_out(out: Path | None, arguments: list[str]) -> None:
    """Raises InvalidInput when an option says how to write and none says where."""
    for flag in () if out is not None else WRITING_FLAGS:
        if any(word == flag or word.startswith(f"{flag}=") for word in arguments):
            raise InvalidInput(flag, "no --out", "--out DIR says where to write")


def _folded(complaint: str) -> tuple[str, str, str]:
    """Field, value and what is allowed, out of tyro's framed message."""
    lines = [line.strip("│╭╮╰╯ ") for line in complaint.splitlines()]
    sections: list[list[str]] = [[]]
    for line in lines[1:]:
        if line and not line.strip("─-"):
            sections.append([])
        elif line:
            sections[-1].append(line)
    sections = [section for section in sections if section]
    what = " ".join(sections[0])
    hint = next((section[1] for section in sections[1:] if len(section) > 1), "a known option")
    if bad_value := re.match(r"Error parsing (\S+): .*?(?:from \[|: )(\S+?)\]?\.?( Got|$)", what):
        return bad_value[1], bad_value[2], f"expected {_readable(hint)}"
    if bad_choice := re.match(r"invalid choice (\S+) for argument '(\S+)'\. (.*?)\.?$", what):
        return bad_choice[2], bad_choice[1], bad_choice[3]
    if unknown := re.match(r"Unrecognized options?: (.*)", what):
        return "options", unknown[1].replace(",", ""), f"expected {hint}"
    return "options", "too few", what


def _readable(hint: str) -> str:
    """``--budgets {None}|{[FLOAT [FLOAT ...]]}`` for people: a list needs spaces, not commas."""
    hint = re.sub(r"\{?\[(\w+) \[\1 \.\.\.\]\]\}?", r"\1 \1 ... with spaces between", hint)
    return hint.replace("{None}|", "None, or ")
