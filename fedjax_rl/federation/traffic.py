"""Bytes that agents send, from shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import DIRECT, Aggregator, Channel, Learner, Pytree, Time
from fedjax_rl.federation.round import FederationSettings, first_of
from fedjax_rl.federation.sides import sides_of
from fedjax_rl.ops.differences import difference
from fedjax_rl.precision import precision


def message_bytes(
    learner: Learner,
    aggregator: Aggregator,
    hparams: FederationSettings,
    channel: Channel = DIRECT,
) -> int:
    """Bytes that one agent sends in a round, from shapes: its update, weight and exchanges.

    Args:
        learner: what it does; its weight counts where the learner states one.
        aggregator: what becomes of its message.
        hparams: leading axis N on what is the agents' own.
        channel: through which it sends.
    """
    exchanges = sides_of(learner, aggregator, channel=channel).exchanges

    def crossing(key: jax.Array) -> Pytree:
        agent, settings = first_of(hparams.agents), hparams.learner
        shared, local = learner.init(key, agent, settings)
        time = Time(jnp.ones((), jnp.int32), jnp.zeros((), jnp.int32))
        start, sent = local, []
        for exchange in exchanges:
            value, retained = exchange.send(key, time, shared, local, agent, settings)
            assert exchange.merge is not None, "sides_of has filled it in"
            alone = exchange.merge(jax.tree.map(lambda leaf: leaf[None], value), jnp.ones(1))
            local = exchange.receive(local, retained, alone)
            sent.append(value)
        message = learner.message(shared)
        value = channel.send(key, (aggregator.encode or difference)(message, message))
        return sent, value, () if learner.weight is None else learner.weight(shared, start)

    with precision(learner.float64):
        shapes = jax.eval_shape(crossing, jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
