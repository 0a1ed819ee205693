"""The round of federated learning: local steps on every agent, then one merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Aggregator, Algorithm, Learner, Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.participation import Participation
from fedjax_rl.ops.select import where

AgentMap = Any
"""Maps a function of one agent over agents; called like `jax.vmap`."""
AgentMean = Callable[[Pytree, jax.Array | None], Pytree]


class FederationSettings(NamedTuple):
    """Traced settings of a federation.

    Attributes:
        agents: what is each agent's own, leading axis N on every leaf.
        learner: the learner's settings, common to all agents.
        merge_weights: [N], each agent's weight in means over agents; None when all are equal.
    """

    agents: Pytree
    learner: Pytree
    merge_weights: Pytree = None


class FederationState(NamedTuple):
    """State between rounds.

    Attributes:
        shared: the merged part, stored once.
        local: each agent's own part, leading axis N.
        aggregator: the aggregator's own state.
    """

    shared: Pytree
    local: Pytree
    aggregator: Pytree


def mean_over_agents(values: Pytree, weights: jax.Array | None) -> Pytree:
    """Mean over the leading axis N; agents of weight zero are selected out, NaN or not.

    Args:
        values: pytree with a leading axis N.
        weights: [N], at least 0, not all 0; None when all are equal.
    """
    if weights is None:
        return jax.tree.map(lambda leaf: leaf.mean(0), values)
    shares = weights / weights.sum()

    def mean(leaf: jax.Array) -> jax.Array:
        weighted = shares.reshape(-1, *(1,) * (leaf.ndim - 1)) * leaf
        return where(weights > 0, weighted, jnp.zeros_like(leaf)).sum(0)

    return jax.tree.map(mean, values)


def federate(
    learner: Learner,
    aggregator: Aggregator,
    *,
    num_agents: int,
    local_steps: int = 1,
    participation: Participation | None = None,
    agent_map: AgentMap = jax.vmap,
    agent_mean: AgentMean = mean_over_agents,
) -> Algorithm:
    """Turns a learner into an algorithm: E local steps on each of N agents, then one merge.

        local_i ← brief(local_i, kept_i, mean opinion)    if the learner consults
        for each agent i in parallel, for e = 1 … E:
            (shared_i, local_i) ← learner.step(shared_i, local_i)
        shared ← adopt(merge of message_1 … message_N)

    Multipliers and everything else in ``local`` stay with their agent (arXiv 2405.03236).
    Agents that are absent from a round keep their local part; they receive the merged one.

    Args:
        learner: what one agent does.
        aggregator: how messages become one.
        num_agents: N, static.
        local_steps: E, static.
        participation: who takes part in a round; everybody unless given.
        agent_map: maps a function of one agent over agents; takes ``in_axes`` and ``out_axes``.
        agent_mean: (values, weights) -> their mean over agents.

    Returns:
        An algorithm over `FederationState` and `FederationSettings`; ``info`` is the learner's
        info of each agent's local steps, leading axes [N, E], zero for absent agents.

    Raises:
        InvalidInput: more than one local step for a learner that merges after every one.
    """
    if learner.merges_every_step and local_steps > 1:
        raise InvalidInput("--local-steps", local_steps, "this learner merges after every step: 1")

    def local_round(key, shared, local, agent, hparams):  # type: ignore[no-untyped-def]
        def local_step(carry, key_step):  # type: ignore[no-untyped-def]
            shared, local = carry
            shared, local, info = learner.step(key_step, shared, local, agent, hparams)
            return (shared, local), info

        # The last step stands alone: what only a further step would read is never computed.
        keys = jax.random.split(key, local_steps)
        carry, infos = (shared, local), []
        if local_steps > 1:
            carry, info = jax.lax.scan(local_step, carry, keys[:-1])
            infos.append(info)
        (shared, local), info = local_step(carry, keys[-1])
        infos.append(jax.tree.map(lambda leaf: leaf[None], info))
        info = jax.tree.map(lambda *parts: jnp.concatenate(parts), *infos)
        return learner.message(shared, local), local, info

    agents_round = agent_map(local_round, in_axes=(0, None, 0, 0, None))
    agents_init = agent_map(learner.init, in_axes=(0, 0, None))
    agents_adopt = agent_map(learner.adopt, in_axes=(None, 0, None, None), out_axes=(None, 0))

    def init(key: jax.Array, hparams: FederationSettings) -> FederationState:
        key_shared, key_local = jax.random.split(key)
        first = jax.tree.map(lambda leaf: leaf[0], hparams.agents)
        shared, first_local = learner.init(key_shared, first, hparams.learner)
        _, local = agents_init(_agent_keys(key_local), hparams.agents, hparams.learner)
        return FederationState(shared, local, aggregator.init(learner.message(shared, first_local)))

    def consulted(
        key: jax.Array,
        state: FederationState,
        hparams: FederationSettings,
        weights: jax.Array | None,
    ) -> Pytree:
        if learner.consult is None or learner.brief is None:
            return state.local
        opinions, kept = agent_map(learner.consult, in_axes=(0, None, 0, 0, None))(
            _agent_keys(key), state.shared, state.local, hparams.agents, hparams.learner
        )
        mean = agent_mean(opinions, weights)
        return agent_map(learner.brief, in_axes=(0, 0, None))(state.local, kept, mean)

    def step(
        key: jax.Array, round: jax.Array, state: FederationState, hparams: FederationSettings
    ) -> tuple[FederationState, Pytree]:
        key_participation, key_consult, key_agents = jax.random.split(key, 3)
        present, weights = None, hparams.merge_weights
        if participation is not None:
            present = participation(key_participation, num_agents)
            weights = present * (1.0 if weights is None else weights)
        local = consulted(key_consult, state, hparams, weights)
        messages, local, info = agents_round(
            _agent_keys(key_agents), state.shared, local, hparams.agents, hparams.learner
        )
        if present is not None:
            local = where(present, local, state.local)
            info = where(present, info, jax.tree.map(jnp.zeros_like, info))
        merged, carried = aggregator.merge(
            lambda values: agent_mean(values, weights), messages, state.aggregator
        )
        shared, local = agents_adopt(state.shared, local, merged, hparams.learner)
        return FederationState(shared, local, carried), info

    def _agent_keys(key: jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_agents))

    def agent_axes(state: FederationState) -> FederationState:
        everywhere = jax.tree.map(lambda _: None, state)
        return everywhere._replace(local=jax.tree.map(lambda _: 0, state.local))

    return Algorithm(init, step, agent_axes=agent_axes, float64=learner.float64)


def message_bytes(learner: Learner, hparams: FederationSettings) -> int:
    """Size of what one agent sends in a round, from shapes alone: its message and opinion."""

    def message(key: jax.Array) -> Pytree:
        first = jax.tree.map(lambda leaf: leaf[0], hparams.agents)
        shared, local = learner.init(key, first, hparams.learner)
        sent = [learner.message(shared, local)]
        if learner.consult is not None:
            opinion, _ = learner.consult(key, shared, local, first, hparams.learner)
            sent.append(opinion)
        return sent

    shapes = jax.eval_shape(message, jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
