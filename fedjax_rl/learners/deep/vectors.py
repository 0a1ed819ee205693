"""The parameters of each network as one vector, so that a step on them is a few large operations.

A network of two hidden layers has six arrays, and an optimiser's step several operations on each,
most of them smaller than what it takes to launch them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.state import Parameters


class Vectors(NamedTuple):
    """Parameters of networks, and their optimiser's moments, network by network.

    Attributes:
        parameters: a vector for each network, None where there is no network.
        optimizer: Adam's state of these vectors.
        networks: (vectors) -> the networks' parameters.
        moments: (state of vectors) -> Adam's state of the networks' parameters.
    """

    parameters: Parameters
    optimizer: optax.ScaleByAdamState
    networks: Callable[[Parameters], Parameters]
    moments: Callable[[optax.ScaleByAdamState], optax.ScaleByAdamState]


def vectors_of(parameters: Parameters, optimizer: optax.ScaleByAdamState) -> Vectors:
    """The vectors of parameters and of Adam's moments.

    Args:
        parameters: of all networks; None where there is none.
        optimizer: Adam's state of them, or of some of them: None where it has none.
    """
    shapes = Parameters(*(None if own is None else ravel_pytree(own)[1] for own in parameters))

    def networks(vectors: Parameters) -> Parameters:
        pairs = zip(shapes, vectors, strict=True)
        return Parameters(*(None if own is None else shape(own) for shape, own in pairs))

    def moments(state: optax.ScaleByAdamState) -> optax.ScaleByAdamState:
        return state._replace(mu=networks(state.mu), nu=networks(state.nu))

    flat = optimizer._replace(mu=_raveled(optimizer.mu), nu=_raveled(optimizer.nu))
    return Vectors(_raveled(parameters), flat, networks, moments)


def vector(tree: Pytree) -> jax.Array:
    """All P numbers of one network as one vector [P], in the order of `vectors_of`."""
    return ravel_pytree(tree)[0]


def _raveled(parameters: Parameters) -> Parameters:
    return Parameters(*(None if own is None else vector(own) for own in parameters))
