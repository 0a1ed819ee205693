"""The round of federated learning: local steps on every agent, then one merge."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Aggregator, Algorithm, Learner, Pytree, Time
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.participation import Participation
from fedjax_rl.ops.means import weighted_mean
from fedjax_rl.ops.select import where

AgentMap = Any
"""Maps a function of one agent over agents; called like `jax.vmap`."""


class FederationSettings(NamedTuple):
    """Traced settings of a federation.

    Attributes:
        agents: what is each agent's own, leading axis N on every leaf.
        learner: the learner's settings, common to all agents.
        merge_weights: [N], each agent's weight in every merge; None when all are equal.
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


def federate(
    learner: Learner,
    aggregator: Aggregator,
    *,
    num_agents: int,
    local_steps: int = 1,
    participation: Participation | None = None,
    agent_map: AgentMap = jax.vmap,
) -> Algorithm:
    """Turns a learner into an algorithm: E local steps on each of N agents, then one merge.

        for each exchange of the learner:
            local_i ← receive(local_i, kept_i, merge of value_1 … value_N)
        for each agent i in parallel, for e = 0 … E − 1:
            (shared_i, local_i) ← learner.step(time, shared_i, local_i)
        shared ← adopt(merge of message_1 … message_N)

    Every merge weighs an agent by its merge weight, by its own weight where the learner states
    one, and by 0 while it is absent.

    Multipliers and everything else in ``local`` stay with their agent (arXiv 2405.03236).
    Agents that are absent from a round keep their local part; they receive the merged one.

    Args:
        learner: what one agent does.
        aggregator: how messages become one.
        num_agents: N, static.
        local_steps: E, static.
        participation: who takes part in a round; everybody unless given.
        agent_map: maps a function of one agent over agents; takes ``in_axes`` and ``out_axes``.

    Returns:
        An algorithm over `FederationState` and `FederationSettings`; ``info`` is the learner's
        info of each agent's local steps, leading axes [N, E], zero for absent agents.

    Raises:
        InvalidInput: more than one local step for a learner that merges after every one.
    """
    if learner.merges_every_step and local_steps > 1:
        raise InvalidInput("--local-steps", local_steps, "this learner merges after every step: 1")

    def local_round(key, round, shared, local, agent, hparams):  # type: ignore[no-untyped-def]
        def local_step(carry, at):  # type: ignore[no-untyped-def]
            (shared, local), (key_step, number) = carry, at
            time = Time(round, number)
            shared, local, info = learner.step(key_step, time, shared, local, agent, hparams)
            return (shared, local), info

        # The last step stands alone: what only a further step would read is never computed.
        keys, numbers = jax.random.split(key, local_steps), jnp.arange(local_steps)
        carry, infos = (shared, local), []
        if local_steps > 1:
            carry, info = jax.lax.scan(local_step, carry, (keys[:-1], numbers[:-1]))
            infos.append(info)
        (shared, local), info = local_step(carry, (keys[-1], numbers[-1]))
        infos.append(jax.tree.map(lambda leaf: leaf[None], info))
        info = jax.tree.map(lambda *parts: jnp.concatenate(parts), *infos)
        weight = None if learner.weight is None else learner.weight(shared, local)
        return learner.message(shared, local), weight, local, info

    agents_round = agent_map(local_round, in_axes=(0, None, None, 0, 0, None))
    agents_init = agent_map(learner.init, in_axes=(0, 0, None))
    agents_adopt = agent_map(learner.adopt, in_axes=(None, 0, None, None), out_axes=(None, 0))

    def init(key: jax.Array, hparams: FederationSettings) -> FederationState:
        key_shared, key_local = jax.random.split(key)
        first = jax.tree.map(lambda leaf: leaf[0], hparams.agents)
        shared, first_local = learner.init(key_shared, first, hparams.learner)
        _, local = agents_init(_agent_keys(key_local), hparams.agents, hparams.learner)
        return FederationState(shared, local, aggregator.init(learner.message(shared, first_local)))

    def exchanged(
        key: jax.Array,
        round: jax.Array,
        state: FederationState,
        hparams: FederationSettings,
        weights: jax.Array,
    ) -> Pytree:
        """Every agent's own part after the exchanges ahead of the local steps."""
        local, time = state.local, Time(round, jnp.zeros((), jnp.int32))
        for index, exchange in enumerate(learner.exchanges):
            send = agent_map(exchange.send, in_axes=(0, None, None, 0, 0, None))
            receive = agent_map(exchange.receive, in_axes=(0, 0, None))
            keys = _agent_keys(jax.random.fold_in(key, index))
            values, kept = send(keys, time, state.shared, local, hparams.agents, hparams.learner)
            local = receive(local, kept, (exchange.merge or weighted_mean)(values, weights))
        return local

    def step(
        key: jax.Array, round: jax.Array, state: FederationState, hparams: FederationSettings
    ) -> tuple[FederationState, Pytree]:
        key_participation, key_exchanges, key_agents = jax.random.split(key, 3)
        equal = jnp.ones(num_agents)
        weights = equal if hparams.merge_weights is None else jnp.asarray(hparams.merge_weights)
        present = None
        if participation is not None:
            present = participation(key_participation, num_agents)
            weights = present * weights
        local = exchanged(key_exchanges, round, state, hparams, weights)
        messages, own_weights, local, info = agents_round(
            _agent_keys(key_agents), round, state.shared, local, hparams.agents, hparams.learner
        )
        if present is not None:
            local = where(present, local, state.local)
            info = where(present, info, jax.tree.map(jnp.zeros_like, info))
        if own_weights is not None:
            weights = where(weights > 0, own_weights * weights, weights)
        merged, carried = aggregator.merge(messages, weights, state.aggregator)
        shared, local = agents_adopt(state.shared, local, merged, hparams.learner)
        return FederationState(shared, local, carried), info

    def _agent_keys(key: jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_agents))

    def agent_axes(state: FederationState) -> FederationState:
        everywhere = jax.tree.map(lambda _: None, state)
        return everywhere._replace(local=jax.tree.map(lambda _: 0, state.local))

    return Algorithm(init, step, agent_axes=agent_axes, float64=learner.float64)


def message_bytes(learner: Learner, hparams: FederationSettings) -> int:
    """Bytes that one agent sends in a round, from shapes: its message, weight and exchanges."""

    def sent(key: jax.Array) -> Pytree:
        first = jax.tree.map(lambda leaf: leaf[0], hparams.agents)
        shared, local = learner.init(key, first, hparams.learner)
        time = Time(jnp.ones((), jnp.int32), jnp.zeros((), jnp.int32))
        crossing = [
            exchange.send(key, time, shared, local, first, hparams.learner)[0]
            for exchange in learner.exchanges
        ]
        if learner.weight is not None:
            crossing.append(learner.weight(shared, local))
        return [learner.message(shared, local), *crossing]

    shapes = jax.eval_shape(sent, jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
