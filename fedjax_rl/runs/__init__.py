"""Runs: from settings to results on disk, and the same from Python."""

from typing import Any

from fedjax_rl.families.tabular.training import FedNPGResult, fednpg
from fedjax_rl.sources.problems import Problem, load_problem, save_problem

__all__ = [
    "DeepResult",
    "FedNPGResult",
    "HeteroResult",
    "Problem",
    "fednatural",
    "fednpg",
    "fedppo",
    "hetero_rl",
    "load_problem",
    "save_problem",
]


def __getattr__(name: str) -> Any:
    """Runs of networks, imported when they are asked for: gymnax alone takes seconds."""
    if name in ("DeepResult", "fednatural", "fedppo"):
        from fedjax_rl.families.networks import training

        return getattr(training, name)
    if name in ("HeteroResult", "hetero_rl"):
        from fedjax_rl.families.stale import training as hetero_training

        return getattr(hetero_training, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
