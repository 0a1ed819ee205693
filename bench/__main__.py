"""``python -m bench NAME [--quick] [--out results.json]``; ``all``; ``compare OLD NEW``.

``accelerator`` has options of its own: ``python -m bench accelerator --help``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import subprocess
import sys

from bench.accelerator import main as accelerator
from bench.compare import compare
from bench.harness import machine

NAMES = (
    *("fednpg", "rates", "last_iterate", "drift", "sampled", "leakage", "attainable"),
    *("fedppo", "defaults", "learning"),
    *("hetero", "stale", "gradients", "survival", "traffic", "sweep", "workers", "roofline"),
    "hangs",
    "scheduler",
    "mutations",
    "accelerator",
)


def main() -> int:
    """Runs one bench, prints its tables and writes its figures."""
    if sys.argv[1:2] == ["compare"]:
        return comparison(sys.argv[2:])
    if sys.argv[1:2] == ["accelerator"]:  # which says by itself what it lacks
        return accelerator(sys.argv[2:])
    import fedjax_rl  # noqa: F401  before jax starts

    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"), help="which question to answer")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument(
        "--out", type=pathlib.Path, help="JSON file for the figures (all: a directory)"
    )
    options = parser.parse_args()
    if options.name == "all":
        return everything(options.quick, options.out)
    if options.name == "accelerator":  # behind an option
        return accelerator(arguments_of(options))
    described = machine()
    print(f"{described['processor']}, {described['cores']} cores; {described['versions']}")
    figures = importlib.import_module(f"bench.{options.name}").measure(quick=options.quick)
    document = {"bench": options.name, "quick": options.quick, "machine": described} | figures
    if options.out is not None:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
        print(f"written to {options.out}")
    return 0


def arguments_of(options: argparse.Namespace) -> list[str]:
    """The options that every bench takes, as they were given."""
    out = [] if options.out is None else ["--out", str(options.out)]
    return [*["--quick"] * options.quick, *out]


def comparison(arguments: list[str]) -> int:
    """What has changed between two files of figures."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=compare.__doc__)
    parser.add_argument("old", type=pathlib.Path, help="JSON file that a bench wrote")
    parser.add_argument("new", type=pathlib.Path, help="another one of the same bench")
    options = parser.parse_args(arguments)
    return compare(options.old, options.new)


def everything(quick: bool, directory: pathlib.Path | None) -> int:
    """Runs every bench in a process of its own; the exit status of the first that failed, or 0."""
    # A card is measured by a command of its own: without one there is nothing but the quick rows.
    for name in NAMES if quick else [name for name in NAMES if name != "accelerator"]:
        command = [sys.executable, "-m", "bench", name, *["--quick"] * quick]
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            command += ["--out", str(directory / f"{name}.json")]
        if status := subprocess.run(command).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
