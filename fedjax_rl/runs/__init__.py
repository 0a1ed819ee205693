"""Runs: from settings to results on disk, and the same from Python."""

from fedjax_rl.runs.finite import FedNPGResult, fednpg
from fedjax_rl.runs.sources import Problem, load_problem, save_problem

__all__ = ["FedNPGResult", "Problem", "fednpg", "load_problem", "save_problem"]
