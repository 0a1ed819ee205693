"""What a learner step is checked against now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from fedjax_rl.algorithm import Pytree
from fedjax_rl.hetero.diagnostics import estimation_error
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.groups import Groups, responder
from fedjax_rl.hetero.losses.contract import LossOutput
from fedjax_rl.hetero.state import HeteroChoices, HeteroSettings
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy


class Evaluator(NamedTuple):
    """What an evaluation does; functions of a key, parameters and settings.

    Attributes:
        accuracy: (key, parameters, settings) -> share of right answers to the held-out prompts.
        error: (key, parameters, groups, judged, settings) -> error of the batch's estimates, see
            `diagnostics.estimation_error`.
    """

    accuracy: Callable[..., jax.Array]
    error: Callable[..., jax.Array]


def evaluator(task: TokenTask, policy: TokenPolicy, choices: HeteroChoices) -> Evaluator:
    """Evaluation on held-out prompts, and against responses of the learner's own policy."""
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
        key_answers = jax.random.fold_in(key, 1)
        _, exact = answers(
            key_answers, parameters, groups.prompts, choices.on_policy, hparams.sampling
        )
        expected = exact.mean(-1)
        noise = hparams.label_noise
        expected = expected * (1.0 - noise) + (1.0 - expected) * noise
        return estimation_error(output, groups.rewards, groups.mask, expected)

    return Evaluator(right, error)
