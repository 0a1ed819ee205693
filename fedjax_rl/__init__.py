"""fedjax_rl: a laboratory for federated, constrained and asynchronous policy optimisation."""

from fedjax_rl.backend import defend_scheduler, enough_threads, name_temporary_folder

defend_scheduler()
enough_threads()
name_temporary_folder()

__version__ = "0.1.0"
