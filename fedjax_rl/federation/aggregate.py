"""Aggregators: how the agents' updates become one."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import SUM, Aggregator, Array, Pytree, register_aggregator
from fedjax_rl.ops.means import mean_of_sum

LOG_ZERO = -1e30
"""Stands for log 0 in merged logits, which stay finite."""


def _stateless(message: Pytree, settings: Pytree) -> tuple[()]:
    return ()


def _mean(total: Pytree, weight: Array, state: Pytree) -> tuple[Pytree, Pytree]:
    return mean_of_sum(total, weight), state


def logit_mean() -> Aggregator:
    """Mean of logits: the normalised geometric mean of the agents' policies (the default)."""
    return Aggregator(_stateless, _mean, accepts=("logits",), needs=SUM)


def probability_mean() -> Aggregator:
    """Mean of action probabilities, as in the experiments of arXiv 2405.03236.

    The merged logits are log mean_i softmax(θ_i); per step this differs from the mean of logits
    by O(η²), and it breaks down earlier when agents drift. What an agent sends are its
    probabilities, not a difference.
    """

    def encode(message: jax.Array, received: jax.Array) -> jax.Array:
        return jax.nn.softmax(message)

    def decode(merged: jax.Array, received: jax.Array) -> jax.Array:
        return jnp.maximum(jnp.log(merged), LOG_ZERO)

    mean = Aggregator(_stateless, _mean, accepts=("logits",), needs=SUM)
    return mean._replace(encode=encode, decode=decode)


def point_mean() -> Aggregator:
    """Mean of unprojected points, which learner optimistic sends and projects afterwards."""
    return Aggregator(_stateless, _mean, accepts=("points",), needs=SUM)


def parameter_mean() -> Aggregator:
    """Mean of network parameters, and of the moments of observations sent along with them."""
    return Aggregator(_stateless, _mean, accepts=("parameters",), needs=SUM)


def of_messages(aggregator: Aggregator) -> Aggregator:
    """An aggregator that merges the messages themselves and not how they have changed.

    For merges that ask where a message is and not how far it has moved. (A mean gives the same
    either way.)
    """

    def encode(message: Pytree, received: Pytree) -> Pytree:
        return message

    def decode(merged: Pytree, received: Pytree) -> Pytree:
        return merged

    return aggregator._replace(encode=encode, decode=decode)


register_aggregator("logits", logit_mean)
register_aggregator("parameters", parameter_mean)
register_aggregator("points", point_mean)
register_aggregator("probabilities", probability_mean)
