"""Notebooks in a kernel of their own, as a reader would run them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbclient

from notebooks.style import FIGURES_VARIABLE, SIZE_VARIABLE

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "notebooks.md"
PUBLISHED = ROOT / "docs" / "figures" / "notebooks"


class Executed(NamedTuple):
    """What came of a notebook.

    Attributes:
        sentence: what its last cell printed; empty if it failed.
        error: the traceback, or None.
    """

    sentence: str
    error: str | None


def found() -> dict[str, Path]:
    """Every notebook by name: each file here that begins with jupytext's header."""
    return {
        path.stem: path
        for path in sorted(HERE.glob("*.py"))
        if path.read_text(encoding="utf-8").startswith("# ---\n")
    }


def execute(path: Path, size: str, directory: Path) -> Executed:
    """Runs a notebook and writes DIRECTORY/NAME.ipynb, also when it fails, and its figures."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {FIGURES_VARIABLE: str(directory.resolve() / "figures"), SIZE_VARIABLE: size}
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    )
    error = None
    try:
        client.execute(env=dict(os.environ) | settings)
    except nbclient.exceptions.CellExecutionError as failure:
        error = re.sub(r"\x1b\[[0-9;]*m", "", str(failure))  # without the colours
    jupytext.write(notebook, directory / f"{path.stem}.ipynb")
    return Executed("" if error else closing(notebook), error)


def closing(notebook: Any) -> str:
    """What the last cell printed, on one line."""
    outputs = notebook.cells[-1].get("outputs", [])
    return " ".join("".join(output.get("text", "") for output in outputs).split())


def publish(name: str, sentence: str, directory: Path) -> None:
    """Copies the main figure into the documentation and writes the sentence beside it."""
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".svg"):
        target = PUBLISHED / f"{name}{suffix}"
        target.write_bytes((directory / "figures" / target.name).read_bytes())
    page, marker = PAGE.read_text(encoding="utf-8"), f"<!-- {name} -->\n"
    written, count = re.subn(f"{marker}> .*\n", lambda _: f"{marker}> {sentence}\n", page)
    assert count == 1, f"{PAGE} has no line for {name}"
    PAGE.write_text(written, encoding="utf-8")


def published(name: str) -> str | None:
    """The sentence that the documentation quotes, if it does."""
    match = re.search(f"<!-- {name} -->\n> (.*)\n", PAGE.read_text(encoding="utf-8"))
    return match and match[1]
