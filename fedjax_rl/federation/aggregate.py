"""Aggregators: how the agents' messages become one policy."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Aggregator, Pytree, register_aggregator
from fedjax_rl.ops.means import weighted_mean

LOG_ZERO = -1e30
"""Stands for log 0 in merged logits, which stay finite."""


def _stateless(message: Pytree) -> tuple[()]:
    return ()


def logit_mean() -> Aggregator:
    """Mean of logits: the normalised geometric mean of the agents' policies (the default)."""

    def merge(messages, weights, state):  # type: ignore[no-untyped-def]
        return weighted_mean(messages, weights), state

    return Aggregator(_stateless, merge, accepts=("logits",))


def probability_mean() -> Aggregator:
    """Mean of action probabilities, as in the experiments of arXiv 2405.03236.

    The merged logits are log mean_i softmax(θ_i); per step this differs from the mean of logits
    by O(η²), and it breaks down earlier when agents drift.
    """

    def merge(messages, weights, state):  # type: ignore[no-untyped-def]
        merged = weighted_mean(jax.nn.softmax(messages), weights)
        return jnp.maximum(jnp.log(merged), LOG_ZERO), state

    return Aggregator(_stateless, merge, accepts=("logits",))


def point_mean() -> Aggregator:
    """Mean of unprojected points, which learner optimistic sends and projects afterwards."""

    def merge(messages, weights, state):  # type: ignore[no-untyped-def]
        return weighted_mean(messages, weights), state

    return Aggregator(_stateless, merge, accepts=("points",))


def parameter_mean() -> Aggregator:
    """Mean of network parameters, and of the moments of observations sent along with them."""

    def merge(messages, weights, state):  # type: ignore[no-untyped-def]
        return weighted_mean(messages, weights), state

    return Aggregator(_stateless, merge, accepts=("parameters",))


register_aggregator("logits", logit_mean)
register_aggregator("parameters", parameter_mean)
register_aggregator("points", point_mean)
register_aggregator("probabilities", probability_mean)
