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
    """Mean of logits: the normalised geometric mean of the agents' policies (the default).

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5]]))  # of two agents that weigh 1
        >>> merged, _ = logit_mean().merge(logits.sum(0), jnp.array(2.0), ())
        >>> [f"{share:.3f}" for share in jax.nn.softmax(merged)]  # as √(0.9 · 0.5) : √(0.1 · 0.5)
        ['0.750', '0.250']
    """
    return Aggregator(_stateless, _mean, accepts=("logits",), needs=SUM)


def probability_mean() -> Aggregator:
    """Mean of action probabilities, as in the experiments of arXiv 2405.03236.

    The merged logits are log mean_i softmax(θ_i); per step this differs from the mean of logits
    by O(η²), and it breaks down earlier when agents drift. What an agent sends are its
    probabilities, not a difference.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5]]))  # of two agents that weigh 1
        >>> merge = probability_mean()
        >>> sent = jax.vmap(merge.encode, (0, None))(logits, jnp.zeros(2))
        >>> mean, _ = merge.merge(sent.sum(0), jnp.array(2.0), ())
        >>> [f"{share:.3f}" for share in jnp.exp(merge.decode(mean, jnp.zeros(2)))]
        ['0.700', '0.300']
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
    """Mean of network parameters, and of the moments of observations sent along with them.

    Examples:
        >>> import jax.numpy as jnp
        >>> total = {"weights": jnp.array([3.0, 6.0]), "bias": jnp.array(9.0)}
        >>> merged, _ = parameter_mean().merge(total, jnp.array(3.0), ())
        >>> merged["weights"].tolist(), merged["bias"].item()
        ([1.0, 2.0], 3.0)
    """
    return Aggregator(_stateless, _mean, accepts=("parameters",), needs=SUM)


def of_messages(aggregator: Aggregator) -> Aggregator:
    """An aggregator that merges the messages themselves and not how they have changed.

    For merges that ask where a message is and not how far it has moved. (A mean gives the same
    either way.)

    Examples:
        >>> import jax.numpy as jnp
        >>> before, after = jnp.array([1.0]), jnp.array([3.0])
        >>> of_messages(logit_mean()).encode(after, before).tolist()  # not the difference, [2.0]
        [3.0]
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
