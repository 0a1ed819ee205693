"""Successor states of every state, gathered on the host."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedjax_rl.cmdp.model import FloatArray

IndexArray = NDArray[np.intp]


def gather_successors(transition: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Indices [S, B] and probabilities [S, A, B] of the union of successors over actions.

    Padding repeats other states with probability 0.

    Args:
        transition: [S, A, S]. B is the largest number of states that one state can reach.
    """
    num_states = transition.shape[0]
    reachable = (transition > 0).any(1)
    breadth = int(reachable.sum(1).max())
    if breadth == num_states:
        return np.tile(np.arange(num_states), (num_states, 1)), transition
    successor = np.argsort(~reachable, axis=1, kind="stable")[:, :breadth]
    return successor, np.take_along_axis(transition, successor[:, None, :], axis=2)
