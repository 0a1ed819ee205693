"""Distributions over actions, each a handful of pure functions of one parameter array.

Parameters are a single float array [..., P], so that a rollout stores them as one column block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

LOG_2PI = math.log(2.0 * math.pi)


class Distribution(NamedTuple):
    """A family of distributions over actions.

    Attributes:
        num_parameters: P.
        action_shape: () for discrete actions, (D,) for vectors.
        noise: (key, shape) -> the randomness of ``shape`` draws, made in one call.
        sample: (parameters [..., P], noise) -> action.
        mode: (parameters [..., P]) -> most likely action.
        log_prob: (parameters [..., P], action) -> [...], nats.
        entropy: (parameters [..., P]) -> [...], nats.
        kl: (parameters of p, parameters of q) -> KL(p‖q) [...], nats.
    """

    num_parameters: int
    action_shape: tuple[int, ...]
    noise: Callable[[Any, tuple[int, ...]], Any]
    sample: Callable[[Any, Any], Any]
    mode: Callable[[Any], Any]
    log_prob: Callable[[Any, Any], Any]
    entropy: Callable[[Any], Any]
    kl: Callable[[Any, Any], Any]


def categorical(num_actions: int) -> Distribution:
    """Actions 0 … A − 1 with probabilities softmax(parameters); P = A.

    A draw is the largest of the logits with Gumbel noise on them: all that is left to do in a
    rollout's loop is one comparison, since the noise is drawn before it.
    """

    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.gumbel(key, (*shape, num_actions))

    def sample(logits: jax.Array, noise: jax.Array) -> jax.Array:
        return jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)

    def mode(logits: jax.Array) -> jax.Array:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    def log_prob(logits: jax.Array, action: jax.Array) -> jax.Array:
        one_hot = jax.nn.one_hot(action.astype(jnp.int32), num_actions, dtype=logits.dtype)
        return (jax.nn.log_softmax(logits) * one_hot).sum(-1)

    def entropy(logits: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(logits)
        return -(jnp.exp(logs) * logs).sum(-1)

    def kl(logits: jax.Array, others: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(logits)
        return (jnp.exp(logs) * (logs - jax.nn.log_softmax(others))).sum(-1)

    return Distribution(num_actions, (), noise, sample, mode, log_prob, entropy, kl)


def diagonal_gaussian(dimension: int) -> Distribution:
    """Vectors [D] with independent normal entries; parameters are means, then log deviations.

    Actions are not squashed: an environment clips them to its bounds.
    """

    def split(parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        return parameters[..., :dimension], parameters[..., dimension:]

    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(key, (*shape, dimension))

    def sample(parameters: jax.Array, noise: jax.Array) -> jax.Array:
        mean, log_deviation = split(parameters)
        return mean + jnp.exp(log_deviation) * noise

    def mode(parameters: jax.Array) -> jax.Array:
        return split(parameters)[0]

    def log_prob(parameters: jax.Array, action: jax.Array) -> jax.Array:
        mean, log_deviation = split(parameters)
        standard = (action - mean) * jnp.exp(-log_deviation)
        return -(0.5 * standard**2 + log_deviation + 0.5 * LOG_2PI).sum(-1)

    def entropy(parameters: jax.Array) -> jax.Array:
        return (split(parameters)[1] + 0.5 * (1.0 + LOG_2PI)).sum(-1)

    def kl(parameters: jax.Array, others: jax.Array) -> jax.Array:
        (mean, log_deviation), (other, log_other) = split(parameters), split(others)
        variances = jnp.exp(2.0 * (log_deviation - log_other))
        shift = (mean - other) ** 2 * jnp.exp(-2.0 * log_other)
        return (log_other - log_deviation + 0.5 * (variances + shift - 1.0)).sum(-1)

    return Distribution(2 * dimension, (dimension,), noise, sample, mode, log_prob, entropy, kl)
