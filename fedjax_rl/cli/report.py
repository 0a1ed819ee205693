"""``fedjax-rl report DIR…``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from fedjax_rl.cli.parse import parse


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page about runs, comparisons and sweeps.

    It shows configuration, environment, results, constraint satisfaction and interactive
    curves, needs no network and no server, and lays several directories beside one another.
    A run that is not finished is shown as far as it went.
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """That run, compare, sweep or solve wrote."""
    out: Path | None = None
    """The file; report.html in the directory unless given, and needed for several."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> int:
    """Writes the page."""
    options = parse(Report, arguments, "report")

    from fedjax_rl.report import write_report
    from fedjax_rl.terminal.live import working

    with working("reading"):
        written = write_report(options.directories, options.out, overwrite=options.overwrite)
    size = written.stat().st_size
    print(f"Written to {written} ({size / 1e3:.0f} kB)", flush=True)
    return 0
