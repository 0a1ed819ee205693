"""The contract of a token task: prompts, their right answers, and noise of the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Registry

Solution = Callable[[Any], tuple[Any, Any]]
"""(prompt) -> (tokens [L], mask [L]), the right answer and which of its tokens count."""


class TokenTask(NamedTuple):
    """A task of tokens 0 … V − 1; its functions are of one prompt and are vmapped outside.

    A response is int32 [L] with a mask [L] of booleans: true up to and including the first end
    of sequence, or throughout. What is masked is no part of the answer.

    Attributes:
        name: as it was registered.
        vocabulary: V, tokens of prompts and of answers, the end of sequence among them.
        prompt_length: tokens of every prompt.
        response_length: L, tokens of the longest answer.
        end_token: the end of sequence, or None where every answer has L tokens.
        prompt: (key) -> int32 [prompt_length].
        reward: (prompt, response [L], mask [L]) -> float32, 1 for a right answer and else 0.
        solution: (prompt) -> (response [L], mask [L]), an answer of reward 1.
        contexts: C, what `context` can say.
        context: (prompt, response [L], position) -> int32 in 0 … C − 1, all that a table looks
            at to choose the token at ``position``. It reads the response before the position
            only, and tells enough to give the right answer.
    """

    name: str
    vocabulary: int
    prompt_length: int
    response_length: int
    end_token: int | None
    prompt: Callable[[Any], Any]
    reward: Callable[[Any, Any, Any], Any]
    solution: Solution
    contexts: int
    context: Callable[[Any, Any, Any], Any]


tasks = Registry("task", TokenTask)
register_task = tasks.register


def reward_of(solution: Solution) -> Callable[[Any, Any, Any], jax.Array]:
    """The reward of a task with one right answer: 1 if every token is right, else 0."""

    def reward(prompt: jax.Array, response: jax.Array, mask: jax.Array) -> jax.Array:
        tokens, counted = solution(prompt)
        same = (mask == counted) & ((response == tokens) | ~counted)
        return jnp.all(same).astype(jnp.float32)

    return reward


def flipped(key: jax.Array, reward: jax.Array, probability: jax.Array) -> jax.Array:
    """A reward as a noisy judge gives it: r with probability 1 − P, and 1 − r with P.

    Args:
        key: of this judgement.
        reward: any shape, 0 or 1; every entry is judged by itself.
        probability: P in [0, 1], traced.
    """
    return jnp.where(jax.random.bernoulli(key, probability, jnp.shape(reward)), 1 - reward, reward)


def before(response: jax.Array, position: jax.Array, first: int) -> jax.Array:
    """The token before a position of a response [L]; ``first`` where there is none."""
    return jnp.where(position == 0, first, response[jnp.maximum(position - 1, 0)])
