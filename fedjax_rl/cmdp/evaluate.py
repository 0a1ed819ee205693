"""Exact evaluation of a policy: one factorisation serves values and occupancy.

The transposed Bellman operator (I − γ P_π)ᵀ is strictly column-diagonally dominant, so partial
pivoting never swaps a row and its LU factors can be used without a permutation: forward for
the occupancy, transposed for the values. Factorisation and solves form one chain of true data
dependences within a step (see ``docs/architecture.md``, "Why it never hangs").
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fedjax_rl.cmdp.dynamics import Model


class TabularPolicy(NamedTuple):
    """A softmax policy with its factorised Bellman operator.

    Attributes:
        logits: [S, A], θ with π = softmax(θ); actions without support hold −1e30.
        factors: [S, S], L and U of (I − γ P_π)ᵀ in one array.
    """

    logits: jax.Array
    factors: jax.Array

    @property
    def probabilities(self) -> jax.Array:
        """π(a | s), [S, A]."""
        return jax.nn.softmax(self.logits)


NO_SUPPORT = -1e30
"""Logit of an action that may not be taken: finite, and a probability of exactly zero."""


def uniform_logits(support: jax.Array) -> jax.Array:
    """Zero logits on the support [S, A]."""
    return jnp.where(support, 0.0, NO_SUPPORT)


def factorised(logits: jax.Array, model: Model) -> TabularPolicy:
    """The policy softmax(logits) ready to be evaluated."""
    transition = model.dynamics.under(jax.nn.softmax(logits))
    operator = jnp.eye(transition.shape[0]) - model.discount * transition.T
    return TabularPolicy(logits, lax.linalg.lu(operator)[0])


def values(policy: TabularPolicy, signals: jax.Array) -> jax.Array:
    """V_k(s) = Σ_t γᵗ E[signal_k], the solution of (I − γ P_π) V = signal under π.

    Args:
        policy: factorised policy over S states and A actions.
        signals: [K, S, A], rewards or costs of a step.

    Returns:
        [S, K] discounted values in the units of the signals.
    """
    per_state = jnp.einsum("sa,ksa->sk", policy.probabilities, signals)
    half = lax.linalg.triangular_solve(
        policy.factors, per_state, left_side=True, lower=False, transpose_a=True
    )
    return lax.linalg.triangular_solve(
        policy.factors, half, left_side=True, lower=True, transpose_a=True, unit_diagonal=True
    )


def occupancy(policy: TabularPolicy, model: Model) -> jax.Array:
    """q(s, a) = (1 − γ) Σ_t γᵗ P(s_t = s, a_t = a); sums to one. [S, A]"""
    start = (1.0 - model.discount) * model.initial[:, None]
    half = lax.linalg.triangular_solve(
        policy.factors, start, left_side=True, lower=True, unit_diagonal=True
    )
    states = lax.linalg.triangular_solve(policy.factors, half, left_side=True, lower=False)
    return states * policy.probabilities


def advantage(value: jax.Array, signal: jax.Array, model: Model) -> jax.Array:
    """A(s, a) = signal(s, a) + γ E[V(s')] − V(s) of a value [S] and its signal [S, A]."""
    return signal + model.discount * model.dynamics.expect(value) - value[:, None]


class Estimate(NamedTuple):
    """What an agent learns of its policy before a local step.

    Attributes:
        advantage: [S, A], of the combined signal Σ_k coefficient_k · signal_k.
        returns: [K], V_k(ρ) of each signal.
        environment_steps: transitions drawn from the environment (0 when exact).
    """

    advantage: jax.Array
    returns: jax.Array
    environment_steps: jax.Array


def evaluate_exactly(
    key: jax.Array,
    policy: TabularPolicy,
    signals: jax.Array,
    coefficients: jax.Array,
    model: Model,
) -> Estimate:
    """Solves for the values of K signals and combines them into one advantage.

    Advantages are linear in the signal, so the advantage of the Lagrangian is computed once
    and not per signal.

    Args:
        key: unused; every evaluation has this signature.
        policy: factorised policy over S states and A actions.
        signals: [K, S, A].
        coefficients: [K], the Lagrangian's weight of each signal.
        model: the agents' common knowledge.
    """
    value = values(policy, signals)
    combined = jnp.einsum("k,ksa->sa", coefficients, signals)
    return Estimate(
        advantage(value @ coefficients, combined, model),
        model.initial @ value,
        jnp.zeros((), jnp.int64),
    )
