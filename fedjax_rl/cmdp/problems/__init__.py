"""Finite problems that are generated; those read from files are registered in runs.sources."""

from fedjax_rl.algorithm import register_problem
from fedjax_rl.cmdp.problems.garnet import garnet
from fedjax_rl.cmdp.problems.random_mdp import random_mdp
from fedjax_rl.cmdp.problems.windy_cliff import windy_cliff

register_problem("garnet", garnet)
register_problem("random-mdp", random_mdp)
register_problem("windy-cliff", windy_cliff)

__all__ = ["garnet", "random_mdp", "windy_cliff"]
