"""Transition models on the device: dense, or gathered over the successors of each state."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Array
from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.successors import gather_successors

GATHER_BELOW = 0.5
"""Successors are gathered when they are fewer than this share of the states …"""
GATHER_FROM_STATES = 100
"""… and the problem has at least this many states; a small dense product is faster."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DenseDynamics:
    """P(s' | s, a) as one array.

    Attributes:
        transition: [S, A, S].
    """

    transition: Array

    def under(self, policy: jax.Array) -> jax.Array:
        """P_π [S, S] of a policy [S, A]: P_π(s' | s) = Σ_a π(a | s) P(s' | s, a)."""
        return jnp.einsum("sa,sat->st", policy, self.transition)

    def expect(self, values: jax.Array) -> jax.Array:
        """E[v(s') | s, a] as [S, A] of values [S]."""
        return self.transition @ values


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GatheredDynamics:
    """P(s' | s, a) over the states that any action of s can reach.

    A state of the sepsis problem reaches 93 of 716 states in the median and at most 213; this
    form is a third of the dense one and is read once per product.

    Attributes:
        successor: [S, B] indices of next states; padding repeats an index with probability 0.
        probability: [S, A, B], P(successor[s, b] | s, a).
    """

    successor: Array
    probability: Array

    def under(self, policy: jax.Array) -> jax.Array:
        """P_π [S, S] of a policy [S, A]."""
        num_states = self.successor.shape[0]
        reached = jnp.einsum("sa,sab->sb", policy, self.probability)
        rows = jnp.arange(num_states)[:, None]
        return jnp.zeros((num_states, num_states)).at[rows, self.successor].add(reached)

    def expect(self, values: jax.Array) -> jax.Array:
        """E[v(s') | s, a] as [S, A] of values [S]."""
        return jnp.einsum("sab,sb->sa", self.probability, values[self.successor])


Dynamics = DenseDynamics | GatheredDynamics


class Model(NamedTuple):
    """The problem without its costs, which every agent knows.

    Attributes:
        dynamics: transition model over S states and A actions.
        reward: [S, A].
        initial: [S].
        discount: scalar γ.
        support: [S, A] booleans, the actions a policy may take.
    """

    dynamics: Dynamics
    reward: Array
    initial: Array
    discount: Array
    support: Array


def model_of(problem: CMDP) -> Model:
    """The agents' common knowledge of a CMDP, with the cheaper form of its dynamics."""
    return Model(
        dynamics_of(problem.transition),
        problem.reward,
        problem.initial,
        problem.discount,
        problem.support,
    )


def dynamics_of(transition: FloatArray) -> Dynamics:
    """Dense or gathered form of P [S, A, S], whichever the products read faster."""
    num_states = transition.shape[0]
    if num_states < GATHER_FROM_STATES:
        return DenseDynamics(transition)
    successor, probability = gather_successors(transition)
    if successor.shape[1] > GATHER_BELOW * num_states:
        return DenseDynamics(transition)
    return GatheredDynamics(successor.astype(np.int32), probability)
