"""One natural step that all agents take alike, on the sum of their Lagrangians."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Learner, Pytree, Time
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.agreement import (
    RAISED_PENALTY,
    Underway,
    after_acting,
    asking,
    candidates,
    curvature,
    direction,
    gradient,
    lengths_of,
    radius_at,
)
from fedjax_rl.learners.deep.critics import fitted_critics
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.multipliers import VIOLATION
from fedjax_rl.learners.deep.pace import rates_of
from fedjax_rl.learners.deep.stages import concluded, parameters_of
from fedjax_rl.learners.deep.state import DeepInfo, DeepLocal, DeepShared, Improvement


def common_step(design: Design, learner: Learner) -> Learner:
    """The learner with one natural step in common, agreed on by means.

        each agent acts, and moves λ_i
        g ← Σ_i ∇L_i                                mean of N ∇L_i
        x ← mean_i (F_i + damping)⁻¹ g / |g|        mean of solutions by conjugate gradients
        α ← √(2 δ / xᵀ(F + damping) x)              mean of xᵀ(F_i + damping) x
        k ← the first of 0, 1, … of which mean_i KL_i ≤ δ and Σ_i L_i grows, at θ + α 2⁻ᵏ x
        θ ← θ + α 2⁻ᵏ x                             each agent, alike

    L_i is the agent's summand of the whole Lagrangian, and all that crosses is linear in what an
    agent has. So N agents on the same samples take the step of one that sees every cost,
    parameter by parameter; on samples of their own, the mean of N estimates of F⁻¹ g, held to the
    divergence on all samples. Multiplicative multipliers are held to what all costs take in this
    round, and not in the one before.

    Args:
        design: task, networks and static choices.
        learner: with the same state and messages, whose steps are the agents' own. Each of
            several local steps would need exchanges, so that agents merge after every one.
    """
    rule = design.choices.duals
    agreed = [
        asking(design, "gradient", gradient),
        asking(design, "direction", direction),
        asking(design, "curvature", curvature),
        asking(design, "candidates", candidates),
    ]
    if rule == "multiplicative":
        agreed.insert(0, RAISED_PENALTY)
    agreed[0] = after_acting(design, agreed[0])
    if rule == "crpo":
        agreed.insert(0, VIOLATION)
    return learner._replace(
        step=partial(step, design), exchanges=tuple(agreed), merges_every_step=True
    )


def step(
    design: Design,
    key: jax.Array,
    time: Time,
    shared: DeepShared,
    underway: Underway,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[DeepShared, DeepLocal, DeepInfo]:
    """The step that was agreed on, and Adam on the agent's critics.

    Args:
        design: task and networks.
        key: of the minibatches of the critics.
        time: the round.
        shared: what was merged last.
        underway: the agent after the exchanges.
        agent: its constraints [K] and environment.
        hparams: traced settings.
    """
    local, objective = underway.local, underway.objective
    assert objective is not None and underway.gradient is not None
    actor, kl = moved(shared, underway, time, hparams)
    fitted, optimizer, value_loss = fitted_critics(
        design,
        key,
        parameters_of(shared, local),
        local.optimizer,
        objective.batch,
        rates_of(local, hparams),
        hparams,
    )
    policy = design.actor.apply(actor, objective.batch.features)
    improvement = Improvement(
        kl=kl,
        clip_fraction=jnp.zeros(()),
        entropy=design.distribution.entropy(policy).mean(),
        value_loss=value_loss,
        gradient_norm=jnp.linalg.norm(underway.gradient),
    )
    improved = fitted._replace(actor=actor), optimizer, improvement
    return concluded(underway.experience, objective, improved, shared, local, agent, hparams)


def moved(
    shared: DeepShared, underway: Underway, time: Time, hparams: DeepSettings
) -> tuple[Pytree, jax.Array]:
    """The actor after the longest good candidate, if any, and its divergence, a scalar in nats.

    Args:
        shared: the actor before.
        underway: what was agreed on.
        time: the round.
        hparams: the radius.
    """
    found = underway.candidates
    assert found is not None and underway.direction is not None
    start, unravel = ravel_pytree(shared.actor)
    good = (found.kl <= radius_at(time, hparams)) & (found.gained > 0.0)
    first = jnp.argmax(good)
    length = lengths_of(underway, len(good), time, hparams)[first]
    # Of nothing but what was merged, so that all agents come to the same bits.
    after = jnp.where(good[first], start + length * underway.direction, start)
    return unravel(after), jnp.where(good[first], found.kl[first], 0.0)
