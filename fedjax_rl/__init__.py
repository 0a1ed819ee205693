"""fedjax_rl: a laboratory for federated, constrained and asynchronous policy optimisation."""

from fedjax_rl.backend import defend_scheduler, enough_threads

defend_scheduler()
enough_threads()

__version__ = "0.1.0"
