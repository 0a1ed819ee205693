"""From directories to a page, and from a page to a file."""

from __future__ import annotations

import datetime
import importlib
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import fedjax_rl
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.figures.curves import overlaid
from fedjax_rl.records.directory import write_atomically
from fedjax_rl.report.document import Page, Section
from fedjax_rl.report.reading import FIELD, Source, open_source
from fedjax_rl.report.rendering import html_of
from fedjax_rl.report.solution import solution_section
from fedjax_rl.report.sweeps import sweep_section
from fedjax_rl.report.thinning import thinned
from fedjax_rl.report.together import different_environments, different_settings, glances

NAME = "report.html"
READERS: dict[str, Callable[[Source, str], Section]] = {
    "run": lambda source, name: _referred(family_of(source.algorithm).section)(source, name),
    "sweep": sweep_section,
    "solution": solution_section,
}


def write_report(
    directories: Sequence[Path], out: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Writes one self-contained HTML page about directories that the command line wrote.

    Args:
        directories: of runs, comparisons, sweeps and solutions; at least one.
        out: the file; of a single directory its ``report.html`` unless given.
        overwrite: whether an existing file may be replaced.

    Returns:
        The file.

    Raises:
        InvalidInput: no such directory, one of something else, files that cannot be read, or
            an ``out`` that exists or cannot be written. Nothing was written.
    """
    target = _target(directories, out, overwrite)
    page = page_of(directories)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, html_of(page).encode("utf-8"))
    except OSError as error:
        raise InvalidInput("--out", target, f"a writable place ({error.strerror})") from None
    return target


def page_of(directories: Sequence[Path]) -> Page:
    """The page on these directories.

    Raises:
        InvalidInput: one of them cannot be read.
    """
    names = names_of(directories)
    sections = tuple(
        read_section(path, name) for path, name in zip(directories, names, strict=True)
    )
    several = sections if len(sections) > 1 else ()
    tables = [glances(several), different_settings(several), different_environments(several)]
    problems = {str(section.glance.get("problem")) for section in several}
    note = "Not all of these are of the same problem." if len(problems) > 1 else ""
    title = names[0] if len(names) == 1 else f"{len(names)} directories"
    present = tuple(table for table in tables if table is not None)
    overlays = overlaid({one.name: one.curves for one in several}, note=note)
    return thinned(Page(title, sections, present, overlays, _written()))


def _referred(reference: str) -> Callable[[Source, str], Section]:
    """The function of a ``module:function``."""
    module, _, name = reference.partition(":")
    found: Callable[[Source, str], Section] = getattr(importlib.import_module(module), name)
    return found


def read_section(path: Path, name: str) -> Section:
    """The section of a directory.

    Raises:
        InvalidInput: it cannot be read.
    """
    source = open_source(path)
    try:
        return READERS[source.kind](source, name)
    except InvalidInput:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise InvalidInput(FIELD, path, f"files as fedjax-rl writes them ({reason})") from error


def names_of(directories: Sequence[Path]) -> list[str]:
    """Their last names, or as much of their paths as tells them apart."""
    resolved = [path.resolve() for path in directories]
    last = [path.name or str(path) for path in resolved]
    if len(set(last)) == len(last):
        return last
    return [str(path) for path in directories]


def _target(directories: Sequence[Path], out: Path | None, overwrite: bool) -> Path:
    if not directories:
        raise InvalidInput("directory", "none", "at least one directory of a run")
    resolved = [path.resolve() for path in directories]
    for path in directories:
        if resolved.count(path.resolve()) > 1:
            raise InvalidInput("directory", f"{path} twice", "every directory once")
    if out is None and len(directories) > 1:
        raise InvalidInput("--out", "none", "a file for the page of several directories")
    target = out if out is not None else directories[0] / NAME
    if target.is_dir():
        raise InvalidInput("--out", target, "a file is needed, this is a directory")
    if target.exists() and not overwrite:
        raise InvalidInput("--out", target, "the file exists: choose another, or --overwrite")
    return target


def _written() -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"Written {now} by fedjax-rl {fedjax_rl.__version__} with Python "
        f"{platform.python_version()}, JAX {version('jax')} and NumPy {version('numpy')}."
    )
