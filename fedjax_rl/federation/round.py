"""The round of federated learning: local steps on every agent, then one merge."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import (
    DIRECT,
    Aggregator,
    Algorithm,
    Channel,
    Learner,
    Pytree,
    Report,
    Time,
)
from fedjax_rl.federation.participation import Participation, attendance
from fedjax_rl.federation.sides import Sides, sides_of
from fedjax_rl.ops.select import where

AgentMap = Any
"""Maps a function of one agent over agents; called like `jax.vmap`, with ``axis_size`` too."""


class FederationSettings(NamedTuple):
    """Traced settings of a federation.

    Attributes:
        agents: what is each agent's own, leading axis N on every leaf.
        learner: the learner's settings, common to all agents.
        merge_weights: [N], each agent's weight in every merge; None when all are equal.
        aggregator: the settings that the aggregator has of its own.
    """

    agents: Pytree
    learner: Pytree
    merge_weights: Pytree = None
    aggregator: Pytree = ()


class FederationState(NamedTuple):
    """The state of a federation between two rounds.

    Attributes:
        shared: the merged part, stored once.
        local: each agent's own part, leading axis N.
        aggregator: the aggregator's own state.
    """

    shared: Pytree
    local: Pytree
    aggregator: Pytree


class Federation(NamedTuple):
    """The static parts of a federation, bound by `federate`.

    Attributes:
        learner: what one agent does.
        aggregator: how updates become one.
        sides: of a round.
        num_agents: N.
        participation: who takes part in a round; None for everybody.
        over_agents: maps a function of one agent over all N.
    """

    learner: Learner
    aggregator: Aggregator
    sides: Sides
    num_agents: int
    participation: Participation | None
    over_agents: AgentMap


def federate(
    learner: Learner,
    aggregator: Aggregator,
    *,
    num_agents: int,
    local_steps: int = 1,
    participation: Participation | None = None,
    channel: Channel = DIRECT,
    agent_map: AgentMap = jax.vmap,
) -> Algorithm:
    """Turns a learner into an algorithm whose step is `one_round` of N agents.

    Args:
        learner: what one agent does.
        aggregator: how updates become one.
        num_agents: N, static.
        local_steps: E, static.
        participation: who takes part in a round; everybody unless given.
        channel: what happens to values on their way; nothing unless given.
        agent_map: maps a function of one agent over agents; takes ``in_axes``, ``out_axes`` and
            ``axis_size``.

    Returns:
        An algorithm over `FederationState` and `FederationSettings`; ``info`` is the learner's
        info of each agent's local steps, leading axes [N, E], zero for absent agents.

    Raises:
        InvalidInput: more than one local step for a learner that merges after every one, or an
            aggregator that needs something else than a sum or messages.

    Examples:
        Two agents watch one cost. A step of η = 1 from the uniform policy moves each by half of
        A_r / (1 − γ) = (−1, 1), and every multiplier by V_c − d = ½.

        >>> import jax
        >>> import numpy as np
        >>> from fedjax_rl.cmdp import from_arrays
        >>> from fedjax_rl.cmdp.dynamics import model_of
        >>> from fedjax_rl.federation.aggregate import logit_mean
        >>> from fedjax_rl.learners.tabular.agent import TabularSettings, federated_agents
        >>> from fedjax_rl.learners.tabular.npg import npg
        >>> from fedjax_rl.precision import precision
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> settings = TabularSettings(1.0, 1.0, multiplier_cap=10.0, model=model_of(coin))
        >>> agents = federated_agents(coin, np.ones((2, 1), bool))
        >>> hparams, key = FederationSettings(agents, settings), jax.random.key(0)
        >>> fednpg = federate(npg(), logit_mean(), num_agents=2)
        >>> with precision(fednpg.float64):
        ...     state, _ = fednpg.step(key, 1, fednpg.init(key, hparams), hparams)
        >>> state.shared.logits.round(6).tolist(), state.local.multipliers.round(6).tolist()
        ([[-0.5, 0.5]], [[0.5], [0.5]])
    """
    sides = sides_of(learner, aggregator, local_steps=local_steps, channel=channel)
    # N is said and not read off what is mapped over: an agent may have nothing of its own.
    over_agents = partial(agent_map, axis_size=num_agents)
    federation = Federation(learner, aggregator, sides, num_agents, participation, over_agents)
    return Algorithm(
        init=partial(initial, federation),
        step=partial(one_round, federation),
        agent_axes=agent_axes,
        report=partial(report, federation),
        float64=learner.float64,
    )


def initial(federation: Federation, key: jax.Array, hparams: FederationSettings) -> FederationState:
    """The shared part that all begin with, and every agent's own part, leaves [N, …].

    Args:
        federation: static.
        key: of everything random in it.
        hparams: settings of the federation.
    """
    learner = federation.learner
    key_shared, key_local = jax.random.split(key)
    # All begin alike: networks that start apart have no meaningful mean.
    shared, _ = learner.init(key_shared, first_of(hparams.agents), hparams.learner)
    keys = agent_keys(key_local, federation.num_agents)
    each = federation.over_agents(learner.init, in_axes=(0, 0, None))
    _, local = each(keys, hparams.agents, hparams.learner)
    carried = federation.aggregator.init(learner.message(shared), hparams.aggregator)
    return FederationState(shared, local, carried)


def one_round(
    federation: Federation,
    key: jax.Array,
    round: jax.Array,
    state: FederationState,
    hparams: FederationSettings,
) -> tuple[FederationState, Pytree]:
    """E local steps on each of N agents, then one merge.

        for each exchange of the learner:
            local_i ← receive(local_i, kept_i, merge of value_1 … value_N)
        for each agent i in parallel:
            shared_i ← shared
            for e = 0 … E − 1:
                (shared_i, local_i) ← learner.step(time, shared_i, local_i)
            send message(shared_i) − message(shared), and a weight
        shared ← adopt(message(shared) + merge of what was sent)

    Every merge weighs an agent by its merge weight, by its own weight where the learner states
    one, and by 0 while it is absent. All that is sent passes the channel.

    Multipliers and everything else in ``local`` stay with their agent (arXiv 2405.03236).
    Agents that are absent from a round keep their local part; they receive the merged one.

    Args:
        federation: static.
        key: of this round.
        round: t = 1, 2, …
        state: before the round.
        hparams: settings of the federation.

    Returns:
        The state after it, and the info of all local steps, leading axes [N, E].
    """
    sides, learner = federation.sides, hparams.learner
    # A key each for what is drawn apart, so that who is present changes no agent's randomness.
    key_participation, key_exchanges, key_agents = jax.random.split(key, 3)
    present, weights = attendance(
        federation.participation, key_participation, federation.num_agents, hparams.merge_weights
    )
    local = exchanged(federation, key_exchanges, round, state, hparams, weights)
    keys = agent_keys(key_agents, federation.num_agents)
    every_agent = federation.over_agents(sides.agent, in_axes=(0, None, None, 0, 0, None))
    sent, local, info = every_agent(keys, round, state.shared, local, hparams.agents, learner)
    if present is not None:
        # Absent agents are computed all the same, since who is absent is data, and then left out.
        local = where(present, local, state.local)
        info = where(present, info, jax.tree.map(jnp.zeros_like, info))
    gathered = sides.gather(sent, weights)
    shared, carried = sides.server(gathered, state.shared, state.aggregator, learner)
    return FederationState(shared, local, carried), info


def agent_keys(key: jax.Array, num_agents: int) -> jax.Array:
    """[N], the key of each agent: that of agent i does not depend on how many there are."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_agents))


def exchanged(
    federation: Federation,
    key: jax.Array,
    round: jax.Array,
    state: FederationState,
    hparams: FederationSettings,
    weights: jax.Array,
) -> Pytree:
    """Every agent's own part after the exchanges ahead of the local steps, leading axis N.

    Args:
        federation: static.
        key: of the exchanges of this round.
        round: t = 1, 2, …
        state: before the round.
        hparams: settings of the federation.
        weights: [N], of each agent in the merges.
    """
    local, time = state.local, Time(round, jnp.zeros((), jnp.int32))
    for index, exchange in enumerate(federation.sides.exchanges):
        send = federation.over_agents(exchange.send, in_axes=(0, None, None, 0, 0, None))
        receive = federation.over_agents(exchange.receive, in_axes=(0, 0, None))
        keys = agent_keys(jax.random.fold_in(key, index), federation.num_agents)
        sent, retained = send(keys, time, state.shared, local, hparams.agents, hparams.learner)
        assert exchange.merge is not None, "sides_of has filled it in"
        local = receive(local, retained, exchange.merge(sent, weights))
    return local


def report(federation: Federation, state: FederationState) -> Report:
    """The merged policy once, and the multipliers of all agents [N, K], of a state at rest."""
    axes: Any = Report(None, 0)
    each = jax.vmap(federation.learner.report, (None, 0), axes, axis_size=federation.num_agents)
    every: Report = each(state.shared, state.local)
    return every


def agent_axes(state: FederationState) -> FederationState:
    """0 for the leaves of the agents' own part, None for all others."""
    everywhere = jax.tree.map(lambda _: None, state)
    axes: FederationState = everywhere._replace(local=jax.tree.map(lambda _: 0, state.local))
    return axes


def first_of(agents: Pytree) -> Pytree:
    """The first agent of leading axes N."""
    return jax.tree.map(lambda leaf: leaf[0], agents)
