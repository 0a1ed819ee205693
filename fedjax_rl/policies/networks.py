"""Networks of actors and critics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.policies.distributions import Distribution
from fedjax_rl.policies.initializers import orthogonal

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"tanh": jnp.tanh, "relu": nn.relu, "silu": nn.silu}
LEAK = 0.1
"""Slope of a bounded mean far beyond its bound."""
SMALL_GAIN = 0.01
"""Scale of an actor's last layer: the first policy is nearly uniform (arXiv 2006.05990)."""


class MLP(nn.Module):
    """Hidden layers with one activation and a linear last layer.

    Attributes:
        hidden: widths of the hidden layers.
        outputs: width of the last layer.
        activation: a name in `ACTIVATIONS`.
        output_gain: scale of the last layer's orthogonal kernel.
    """

    hidden: Sequence[int]
    outputs: int
    activation: str
    output_gain: float = 1.0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """[..., features] -> [..., outputs]."""
        for width in self.hidden:
            features = nn.Dense(width, kernel_init=orthogonal())(features)
            features = ACTIVATIONS[self.activation](features)
        return nn.Dense(self.outputs, kernel_init=orthogonal(self.output_gain))(features)


class GaussianActor(nn.Module):
    """Means from an MLP, log deviations that do not depend on the observation.

    Attributes:
        hidden, activation: as of `MLP`.
        dimension: D of the actions.
        log_deviation: where the log deviations start.
    """

    hidden: Sequence[int]
    dimension: int
    activation: str
    log_deviation: float = 0.0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """[..., features] -> [..., 2 D], means and log deviations."""
        mean = MLP(self.hidden, self.dimension, self.activation, SMALL_GAIN)(features)
        start = nn.initializers.constant(self.log_deviation)
        deviation = self.param("log_deviation", start, (self.dimension,))
        return jnp.concatenate([mean, jnp.broadcast_to(deviation, mean.shape)], axis=-1)


class Network(NamedTuple):
    """A network without its parameters.

    Attributes:
        init: (key) -> parameters.
        apply: (parameters, features [..., F]) -> [..., outputs].
    """

    init: Callable[[Any], Pytree]
    apply: Callable[[Pytree, Any], Any]


def network(module: nn.Module, features: int) -> Network:
    """The functions of a flax module for inputs of F features."""

    def init(key: jax.Array) -> Pytree:
        return module.init(key, jnp.zeros(features))["params"]

    def apply(parameters: Pytree, inputs: jax.Array) -> jax.Array:
        outputs: jax.Array = module.apply({"params": parameters}, inputs)  # type: ignore[assignment]
        return outputs

    return Network(init, apply)


def actor(
    distribution: Distribution, features: int, hidden: Sequence[int], activation: str
) -> Network:
    """A policy network: observation [..., F] -> parameters of the distribution [..., P].

    Args:
        distribution: of actions.
        features: F.
        hidden: widths of the hidden layers.
        activation: of the hidden layers, one of `ACTIVATIONS`.

    Raises:
        InvalidInput: an unknown activation, no hidden layer or one without units.
    """
    check_hidden(hidden, activation)
    if distribution.action_shape:
        (dimension,) = distribution.action_shape
        return network(GaussianActor(tuple(hidden), dimension, activation), features)
    outputs = distribution.num_parameters
    return network(MLP(tuple(hidden), outputs, activation, SMALL_GAIN), features)


def bounded(network: Network, low: np.ndarray, high: np.ndarray) -> Network:
    """An actor of vectors whose means stay within the bounds of actions.

        m + (1 − ε) h tanh(μ / h) + ε μ,   m = (low + high) / 2,   h = (high − low) / 2

    Actions are clipped to their bounds, so that a mean far outside does what one at the bound
    does: nothing would tell it to come back. Of the hyperbolic tangent alone a mean at a bound
    would have no slope to come back by; ε = 0.1 leaves it one. Where a bound is infinite
    it is left alone.

    Args:
        network: an actor of D-vectors: parameters [..., 2 D], means before log deviations.
        low: [D].
        high: [D].
    """
    finite = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(finite, low, -1.0), np.where(finite, high, 1.0)
    middle, half = (low + high) / 2.0, (high - low) / 2.0

    def apply(parameters: Pytree, observations: jax.Array) -> jax.Array:
        outputs = network.apply(parameters, observations)
        means, log_deviations = outputs[..., : len(low)], outputs[..., len(low) :]
        squashed = middle + (1.0 - LEAK) * half * jnp.tanh(means / half) + LEAK * means
        within = jnp.where(finite, squashed.astype(outputs.dtype), means)
        return jnp.concatenate([within, log_deviations], -1)

    return Network(network.init, apply)


def critic(features: int, heads: int, hidden: Sequence[int], activation: str) -> Network:
    """A value network with one head for each signal: [..., F] -> [..., heads].

    Args:
        features: F.
        heads: one for each signal.
        hidden: widths of the hidden layers.
        activation: of the hidden layers, one of `ACTIVATIONS`.

    Raises:
        InvalidInput: as of `actor`.
    """
    check_hidden(hidden, activation)
    return network(MLP(tuple(hidden), heads, activation), features)


def check_hidden(hidden: Sequence[int], activation: str) -> None:
    """Raises InvalidInput unless these are widths of layers and a known activation."""
    if not hidden or any(width < 1 for width in hidden):
        raise InvalidInput("--hidden", tuple(hidden), "widths of at least 1, such as 64 64")
    if activation not in ACTIVATIONS:
        raise InvalidInput("--activation", repr(activation), f"one of {', '.join(ACTIVATIONS)}")
