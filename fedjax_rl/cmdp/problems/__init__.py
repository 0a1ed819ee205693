"""Finite problems that are generated.

``icu-sepsis``, from installed data, is registered in `sources.problems`.
"""

from fedjax_rl.algorithm import register_problem
from fedjax_rl.cmdp.problems.admission_queue import admission_queue
from fedjax_rl.cmdp.problems.cliff_walking import cliff_walking
from fedjax_rl.cmdp.problems.forest import forest
from fedjax_rl.cmdp.problems.frozen_lake import frozen_lake
from fedjax_rl.cmdp.problems.garnet import garnet
from fedjax_rl.cmdp.problems.inventory import inventory
from fedjax_rl.cmdp.problems.random_mdp import random_mdp
from fedjax_rl.cmdp.problems.taxi import taxi
from fedjax_rl.cmdp.problems.windy_cliff import windy_cliff

register_problem("admission-queue", admission_queue)
register_problem("cliff-walking", cliff_walking)
register_problem("forest", forest)
register_problem("frozen-lake", frozen_lake)
register_problem("garnet", garnet)
register_problem("inventory", inventory)
register_problem("random-mdp", random_mdp)
register_problem("taxi", taxi)
register_problem("windy-cliff", windy_cliff)

__all__ = [
    *("admission_queue", "cliff_walking", "forest", "frozen_lake", "garnet", "inventory"),
    *("random_mdp", "taxi", "windy_cliff"),
]
