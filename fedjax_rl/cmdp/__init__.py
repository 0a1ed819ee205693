"""Finite constrained Markov decision problems and their exact truth."""

from fedjax_rl.cmdp.estimate import from_transitions
from fedjax_rl.cmdp.model import CMDP, from_arrays, with_settings
from fedjax_rl.cmdp.tables import from_transition_table

__all__ = ["CMDP", "from_arrays", "from_transition_table", "from_transitions", "with_settings"]
