"""fedjax_rl: a laboratory for federated, constrained and asynchronous policy optimisation."""

from fedjax_rl.backend import defend_scheduler

defend_scheduler()

__version__ = "0.1.0"
