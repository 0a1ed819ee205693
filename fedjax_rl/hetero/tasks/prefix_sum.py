"""Running sums: each token of the answer needs the one before it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.checks import check_count
from fedjax_rl.hetero.tasks.task import TokenTask, before, reward_of


def prefix_sum(length: int = 24, modulus: int = 8) -> TokenTask:
    """The sums of the first 1, 2, … T numbers modulo V; uniform prompts.

    A table looks at the last sum and the number to add: V² contexts, which are an addition
    table. One wrong sum is a wrong answer, so a policy right about a token with probability p
    earns p^T.

    Args:
        length: T, numbers in a prompt and tokens of the answer.
        modulus: V.

    Raises:
        InvalidInput: a length below 1 or a modulus below 2.
    """
    check_count("length", length, least=1)
    check_count("modulus", modulus, least=2)

    def prompt(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (length,), 0, modulus, jnp.int32)

    def solution(prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.cumsum(prompt, dtype=jnp.int32) % modulus, jnp.ones(length, bool)

    def context(prompt: jax.Array, response: jax.Array, position: jax.Array) -> jax.Array:
        return before(response, position, first=0) * modulus + prompt[position]

    return TokenTask(
        name="prefix-sum",
        vocabulary=modulus,
        prompt_length=length,
        response_length=length,
        end_token=None,
        prompt=prompt,
        reward=reward_of(solution),
        solution=solution,
        contexts=modulus**2,
        context=context,
    )
