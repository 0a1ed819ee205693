"""What a deep agent sends of its networks, how much it counts, and what a merge makes of them."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.learners.deep.advantages import Estimates
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.design import Choices
from fedjax_rl.learners.deep.preconditioner import after_merge
from fedjax_rl.learners.deep.state import DeepLocal, DeepShared
from fedjax_rl.ops import moments as running

TINY = 1e-12
"""Keeps a quotient finite where nobody has an advantage."""


def message(shared: DeepShared) -> DeepShared:
    """The parameters to merge; moments of observations as sums about the last merged mean.

    Moments about different means have no mean; sums about a common origin do. How they have
    changed since the last merge is what the agent has seen since.
    """
    shared = shared._replace(second_moment=None)  # which all agents have
    if shared.observations is None or shared.origin is None:
        return shared
    sums = running.about(shared.origin, shared.observations)
    return shared._replace(observations=sums, origin=None)


def objective_scale(shared: DeepShared, local: DeepLocal) -> jax.Array:
    """s_i = std(A_r/N − Σ_j w_ij λ_ij A_cj), a scalar, by which the agent's objective was divided.

    Weighed by it, the agents' normalised steps add up to a step on the sum of their Lagrangians.
    Where advantages are not standardised it is 1/N + Σ_j w_ij λ_ij.
    """
    return local.objective_scale


def measures_length(choices: Choices) -> bool:
    """Whether steps are normalised by s_i and weighed by it, so that a merged one has a length.

    Divided by 1/N + Σ_j w_ij λ_ij alone, they add up to the whole Lagrangian's divided by the sum
    of that, as one agent's would be.
    """
    return choices.weigh_merge and choices.standardize


def step_lengths(
    estimates: Estimates, weights: jax.Array, scale: jax.Array, agent: DeepAgent
) -> jax.Array:
    """(q_i / s_i, 1 / (N s_i), 1/N) [3], whose means weighed by s_i give a merged step's length.

        s² = Σ_i q_i,   q_i = var(A_r)/N + var(C_i) − 2 cov(A_r, C_i),   C_i = Σ_j w_ij λ_ij A_cj

    is the variance of the whole Lagrangian's advantage, but for covariances between the costs of
    different agents, which nobody can know. They tell the sums of squares of an agent's
    weighed advantages, and nothing of a single step or constraint.

    Args:
        estimates: advantages [T, B, 1 + K].
        weights: [1 + K], of A_r and −A_c, not divided by anything.
        scale: s_i, scalar.
        agent: its 1/N.
    """
    chex.assert_rank([estimates.advantages, weights, scale], [3, 1, 0])
    parts = estimates.advantages * weights
    reward = parts[..., 0] - parts[..., 0].mean()
    costs = parts[..., 1:].sum(-1)
    costs -= costs.mean()
    # The reward's part of the agent is A_r / N, and N of them make A_r.
    agents = 1.0 / agent.reward_weight
    reward_terms = agents * (reward * (reward - 2.0 * costs)).mean()
    square = reward_terms + (costs**2).mean()
    return jnp.stack([square / scale, agent.reward_weight / scale, agent.reward_weight])


def adopt(shared: DeepShared, merged: DeepShared, hparams: DeepSettings) -> DeepShared:
    """The merged networks, and moments [D] about the new mean, which is the next origin.

    A mean of normalised steps that pull in different directions is shorter than the step of one
    agent that sees everything, S/s times as short with S = Σ_i s_i. The actor's is made as long:

        θ ← θ + min(N, max(1, S/s)) (θ̄ − θ)

    Where agents have a second moment in common, it learns from that step (`after_merge`).

    Args:
        shared: before the round, with the origin that sums are about.
        merged: the merged message.
        hparams: not read.
    """
    if merged.lengths is not None:
        total, inverse, share = merged.lengths  # s²/S, 1/S and 1/N
        longer = jax.lax.rsqrt(jnp.maximum(total * inverse, TINY))
        factor = jnp.clip(longer, 1.0, 1.0 / jnp.maximum(share, TINY))
        actor = jax.tree.map(
            lambda before, mean: before + factor * (mean - before), shared.actor, merged.actor
        )
        merged = merged._replace(actor=actor, lengths=jnp.zeros_like(merged.lengths))
    if merged.travelled is not None:
        # Of the longer step: it is as long as that of one agent, whose gradient it tells.
        v = after_merge(shared.second_moment, merged.travelled, shared.actor, merged.actor)
        merged = merged._replace(second_moment=v, travelled=jnp.zeros_like(merged.travelled))
    if merged.observations is None or shared.origin is None:
        return merged
    moments = running.from_sums(shared.origin, merged.observations)
    return merged._replace(observations=moments, origin=moments.mean)
