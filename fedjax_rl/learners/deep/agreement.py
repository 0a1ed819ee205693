"""What agents tell each other between acting and a step that all of them take alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Exchange, Pytree, Time
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.multipliers import raised_penalty
from fedjax_rl.learners.deep.stages import acted, objective_of
from fedjax_rl.learners.deep.state import DeepLocal, DeepShared, Experience, Objective
from fedjax_rl.learners.deep.trust_region import divergence, fisher_product, longest, surrogate
from fedjax_rl.ops.conjugate_gradient import conjugate_gradient

TINY = 1e-12
"""Keeps the direction of a zero gradient finite."""


class Candidates(NamedTuple):
    """What the steps α, α/2, α/4, … along the common direction come to, C of them.

    Attributes:
        kl: [C], mean divergence from the policy that acted, nats.
        gained: [C], growth of the surrogate.
    """

    kl: jax.Array
    gained: jax.Array


class Underway(NamedTuple):
    """An agent between acting and moving, in place of its own part while exchanges go on.

    Attributes:
        local: its own part before the round.
        experience: what it acted on.
        objective: what it improves; None until its multipliers have moved.
        gradient: g [n], of the sum of all Lagrangians; None before the exchange, as all below.
        direction: x [n], mean of the agents' solutions of (F_i + damping) x = g / |g|.
        curvature: xᵀ(F + damping) x, scalar, F of all agents' samples.
        candidates: of all agents' samples.
    """

    local: DeepLocal
    experience: Experience
    objective: Objective | None = None
    gradient: jax.Array | None = None
    direction: jax.Array | None = None
    curvature: jax.Array | None = None
    candidates: Candidates | None = None


class Functions(NamedTuple):
    """What an agent's samples say of a policy near the one that acted.

    Attributes:
        start: θ [n], parameters of the policy that acted.
        gained: (θ [n]) -> N L_i, the surrogate of N times the agent's summand of the Lagrangian.
        distance: (θ [n]) -> mean KL divergence from the policy that acted, nats.
    """

    start: jax.Array
    gained: Callable[[jax.Array], jax.Array]
    distance: Callable[[jax.Array], jax.Array]


Value = Callable[[Design, Functions, Underway, Time, DeepSettings], Pytree]
"""What an agent sends; its mean over agents is what all of them go on with."""


def gradient(
    design: Design, functions: Functions, underway: Underway, time: Time, hparams: DeepSettings
) -> jax.Array:
    """N ∇L_i [n]; the mean of all is the gradient of their sum.

    Args:
        design: not read.
        functions: of the agent's samples.
        underway: not read.
        time: not read.
        hparams: not read.
    """
    return jax.grad(functions.gained)(functions.start)


def direction(
    design: Design, functions: Functions, underway: Underway, time: Time, hparams: DeepSettings
) -> jax.Array:
    """(F_i + damping)⁻¹ g / |g| [n], with the Fisher matrix of the agent's own samples.

    Args:
        design: how many iterations are solved for.
        functions: of the agent's samples.
        underway: g [n].
        time: not read.
        hparams: the damping.
    """
    assert underway.gradient is not None
    fisher = fisher_product(functions.distance, functions.start, hparams.damping)
    # The solver gets to see the same in whatever unit rewards are: a direction has no length.
    target = underway.gradient / jnp.maximum(jnp.linalg.norm(underway.gradient), TINY)
    return conjugate_gradient(fisher, target, design.choices.conjugate_steps)


def curvature(
    design: Design, functions: Functions, underway: Underway, time: Time, hparams: DeepSettings
) -> jax.Array:
    """xᵀ(F_i + damping) x, a scalar, along the mean x and not the agent's own solution.

    Args:
        design: not read.
        functions: of the agent's samples.
        underway: x [n].
        time: not read.
        hparams: the damping.
    """
    assert underway.direction is not None
    fisher = fisher_product(functions.distance, functions.start, hparams.damping)
    return jnp.vdot(underway.direction, fisher(underway.direction))


def candidates(
    design: Design, functions: Functions, underway: Underway, time: Time, hparams: DeepSettings
) -> Candidates:
    """The divergence of every candidate [C], and what N L_i grows by [C].

    Args:
        design: how many candidates there are.
        functions: of the agent's samples.
        underway: x [n] and the curvature.
        time: the round.
        hparams: the radius.
    """
    along = underway.direction
    assert along is not None
    before = functions.gained(functions.start)

    def candidate(length: jax.Array) -> Candidates:
        proposal = functions.start + length * along
        return Candidates(functions.distance(proposal), functions.gained(proposal) - before)

    lengths = lengths_of(underway, design.choices.line_search_steps, time, hparams)
    return jax.lax.map(candidate, lengths)


def lengths_of(underway: Underway, count: int, time: Time, hparams: DeepSettings) -> jax.Array:
    """[C], α, α/2, α/4, … with α = √(2 δ / xᵀ F x).

    Args:
        underway: the curvature.
        count: C, static.
        time: the round.
        hparams: the radius.
    """
    assert underway.curvature is not None
    return longest(underway.curvature, radius_at(time, hparams)) * 0.5 ** jnp.arange(count)


def radius_at(time: Time, hparams: DeepSettings) -> jax.Array:
    """δ in a round, a scalar, of which the decay of the learning rate leaves its square, nats.

    Args:
        time: the round. Agents that were absent have taken fewer steps than others, and all must
            come to the same length.
        hparams: δ and the decay.
    """
    done = (time.round - 1) / hparams.total_updates
    return hparams.radius * jnp.square(1.0 - hparams.learning_rate_decay * done)


def functions_of(
    design: Design,
    shared: DeepShared,
    underway: Underway,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> Functions:
    """The functions of an agent with its objective.

    L_i is the surrogate of A_r/N − Σ_j w_ij λ_ij A_cj, not divided by anything. An entropy bonus
    is in units of the objective; one that agents can add up is S = Σ_i S_i with
    S_i = std(A_r)/N + Σ_j w_ij λ_ij std(A_cj), no less than the deviation of the sum. (Where
    nothing is standardised it is 1/N + Σ_j w_ij λ_ij.)

    Args:
        design: networks, and whether advantages are standardised.
        shared: the policy that acted.
        underway: the agent, with its objective.
        agent: its 1/N.
        hparams: the entropy's weight.
    """
    objective = underway.objective
    assert objective is not None
    unit = jnp.ones(())
    if design.choices.standardize:
        unit = underway.experience.estimates.advantages.std((0, 1))
    # What is merged is a mean over agents: N times of what each one has, 1/N being its weight of
    # the reward.
    size = (objective.weights * unit).sum() / agent.reward_weight
    factor = objective.scale / agent.reward_weight
    weighed = hparams._replace(entropy_weight=size * hparams.entropy_weight)
    batch = objective.batch._replace(
        reward_part=factor * objective.batch.reward_part,
        cost_part=factor * objective.batch.cost_part,
    )
    start, unravel = ravel_pytree(shared.actor)
    return Functions(
        start,
        lambda flat: surrogate(design, unravel(flat), batch, weighed),
        lambda flat: divergence(design, unravel(flat), batch),
    )


def asking(design: Design, name: str, value: Value) -> Exchange:
    """The exchange whose mean becomes that attribute of `Underway`.

    Args:
        design: static choices.
        name: of the attribute.
        value: what is sent.
    """

    def send(
        key: jax.Array,
        time: Time,
        shared: DeepShared,
        underway: Underway,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> tuple[Pytree, Underway]:
        if underway.objective is None:
            objective = objective_of(
                design, underway.experience, shared, underway.local, agent, hparams
            )
            underway = underway._replace(objective=objective)
        functions = functions_of(design, shared, underway, agent, hparams)
        return value(design, functions, underway, time, hparams), underway

    def receive(before: Pytree, underway: Underway, mean: Pytree) -> Underway:
        return underway._replace(**{name: mean})

    return Exchange(send, receive)


def after_acting(design: Design, exchange: Exchange) -> Exchange:
    """The first of these exchanges, before which the agent acts.

    Args:
        design: task and networks.
        exchange: of an `Underway` that knows no more than what the agent acted on.
    """

    def send(
        key: jax.Array,
        time: Time,
        shared: DeepShared,
        local: DeepLocal,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> tuple[Pytree, Pytree]:
        key_rollout, key_send = jax.random.split(key)
        underway = Underway(local, acted(design, key_rollout, shared, local, agent, hparams))
        return exchange.send(key_send, time, shared, underway, agent, hparams)

    return exchange._replace(send=send)


def _send_penalty(
    key: jax.Array,
    time: Time,
    shared: DeepShared,
    underway: Underway,
    agent: DeepAgent,
    hparams: DeepSettings,
) -> tuple[jax.Array, tuple[Underway, jax.Array]]:
    own = raised_penalty(underway.local, underway.experience, agent, hparams)
    return own / agent.reward_weight, (underway, own)


def _receive_penalties(
    before: Pytree, retained: tuple[Underway, jax.Array], total: jax.Array
) -> Underway:
    underway, own = retained
    others = jnp.maximum(total - own, 0.0)
    return underway._replace(local=underway.local._replace(others=others))


RAISED_PENALTY = Exchange(_send_penalty, _receive_penalties)
"""`multipliers.PENALTY` of the multipliers that this round's costs ask for, before they are held
to what is left for them: as one agent would hold its own."""
