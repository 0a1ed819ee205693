"""Finite constrained Markov decision problems and their exact truth."""

from fedjax_rl.cmdp.estimate import from_transitions
from fedjax_rl.cmdp.model import CMDP, from_arrays, with_settings

__all__ = ["CMDP", "from_arrays", "from_transitions", "with_settings"]
