"""Options of ``fedjax-rl sweep`` for algorithms whose settings take longer to import."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from fedjax_rl.cli.sweep import SweepOptions
from fedjax_rl.runs.deep.config import DeepConfig
from fedjax_rl.runs.hetero.config import HeteroConfig


@dataclasses.dataclass(frozen=True)
class SweepDeep:
    """Train networks with every combination of settings, as few programs as there can be.

    Real-valued settings share one compiled program; counts and names make groups of their own.
    Every member computes what the same run alone computes, up to rounding. --seed and --seeds
    say which seeds every combination is run with.
    """

    settings: Annotated[DeepConfig, tyro.conf.arg(name="")]
    sweep: Annotated[SweepOptions, tyro.conf.arg(name="")]
    preset: str = "default"
    """default: ours, chosen on cartpole-pos2; paper: of the experiments of arXiv 2405.03236."""
    config: Path | None = None
    """A config.yaml of a run to start from, in place of a preset; flags come on top of it."""


@dataclasses.dataclass(frozen=True)
class SweepHetero:
    """Train on stale data with every combination of settings, as few programs as there can be.

    Real-valued settings, windows and latencies share one compiled program; counts and names
    make groups of their own. Every member computes what the same run alone computes, up to
    rounding. --seed and --seeds say which seeds every combination is run with.
    """

    settings: Annotated[HeteroConfig, tyro.conf.arg(name="")]
    sweep: Annotated[SweepOptions, tyro.conf.arg(name="")]
    config: Path | None = None
    """A config.yaml of a run to start from; flags given here come on top of it."""
