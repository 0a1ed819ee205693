"""Standard output and error that take every character, and may be closed by whoever reads them."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

SPELLED = "fedjax-rl.spelled"
"""Name of the error handler of streams that spells out what their encoding lacks."""
SPELLINGS = {
    **{"−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "·": "*", "±": "+-", "∓": "-+"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "→": "->", "←": "<-", "∈": "in", "∞": "inf"},
    **{"Σ": "sum", "Π": "prod", "√": "sqrt", "∇": "grad ", "‖": "||", "⟨": "<", "⟩": ">"},
    **{"⌊": "floor(", "⌋": ")", "½": "1/2", "₍": "", "₎": "", "λ": "lambda", "Λ": "Lambda"},
    **{
        "✓": "yes",
        "✗": "no",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "′": "'",
        "•": "*",
        "°": " deg",
    },
}


def spelling(character: str) -> str:
    """ASCII for one character: its meaning, its letter or its name; ``?`` for others.

    Examples:
        >>> [spelling(character) for character in "λ≤²ₖḡ─学"]
        ['lambda', '<=', '^2', '_k', 'g', '-', '?']
    """
    if character in SPELLINGS:
        return SPELLINGS[character]
    if unicodedata.combining(character):
        return ""
    kind, *codes = unicodedata.decomposition(character).split() or [""]
    if kind in ("<super>", "<sub>"):
        base = "".join(spelling(chr(int(code, 16))) for code in codes)
        return ("^" if kind == "<super>" else "_") + base
    name_parts = unicodedata.name(character, "").split()
    if name_parts[:1] == ["GREEK"]:
        return name_parts[-1].lower() if "SMALL" in name_parts else name_parts[-1].capitalize()
    if name_parts[:2] == ["BOX", "DRAWINGS"]:
        both = "HORIZONTAL" in name_parts or "LEFT" in name_parts or "RIGHT" in name_parts
        upright = {"VERTICAL", "UP", "DOWN"} & set(name_parts)
        return "+" if both and upright else "|" if upright else "-"
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler for encoding, one character at a time."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, after = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that was no text to begin with
        return bytes([ord(character) - 0xDC00]), after
    return spelling(character), after


codecs.register_error(SPELLED, _spelled)


@contextlib.contextmanager
def spelled() -> Iterator[None]:
    """Inside, what a stream's encoding lacks is spelled in ASCII and raises nothing.

    A stream that was closed before the program began leads nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    streams: list[Any] = [
        stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")
    ]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=SPELLED)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            # Anew is flushed what was written, which fails where the reader is gone.
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


def utf8(stream: Any) -> bool:
    """Whether a stream is encoded in UTF-8, as every file of ours is."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


def abandon() -> None:
    """Lets streams that cannot be written lead nowhere, so that nothing fails at exit either."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
