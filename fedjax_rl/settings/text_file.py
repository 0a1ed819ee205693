"""The only place that opens text other programs may have written: marks, line ends, encodings."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import NamedTuple

from fedjax_rl.errors import InvalidInput

WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How a UTF-16 file begins."""


class Line(NamedTuple):
    """A line of a CSV file that is not blank.

    Attributes:
        number: of its last line in the file, from 1 on.
        cells: its texts.
    """

    number: int
    cells: list[str]


def read_text(field: str, path: Path, what: str) -> str:
    """The text of a UTF-8 file, without a byte-order mark, line ends as line feeds.

    Args:
        field: its name, for the message.
        path: of the file.
        what: it should be, such as ``YAML file``.

    Raises:
        InvalidInput: under ``field``; no such file, or it is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError):
        raise InvalidInput(field, path, f"a readable {what}") from None
    if content.startswith(WIDE_MARKS) or b"\0" in content:
        encoding = "UTF-16" if content.startswith(WIDE_MARKS) else "a binary file or UTF-16"
        raise InvalidInput(field, path, f"a readable {what} in UTF-8; it is {encoding}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(
            field,
            f"byte 0x{content[error.start]:02x} in line {line} of {path}",
            f"a readable {what} in UTF-8",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_csv(field: str, path: Path) -> list[Line]:
    """The lines of a CSV file but for blank ones.

    Raises:
        InvalidInput: under ``field``; no such file, not UTF-8, or quotes that are not closed.
    """
    reader = csv.reader(io.StringIO(read_text(field, path, "CSV file"), newline=""), strict=True)
    lines: list[Line] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append(Line(reader.line_num, cells))
    except csv.Error as error:
        where = f"line {reader.line_num} of {path}"
        raise InvalidInput(field, where, f"a readable CSV file ({error})") from None
    return lines
