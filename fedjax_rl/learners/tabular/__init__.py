"""Learners for finite problems."""

from fedjax_rl.algorithm import register_learner
from fedjax_rl.learners.tabular.crpo import crpo
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.learners.tabular.optimistic import optimistic
from fedjax_rl.learners.tabular.regularized import regularized

register_learner("crpo", crpo)
register_learner("npg", npg)
register_learner("optimistic", optimistic)
register_learner("regularized", regularized)
