"""``python -m bench accelerator [--minutes 6] [--quick] [--out FILE]``: a card in one go.

Made for a machine that is borrowed for minutes: it says first what it lacks, prints as it goes,
writes its figures after every row, and stops by itself at its limit with what it has.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.util
import math
import os
import pathlib
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.accelerator_rows import (
    FAILED,
    LEFT_OUT,
    MEASURED,
    Document,
    Limit,
    Row,
    entry_of,
    one_line,
    run,
)

OLDEST = (3, 11)
"""Python."""
OLDEST_JAX = (0, 10, 1)
NEEDED = ("jax", "jaxlib", "numpy", "scipy", "flax", "optax", "chex", "gymnax", "gymnasium")
"""Packages that are looked for by name, so that all that are missing are said at once."""
SECTIONS = {
    "a": "bench.accelerator_truth",
    "c": "bench.accelerator_members",
    "b": "bench.accelerator_networks",
    "d": "bench.accelerator_tokens",
    "e": "bench.accelerator_peaks",
    "f": "bench.accelerator_lean",
}
"""Modules of the rows, in their order: what nobody else has first, since minutes may run out."""


def main(arguments: Sequence[str]) -> int:
    """Checks what is needed, measures, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench accelerator", description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0, help="after which it stops")
    parser.add_argument("--quick", action="store_true", help="small sizes, on any processor")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file (default: accelerator.json)")
    options = parser.parse_args(arguments)
    if not (math.isfinite(options.minutes) and options.minutes > 0):
        return _refused(f"--minutes: got {options.minutes:g}; a positive number")
    limit = Limit(60 * options.minutes)
    out = options.out or (None if options.quick else pathlib.Path("accelerator.json"))
    if out is not None and not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        return _refused(f"--out: got {out}; a file in a folder that can be written to")
    lacks = missing()
    for line in lacks:
        print(line, flush=True)
    if any(name in lacks for name in (*_lines("jax", "jaxlib", "numpy"), *_too_old())):
        return _refused("nothing can be measured")
    if (refusal := no_accelerator(options.quick)) is not None:
        return _refused(refusal)
    sections, absent = found(SECTIONS)
    for line in absent:
        print(line, flush=True)
    return measured(sections, options.quick, limit, out, [*lacks, *absent])


def missing() -> list[str]:
    """What this machine lacks, a line each."""
    return [*_too_old(), *_lines(*(name for name in NEEDED if not _is_here(name)))]


def found(modules: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The modules of the sections that can be imported, and a line for each of the others."""
    sections, lines = {}, []
    for section, name in modules.items():
        try:
            sections[section] = importlib.import_module(name)
        except Exception as error:  # whatever a package that does not fit raises
            lines.append(f"rows {section} are left out: {one_line(error)}")
    return sections, lines


def no_accelerator(quick: bool) -> str | None:
    """A line that says why there is nothing to measure on; None where there is."""
    import jax

    import fedjax_rl  # noqa: F401  before jax starts

    try:
        platform = jax.default_backend()
    except RuntimeError as error:
        return f"JAX finds no device: {one_line(error)}"
    if platform == "cpu" and not quick:
        return "no accelerator: JAX finds a processor alone, which --quick takes"
    return None


def measured(
    sections: dict[str, Any],
    quick: bool,
    limit: Limit,
    out: pathlib.Path | None,
    lacks: list[str],
) -> int:
    """All rows that fit the time, one after another; the exit status."""
    from bench.accelerator_card import Watch, described
    from bench.harness import machine

    card = described()
    head = {"bench": "accelerator", "quick": quick, "machine": machine(), "card": card}
    document = Document(out, head | {"minutes": limit.seconds / 60, "lacks": lacks})
    document.stop(None)
    print(f"{card['kind']}, {card['driver']}; {limit.seconds / 60:g} minutes", flush=True)
    watch = Watch()

    def give_up() -> None:
        # A compilation cannot be interrupted, so the process ends; the file is whole.
        document.stop(f"at the limit of {limit.seconds / 60:g} minutes, within a row")
        print(f"stopped at the limit; {told(out)}", flush=True)
        watch.stop()
        os._exit(0 if document.measured else 2)

    last_resort = threading.Timer(max(0.0, limit.left), give_up)
    last_resort.daemon = True
    last_resort.start()
    stopped = None
    try:
        every = listed(sections, quick, document)
        for section, rows in every.items():
            for row in rows:
                reserved = reserve(section, every, limit)
                entry = run(section, row, limit, document.rows, reserved)
                document.add(row.name, entry | {"card": watch.taken()})
                print(f"{section}: {row.name}: {said(entry)}", flush=True)
                gc.collect()  # of what a row has held, before the next one needs the memory
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        last_resort.cancel()
        watch.stop()
    left_out = sum(row["status"] == LEFT_OUT for row in document.rows.values())
    document.stop(stopped or (f"{left_out} rows were left out" if left_out else None))
    print(f"{limit.seconds - limit.left:.0f} s in all; {told(out)}", flush=True)
    return 0 if document.measured else 2


def listed(sections: dict[str, Any], quick: bool, document: Document) -> dict[str, list[Row]]:
    """The rows of every section; one that cannot say its rows is a failure of its own."""
    found: dict[str, list[Row]] = {}
    for section, module in sections.items():
        try:
            found[section] = list(module.rows(quick))
        except Exception as error:
            document.add(f"rows {section}", entry_of(section, FAILED, reason=one_line(error)))
            print(f"{section}: {one_line(error)}", flush=True)
    return found


def reserve(section: str, every: dict[str, list[Row]], limit: Limit) -> float:
    """Seconds for the first row of every later section, which many sizes of this one must leave."""
    later = list(every)[list(every).index(section) + 1 :]
    return sum(limit.estimate(other, every[other][0]) for other in later if every[other])


def said(entry: dict[str, Any]) -> str:
    """What came out of a row, in one line."""
    if entry["status"] != MEASURED:
        return f"{entry['status']}: {entry['reason']}"
    figures = entry["figures"]
    return f"{figures.get('say', 'done')} ({entry['seconds']:.1f} s)"


def told(out: pathlib.Path | None) -> str:
    """Where the figures are."""
    return "nothing was written" if out is None else f"written to {out}"


def _is_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _lines(*names: str) -> list[str]:
    return [f"{name} is missing: put its wheel on PYTHONPATH" for name in names]


def _too_old() -> list[str]:
    here = ".".join(map(str, sys.version_info[:2]))
    lines = [f"Python {here} is too old: 3.11 or newer"] if sys.version_info[:2] < OLDEST else []
    with contextlib.suppress(PackageNotFoundError, ValueError):
        jax = version("jax")
        if tuple(map(int, jax.split(".")[:3])) < OLDEST_JAX:
            lines.append(f"jax {jax} is too old: 0.10.1 or newer")
    return lines


def _refused(line: str) -> int:
    print(line, file=sys.stderr, flush=True)
    return 2
