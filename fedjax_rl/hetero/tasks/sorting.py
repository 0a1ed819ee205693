"""Sorting numbers, equal ones included."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.checks import check_count
from fedjax_rl.hetero.tasks.task import TokenTask, before, reward_of


def sorting(length: int = 8, values: int = 8) -> TokenTask:
    """The numbers of the prompt in ascending order; uniform prompts.

    A table looks at the last number placed, the next larger one in the prompt, and whether a
    copy of the last one is still to be placed: 2 (V + 1)² contexts.

    Args:
        length: numbers in a prompt and tokens of the answer.
        values: V, the numbers are 0 … V − 1.

    Raises:
        InvalidInput: a length below 1 or fewer than 2 values.
    """
    check_count("length", length, least=1)
    check_count("values", values, least=2)

    def prompt(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (length,), 0, values, jnp.int32)

    def solution(prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.sort(prompt), jnp.ones(length, bool)

    def context(prompt: jax.Array, response: jax.Array, position: jax.Array) -> jax.Array:
        last = before(response, position, first=-1)
        larger = jnp.min(jnp.where(prompt > last, prompt, values))
        placed = jnp.sum((response == last) & (jnp.arange(length) < position))
        more = jnp.sum(prompt == last) > placed
        return ((last + 1) * (values + 1) + larger) * 2 + more

    return TokenTask(
        name="sorting",
        vocabulary=values,
        prompt_length=length,
        response_length=length,
        end_token=None,
        prompt=prompt,
        reward=reward_of(solution),
        solution=solution,
        contexts=2 * (values + 1) ** 2,
        context=context,
    )
