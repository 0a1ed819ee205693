"""A batch as a sampler makes it: prompts, a group of responses to each, and their rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.hetero.rollout import Sampling, generator
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.tasks.task import TokenTask, flipped
from fedjax_rl.policies.tokens import TokenPolicy


class Groups(NamedTuple):
    """A batch from a sampler: P prompts, G responses of L tokens to each.

    Attributes:
        prompts: int32 [P, prompt_length].
        tokens: int32 [P, G, L].
        mask: booleans [P, G, L].
        log_q: [P, G, L], nats, as of `rollout.Response`.
        rewards: [P, G], as the sampler's judge gave them, noise included.
    """

    prompts: Array
    tokens: Array
    mask: Array
    log_q: Array
    rewards: Array


SampleGroups = Callable[[Any, Pytree, Sampling, Any], Groups]
"""(key, parameters, sampling, label noise) -> `Groups`."""


def group_sampler(
    task: TokenTask, policy: TokenPolicy, prompts: int, group_size: int, top_k: int = 0
) -> SampleGroups:
    """The function that draws training prompts and answers each of them G times.

    A group answers one prompt and is never cut or mixed: its responses are compared with each
    other alone (arXiv 2508.17850).

    Args:
        task: prompts and rewards.
        policy: what answers.
        prompts: P, static.
        group_size: G, static.
        top_k: as of `rollout.generator`.
    """
    draw = jax.vmap(split(task).training)
    answers = responder(task, policy, top_k)

    def sample(key: Array, parameters: Pytree, sampling: Sampling, label_noise: Array) -> Groups:
        key_prompts, key_answers, key_noise = jax.random.split(key, 3)
        drawn_prompts = draw(jax.random.split(key_prompts, prompts))
        given, rewards = answers(key_answers, parameters, drawn_prompts, group_size, sampling)
        rewards = flipped(key_noise, rewards, label_noise)
        return Groups(drawn_prompts, given.tokens, given.mask, given.log_q, rewards)

    return sample


def responder(task: TokenTask, policy: TokenPolicy, top_k: int = 0) -> Callable[..., Any]:
    """The function (key, parameters, prompts [P, ·], G, sampling) -> responses and exact rewards.

    Responses have leading axes [P, G], rewards are [P, G].
    """
    generate = generator(policy, task.end_token, top_k)
    of_group = jax.vmap(generate, (0, None, None, None))
    reward_of_group = jax.vmap(task.reward, (None, 0, 0))

    def answers(
        key: Array, parameters: Pytree, prompts: Array, group_size: int, sampling: Sampling
    ) -> tuple[Any, jax.Array]:
        keys = jax.random.split(key, (len(prompts), group_size))
        given = jax.vmap(of_group, (0, None, 0, None))(keys, parameters, prompts, sampling)
        return given, jax.vmap(reward_of_group)(prompts, given.tokens, given.mask)

    return answers
