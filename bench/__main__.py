"""``python -m bench NAME [--quick] [--out results.json]``."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import sys

import fedjax_rl  # noqa: F401  before jax starts
from bench.harness import machine

NAMES = ("fednpg", "rates", "last_iterate", "drift", "sampled", "leakage")


def main() -> int:
    """Runs one bench, prints its tables and writes its figures."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES, help="which question to answer")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for the figures")
    options = parser.parse_args()
    described = machine()
    print(f"{described['processor']}, {described['cores']} cores; {described['versions']}")
    figures = importlib.import_module(f"bench.{options.name}").measure(quick=options.quick)
    document = {"bench": options.name, "quick": options.quick, "machine": described} | figures
    if options.out is not None:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
        print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
