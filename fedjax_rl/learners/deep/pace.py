"""The pace of a policy: a factor on its learning rate that aims at a divergence."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.learners.deep.agent import DeepSettings
from fedjax_rl.learners.deep.state import DeepLocal, Rates

MOST_CHANGE = 1.5
"""Of the pace in a local step."""
PACES = (1.0 / 32.0, 2.0)
"""Between which it stays."""


def rates_of(local: DeepLocal, hparams: DeepSettings) -> Rates:
    """What the decay has left of the learning rate, for the policy times its pace.

    Args:
        local: local steps taken, and the pace.
        hparams: the rate at the start, its decay, and local steps in all.
    """
    done = local.updates / hparams.total_updates
    rate = hparams.learning_rate * (1.0 - hparams.learning_rate_decay * done)
    return Rates(policy=rate if local.pace is None else rate * local.pace, critics=rate)


def adapted(pace: jax.Array, kl: jax.Array, hparams: DeepSettings) -> jax.Array:
    """The pace, times (target / KL)^½ within a factor of 1.5 (after arXiv 1707.06347, section 4).

    A divergence is a length squared. Policies of vectors need this: the smaller their deviation
    has become, the farther a step of the same length goes.

    Args:
        pace: before, scalar.
        kl: mean divergence of the step that was taken, scalar, nats.
        hparams: its target.
    """
    wanted = jnp.sqrt(hparams.kl_target / jnp.maximum(kl, 1e-12))
    return jnp.clip(pace * jnp.clip(wanted, 1.0 / MOST_CHANGE, MOST_CHANGE), *PACES)
