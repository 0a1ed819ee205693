"""Accuracy on held-out prompts, and the error of a batch's estimates, at evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.hetero.diagnostics import estimation_error
from fedjax_rl.hetero.groups import Groups, responder
from fedjax_rl.hetero.losses.contract import LossOutput
from fedjax_rl.hetero.rollout import Sampling, generator
from fedjax_rl.hetero.state import HeteroChoices, HeteroSettings
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy


def accuracy(
    task: TokenTask, policy: TokenPolicy, top_k: int = 0
) -> Callable[[Any, Pytree, Any, Sampling], jax.Array]:
    """The function (key, parameters, prompts [N, ·], sampling) -> share of right answers.

    One response is sampled to each prompt. Rewards are exact here, whatever noise the training
    sees; hand it prompts of `tasks.split.split(task).held_out`. The error of the share is
    √(a(1 − a)/N).

    Raises:
        InvalidInput: a negative ``top_k``.
    """
    generate = generator(policy, task.end_token, top_k)

    def right(key: Array, parameters: Pytree, prompt: Array, sampling: Sampling) -> jax.Array:
        response = generate(key, parameters, prompt, sampling)
        reward: jax.Array = task.reward(prompt, response.tokens, response.mask)
        return reward

    def share(key: Array, parameters: Pytree, prompts: Array, sampling: Sampling) -> jax.Array:
        keys = jax.random.split(key, len(prompts))
        return jnp.mean(jax.vmap(right, (0, None, 0, None))(keys, parameters, prompts, sampling))

    return share


class Evaluator(NamedTuple):
    """The measurements of an evaluation; functions of a key, parameters and settings.

    Attributes:
        accuracy: (key, parameters, settings) -> share of right answers to the held-out prompts.
        error: (key, parameters, groups, output, settings) -> error of the batch's estimates, see
            `diagnostics.estimation_error`.
    """

    accuracy: Callable[..., jax.Array]
    error: Callable[..., jax.Array]


def evaluator(task: TokenTask, policy: TokenPolicy, choices: HeteroChoices) -> Evaluator:
    """The `Evaluator` on held-out prompts and on responses of the learner's own policy."""
    share, held_out = accuracy(task, policy, choices.top_k), jax.vmap(split(task).held_out)
    answers = responder(task, policy, choices.top_k)

    def right(key: jax.Array, parameters: Pytree, hparams: HeteroSettings) -> jax.Array:
        # The same prompts in every evaluation of every run, so that curves compare.
        prompts = held_out(jax.random.split(jax.random.key(0), choices.held_out))
        return share(key, parameters, prompts, hparams.sampling)

    def error(
        key: jax.Array,
        parameters: Pytree,
        groups: Groups,
        output: LossOutput,
        hparams: HeteroSettings,
    ) -> jax.Array:
        # Another than the accuracy's, which has the key itself.
        key_answers = jax.random.fold_in(key, 1)
        _, exact = answers(
            key_answers, parameters, groups.prompts, choices.on_policy, hparams.sampling
        )
        expected = exact.mean(-1)
        noise = hparams.label_noise
        expected = expected * (1.0 - noise) + (1.0 - expected) * noise
        return estimation_error(output, groups.rewards, groups.mask, expected)

    return Evaluator(right, error)
