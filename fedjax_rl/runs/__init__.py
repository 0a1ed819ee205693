"""Runs: from settings to results on disk, and the same from Python."""

from typing import Any

from fedjax_rl.runs.finite import FedNPGResult, fednpg
from fedjax_rl.runs.sources import Problem, load_problem, save_problem

__all__ = [
    "DeepResult",
    "FedNPGResult",
    "Problem",
    "fednatural",
    "fednpg",
    "fedppo",
    "load_problem",
    "save_problem",
]


def __getattr__(name: str) -> Any:
    """Runs of networks, imported when they are asked for: gymnax alone takes seconds."""
    if name in ("DeepResult", "fednatural", "fedppo"):
        from fedjax_rl.runs.deep import training

        return getattr(training, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
