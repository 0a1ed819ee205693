"""Learners for finite problems."""

from fedjax_rl.algorithm import register_learner
from fedjax_rl.learners.tabular.npg import npg

register_learner("npg", npg)
