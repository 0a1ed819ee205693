"""Gradients of losses on stale batches, against the gradient that is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.hetero.groups import group_sampler
from fedjax_rl.hetero.learner import log_policy, of_tokens
from fedjax_rl.hetero.losses.contract import Batch, Loss, LossOutput
from fedjax_rl.hetero.rollout import Sampling
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy

BatchGradient = Callable[[Any, Pytree, Pytree, Sampling, Any, Any], jax.Array]
"""(key, learner's parameters, sampler's parameters, sampling, settings, label noise) -> [D]."""


class GradientQuality(NamedTuple):
    """Bias, variance and direction of a loss's gradient on stale batches; scalars.

    All are NaN where the mean gradient is lost in the noise of the batches it was measured from.

    Attributes:
        cosine: between the mean gradient and the true one; 1 is no bias in direction.
        scale: length of the mean gradient over that of the true one.
        noise: trace of the covariance of one batch's gradient over the squared length of the
            mean: how many batches it takes to see the mean at all.
        error: expected squared distance of one batch's direction g/scale from the true
            gradient, over its squared length; bias and variance together.
    """

    cosine: Array
    scale: Array
    noise: Array
    error: Array


def batch_gradient(
    task: TokenTask, policy: TokenPolicy, loss: Loss, prompts: int, group_size: int
) -> BatchGradient:
    """The direction of ascent, −∇ loss, of one batch that q sampled and p learns from."""
    sample, log_probabilities = group_sampler(task, policy, prompts, group_size), log_policy(policy)

    def gradient(
        key: Array,
        learner: Pytree,
        sampler: Pytree,
        sampling: Sampling,
        settings: Any,
        label_noise: Array,
    ) -> jax.Array:
        groups = sample(key, sampler, sampling, label_noise)

        def objective(parameters: Pytree) -> jax.Array:
            logs = log_probabilities(parameters, groups, sampling.temperature)
            log_p = of_tokens(logs, groups.tokens)
            batch = Batch(log_p, groups.log_q, groups.mask, groups.rewards)
            value: jax.Array = -loss(batch, settings).loss
            return value

        flat: jax.Array = ravel_pytree(jax.grad(objective)(learner))[0]
        return flat

    return gradient


def _policy_gradient(batch: Batch, settings: Any) -> LossOutput:
    """−mean_i (r_i − r̄_{−i}) log p_i: on-policy, its gradient is an unbiased −∇ E_p[r].

    The baseline of each response is the mean reward of the others in its group (REINFORCE
    leave-one-out, arXiv 2402.14740), which depends on the prompt and not on the response.
    """
    count = batch.rewards.shape[-1]
    advantage = (batch.rewards - batch.rewards.mean(-1, keepdims=True)) * (count / (count - 1))
    log_p = jnp.where(batch.mask, batch.log_p, 0.0).sum(-1)
    return LossOutput(
        loss=-(advantage * log_p).mean(),
        advantages=advantage,
        weights=jnp.ones((*advantage.shape, 1)),
        clipped=jnp.zeros(()),
    )


policy_gradient = Loss(_policy_gradient)
"""−∇ E_p[r] of data that are fresh; see `_policy_gradient`."""


def quality(gradients: jax.Array, true: jax.Array) -> GradientQuality:
    """Compares batches' gradients [n, D] with the true one [D].

    The mean's own sampling error is taken off its squared length, Σ_i ‖g_i − ḡ‖² / n(n − 1);
    where that leaves less than half, nothing is said.
    """
    count = len(gradients)
    mean = gradients.mean(0)
    variance = jnp.square(gradients - mean).sum() / (count - 1)
    squared, error = jnp.square(mean).sum(), variance / count
    length = jnp.sqrt(jnp.where(error < 0.5 * squared, squared - error, jnp.nan))
    true_length = jnp.linalg.norm(true)
    cosine = jnp.clip((mean @ true) / (length * true_length), -1.0, 1.0)
    scale = length / true_length
    noise = variance / jnp.square(length)
    return GradientQuality(cosine, scale, noise, 2.0 * (1.0 - cosine) + noise)
