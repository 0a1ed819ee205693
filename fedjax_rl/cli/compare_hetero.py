"""``fedjax-rl compare --losses …``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from fedjax_rl.cli import choose
from fedjax_rl.cli.parse import parse
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.stale.config import HeteroConfig


@dataclasses.dataclass(frozen=True)
class SharedSettings(HeteroConfig):
    """Settings that all losses and windows share."""

    window: tyro.conf.Suppress[tyro.conf.Fixed[int]] = 32


@dataclasses.dataclass(frozen=True)
class CompareHetero:
    """Run losses at several windows on one task and print the best/last table.

    All losses start at the same policy, and at one window they get batches at the same virtual
    times; seeds and windows of a loss are one program. Accuracy is on held-out prompts.
    """

    settings: Annotated[SharedSettings, tyro.conf.arg(name="")]
    losses: str = "gepo,gspo,grpo"
    """List of losses (see: fedjax-rl list losses), or module:factory."""
    windows: str = "0,4,32"
    """List of W; 0 is synchronous."""
    out: Path | None = None
    """Directory for config.yaml, comparison.csv and .md, evaluations.csv, summary.json, plots."""
    overwrite: bool = False
    """Replace the comparison that is in --out."""


def main(arguments: list[str]) -> int:
    """Compares losses; exit status 1 when a seed of one of them diverged.

    Raises:
        InvalidInput: ``--overwrite`` with nothing to overwrite, or a list that makes no sense.
    """
    options = parse(CompareHetero, arguments, "compare", default=CompareHetero(SharedSettings()))
    if options.overwrite and options.out is None:
        raise InvalidInput("--overwrite", "no --out", "--out DIR says what to overwrite")
    names, windows = losses_of(options.losses), windows_of(options.windows)

    from fedjax_rl.families.stale.comparison import compare_and_record

    diverged = compare_and_record(names, windows, options.settings, options.out, options.overwrite)
    sys.stdout.flush()
    return 1 if diverged else 0


def losses_of(text: str) -> list[str]:
    """The losses of a list, each known and named once.

    Raises:
        InvalidInput: a loss that is unknown or named twice.
    """
    from fedjax_rl.hetero.losses import losses

    names = [entry.strip() for entry in text.split(",")]
    for name in names:
        if ":" not in name:
            choose("--losses", name, list(losses))
    if len(set(names)) != len(names):
        raise InvalidInput("--losses", repr(text), "every loss once")
    return names


def windows_of(text: str) -> list[int]:
    """The windows of a list, each at least 0 and named once.

    Raises:
        InvalidInput: an entry that is no such number, or named twice.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entry.isascii() and entry.isdigit() for entry in entries):
        raise InvalidInput("--windows", repr(text), "whole numbers of at least 0, such as 0,4,32")
    windows = [int(entry) for entry in entries]
    if len(set(windows)) != len(windows):
        raise InvalidInput("--windows", repr(text), "every window once")
    return windows
