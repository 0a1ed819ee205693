"""Exact evaluation of a policy: one factorisation serves values and occupancy.

The transposed Bellman operator (I − γ P_π)ᵀ is strictly column-diagonally dominant, so partial
pivoting never swaps a row and its LU factors can be used without a permutation: forward for
the occupancy, transposed for the values. Factorisation and solves form one chain of true data
dependences within a step (see ``docs/architecture.md``, "Why it never hangs").
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fedjax_rl.cmdp.dynamics import Model

solve_triangular = partial(lax.linalg.triangular_solve, left_side=True)


class TabularPolicy(NamedTuple):
    """A softmax policy, with what its exact evaluation starts from.

    Attributes:
        logits: [S, A], θ with π = softmax(θ); actions without support hold −1e30.
        factors: [S, S], L and U of (I − γ P_π)ᵀ in one array.
        visits: [S], the state occupancy (1 − γ) Σ_t γᵗ P(s_t = s); sums to one.
    """

    logits: jax.Array
    factors: jax.Array
    visits: jax.Array

    @property
    def probabilities(self) -> jax.Array:
        """Action probabilities π(a | s), [S, A]."""
        return jax.nn.softmax(self.logits)

    @property
    def occupancy(self) -> jax.Array:
        """q(s, a) = visits(s) π(a | s), [S, A]; sums to one."""
        return self.visits[:, None] * self.probabilities


NO_SUPPORT = -1e30
"""Logit of an action that may not be taken: finite, and a probability of exactly zero."""


def uniform_logits(support: jax.Array) -> jax.Array:
    """Zero logits on the support [S, A]; strongly typed, as they are after every step.

    (With a weak type the first round would be a program of its own, and compiled apart.)
    """
    return jnp.where(support, 0.0, NO_SUPPORT).astype(float)


def evaluated(logits: jax.Array, model: Model) -> TabularPolicy:
    """The policy softmax(logits) [S, A], factorised, with its occupancy."""
    transition = model.dynamics.under(jax.nn.softmax(logits))
    operator = jnp.eye(transition.shape[0]) - model.discount * transition.T
    factors = lax.linalg.lu(operator)[0]
    start = (1.0 - model.discount) * model.initial[:, None]
    half = solve_triangular(factors, start, lower=True, unit_diagonal=True)
    visits = solve_triangular(factors, half, lower=False)[:, 0]
    return TabularPolicy(logits, factors, visits)


def values(policy: TabularPolicy, signal: jax.Array) -> jax.Array:
    """V(s) = Σ_t γᵗ E[signal], the solution of (I − γ P_π) V = signal under π.

    Args:
        policy: evaluated policy over S states and A actions.
        signal: [S, A], reward or cost of a step.

    Returns:
        [S] discounted values in the units of the signal.
    """
    per_state = jnp.sum(policy.probabilities * signal, axis=1, keepdims=True)
    half = solve_triangular(policy.factors, per_state, lower=False, transpose_a=True)
    solved = solve_triangular(
        policy.factors, half, lower=True, transpose_a=True, unit_diagonal=True
    )
    return solved[:, 0]


def advantage(value: jax.Array, signal: jax.Array, model: Model) -> jax.Array:
    """A(s, a) = signal(s, a) + γ E[V(s')] − V(s).

    Args:
        value: V [S], of the signal under the policy.
        signal: [S, A], reward or cost of a step.
        model: with the discount γ and the probabilities of the next state.

    Returns:
        [S, A] in the units of the signal.
    """
    return signal + model.discount * model.dynamics.expect(value) - value[:, None]


class Lagrangian(NamedTuple):
    """The signal an agent ascends: reward_weight · r − Σ_k penalty_k c_k + bonus.

    Attributes:
        reward_weight: scalar.
        penalties: [K], w_ij λ_ij.
        costs: [K, S, A], the agent's own.
        bonus: [S, A], a signal that depends on the policy itself, or None.
    """

    reward_weight: jax.Array
    penalties: jax.Array
    costs: jax.Array
    bonus: jax.Array | None = None


class Estimate(NamedTuple):
    """An agent's estimates of values and costs of its policy, before a local step.

    Attributes:
        advantage: [S, A], of the Lagrangian's signal.
        value: scalar, V_r(ρ).
        cost_estimate: [K], V_ck(ρ), exact or sampled.
        environment_steps: transitions drawn from the environment (0 when exact).
    """

    advantage: jax.Array
    value: jax.Array
    cost_estimate: jax.Array
    environment_steps: jax.Array


def evaluate_exactly(
    key: jax.Array, policy: TabularPolicy, lagrangian: Lagrangian, model: Model
) -> Estimate:
    """Solves for the Lagrangian's values; returns of reward and costs come from the occupancy.

    Advantages are linear in the signal, so that of the Lagrangian is one solve however many
    constraints an agent watches.

    Args:
        key: unused; every evaluation has this signature.
        policy: evaluated policy over S states and A actions.
        lagrangian: what the agent ascends.
        model: the agents' common knowledge.

    Returns:
        The advantage [S, A], and the values of reward, a scalar, and costs [K] at ρ.
    """
    penalty = jnp.einsum("k,ksa->sa", lagrangian.penalties, lagrangian.costs)
    signal = lagrangian.reward_weight * model.reward - penalty
    if lagrangian.bonus is not None:
        signal = signal + lagrangian.bonus
    scale = 1.0 / (1.0 - model.discount)
    return Estimate(
        advantage(values(policy, signal), signal, model),
        scale * jnp.vdot(policy.occupancy, model.reward),
        scale * jnp.einsum("sa,ksa->k", policy.occupancy, lagrangian.costs),
        jnp.zeros((), jnp.int64),
    )
