"""The two sides of a round: what one agent does, and what the server makes of it.

`federation.round.federate` runs both in one program. An engine in which agents are processes of
their own runs ``agent`` there and ``server`` here; each can be compiled for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import (
    DIRECT,
    MESSAGES,
    SUM,
    Aggregator,
    Array,
    Channel,
    Exchange,
    Learner,
    Pytree,
    Time,
    Update,
)
from fedjax_rl.errors import InvalidInput
from fedjax_rl.ops.differences import difference, moved
from fedjax_rl.ops.means import weighted_mean, weighted_sum
from fedjax_rl.ops.select import where


class Sides(NamedTuple):
    """A round in parts. Only what ``send`` and ``agent`` return as sent leaves an agent.

    Attributes:
        exchanges: those of the learner, through the channel: ``send`` and ``receive`` are the
            agent's, ``merge`` is the server's. ``send`` has a key for each agent and exchange.
        agent: (key, round, shared, local, agent, hparams) -> (sent, local, info), of one agent
            and after its exchanges. ``sent`` is an `Update` whose value is what the channel
            sends, ``info`` that of its local steps, leading axis E.
        gather: (sent, weights) -> `Update`, from those of all agents, leading axis N, and a
            factor on each one's weight [N], 0 for one that is absent: what the aggregator needs,
            each value and its weight, or the sum of w_i x_i and of w_i. An engine may have the
            latter from a secure sum in place of this function.
        server: (gathered, shared, state, hparams) -> (shared, state): the shared part after the
            round, and the aggregator's state.
    """

    exchanges: tuple[Exchange, ...]
    agent: Callable[[Any, Array, Pytree, Pytree, Pytree, Pytree], tuple[Update, Pytree, Pytree]]
    gather: Callable[[Update, Array], Update]
    server: Callable[[Update, Pytree, Pytree, Pytree], tuple[Pytree, Pytree]]


def sides_of(
    learner: Learner,
    aggregator: Aggregator,
    *,
    local_steps: int = 1,
    channel: Channel = DIRECT,
) -> Sides:
    """The sides of a round of a learner and an aggregator.

    Args:
        learner: what one agent does.
        aggregator: how updates become one.
        local_steps: E, static.
        channel: what happens to values on the way.

    Raises:
        InvalidInput: more than one local step for a learner that merges after every one, or an
            aggregator that needs something else than a sum or messages.
    """
    if learner.merges_every_step and local_steps > 1:
        raise InvalidInput("--local-steps", local_steps, "this learner merges after every step: 1")
    if aggregator.needs not in (SUM, MESSAGES):
        raise InvalidInput("needs", repr(aggregator.needs), f"{SUM} or {MESSAGES}")
    encode = aggregator.encode or difference
    return Sides(
        exchanges=tuple(through(channel, exchange) for exchange in learner.exchanges),
        agent=partial(agent_side, learner, encode, channel, local_steps),
        gather=partial(gathered, aggregator.needs, channel),
        server=partial(server_side, learner, aggregator),
    )


def through(channel: Channel, exchange: Exchange) -> Exchange:
    """The exchange with a channel on its way, and its merge in any case."""

    def send(key: jax.Array, *arguments: Pytree) -> tuple[Pytree, Pytree]:
        # Apart, so that a channel that draws leaves what the learner draws as it was.
        key_send, key_channel = jax.random.split(key)
        value, retained = exchange.send(key_send, *arguments)
        return channel.send(key_channel, value), retained

    def merge(sent: Pytree, weights: Array) -> Pytree:
        return (exchange.merge or weighted_mean)(jax.vmap(channel.receive)(sent), weights)

    return Exchange(send, exchange.receive, merge)


def agent_side(
    learner: Learner,
    encode: Callable[[Pytree, Pytree], Pytree],
    channel: Channel,
    local_steps: int,
    key: jax.Array,
    round: Array,
    shared: Pytree,
    local: Pytree,
    agent: Pytree,
    hparams: Pytree,
) -> tuple[Update, Pytree, Pytree]:
    """E local steps of one agent from what it received, and the update that it sends.

    Args:
        learner: what the agent does.
        encode: (message, received) -> value of the update.
        channel: through which that value is sent.
        local_steps: E, static.
        key: of this agent and round.
        round: t = 1, 2, …, a scalar.
        shared: what was merged last.
        local: the agent's own part, after its exchanges.
        agent: what it is given.
        hparams: the learner's settings.

    Returns:
        What is sent, the agent's own part, and the info of its steps, leading axis [E].
    """
    # One more than steps, for the channel; drawn or not, the steps have the same.
    keys = jax.random.split(key, local_steps + 1)
    after, local, info = local_round(learner, keys[:-1], round, shared, local, agent, hparams)
    value = encode(learner.message(after), learner.message(shared))
    weight = jnp.ones(()) if learner.weight is None else learner.weight(after, local)
    return Update(channel.send(keys[-1], value), weight), local, info


def local_round(
    learner: Learner,
    keys: jax.Array,
    round: Array,
    shared: Pytree,
    local: Pytree,
    agent: Pytree,
    hparams: Pytree,
) -> tuple[Pytree, Pytree, Pytree]:
    """The local steps of one agent in a round, one for each key.

    Args:
        learner: what the agent does.
        keys: [E], one for each step.
        round: t = 1, 2, …
        shared: what was merged last.
        local: the agent's own part.
        agent: what it is given.
        hparams: the learner's settings.

    Returns:
        Its shared and local parts after them, and the info of all, leading axis [E].
    """

    def local_step(carry: tuple, at: tuple) -> tuple[tuple, Pytree]:
        (shared, local), (key_step, number) = carry, at
        time = Time(round, number)
        shared, local, info = learner.step(key_step, time, shared, local, agent, hparams)
        return (shared, local), info

    # The last step stands alone: what only a further step would read is never computed.
    numbers = jnp.arange(len(keys))
    carry, infos = (shared, local), []
    if len(keys) > 1:
        carry, info = jax.lax.scan(local_step, carry, (keys[:-1], numbers[:-1]))
        infos.append(info)
    (shared, local), info = local_step(carry, (keys[-1], numbers[-1]))
    infos.append(jax.tree.map(lambda leaf: leaf[None], info))
    return shared, local, jax.tree.map(lambda *parts: jnp.concatenate(parts), *infos)


def gathered(needs: str, channel: Channel, sent: Update, weights: Array) -> Update:
    """The sum or the list of all agents' updates, as the aggregator needs it.

    Args:
        needs: ``messages`` or ``sum``, static.
        channel: through which the values came.
        sent: leading axis N.
        weights: [N], a factor on each one's own; 0 for an agent that is absent.

    Returns:
        Values [N, …], zeros of agents that are absent, and weights [N]; or Σ_i w_i x_i and the
        scalar Σ_i w_i.
    """
    values = jax.vmap(channel.receive)(sent.value)
    # The own weight of an absent agent may be NaN, and 0 · NaN would be NaN.
    weights = where(weights > 0, sent.weight * weights, weights)
    if needs == SUM:
        return Update(*weighted_sum(values, weights))
    return Update(_of_present(values, weights), weights)


def _of_present(values: Pytree, weights: jax.Array) -> Pytree:
    """What agents with a weight sent; no aggregator gets to see a NaN of one that is absent."""
    return jax.tree.map(lambda leaf: where(weights > 0, leaf, jnp.zeros_like(leaf)), values)


def server_side(
    learner: Learner,
    aggregator: Aggregator,
    gathered: Update,
    shared: Pytree,
    state: Pytree,
    hparams: Pytree,
) -> tuple[Pytree, Pytree]:
    """The shared part after the round, and the aggregator's state.

    Args:
        learner: which adopts the merged message.
        aggregator: how updates become one.
        gathered: what it needs of them.
        shared: what every agent received at the beginning of the round.
        state: the aggregator's.
        hparams: the learner's settings.
    """
    merged, state = aggregator.merge(gathered.value, gathered.weight, state)
    message = (aggregator.decode or moved)(merged, learner.message(shared))
    return learner.adopt(shared, message, hparams), state
