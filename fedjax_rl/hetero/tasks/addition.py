"""Adding two numbers of several digits, with carries."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.checks import check_count
from fedjax_rl.hetero.tasks.task import TokenTask, reward_of


def addition(digits: int = 4, base: int = 10) -> TokenTask:
    """The D + 1 digits of a sum of two numbers of D digits, least significant first.

    The prompt holds the digits of one number, then those of the other, in the same order; all
    are uniform. A table looks at the two digits to add and at the carry: 2 b² contexts. There
    are b^(2D) prompts, few where both are small.

    Args:
        digits: D.
        base: b, which is also V.

    Raises:
        InvalidInput: fewer than 1 digit or a base below 2.
    """
    check_count("digits", digits, least=1)
    check_count("base", base, least=2)

    def prompt(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (2 * digits,), 0, base, jnp.int32)

    def columns(prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Both numbers' digits [D + 1, 2], and the carry into each column [D + 1]."""
        pairs = jnp.pad(prompt.reshape(2, digits).T, ((0, 1), (0, 0)))
        totals = pairs.sum(1)
        carries, _ = jax.lax.associative_scan(_joined, (totals >= base, totals == base - 1))
        return pairs, jnp.pad(carries[:-1], (1, 0)).astype(jnp.int32)

    def solution(prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        pairs, carries = columns(prompt)
        return (pairs.sum(1) + carries) % base, jnp.ones(digits + 1, bool)

    def context(prompt: jax.Array, response: jax.Array, position: jax.Array) -> jax.Array:
        pairs, carries = columns(prompt)
        first, second = pairs[position]
        return (carries[position] * base + first) * base + second

    return TokenTask(
        name="addition",
        vocabulary=base,
        prompt_length=2 * digits,
        response_length=digits + 1,
        end_token=None,
        prompt=prompt,
        reward=reward_of(solution),
        solution=solution,
        contexts=2 * base**2,
        context=context,
    )


def _joined(low: tuple, high: tuple) -> tuple[jax.Array, jax.Array]:
    """Whether two neighbouring blocks of columns make a carry, and whether they pass one on."""
    (low_makes, low_passes), (high_makes, high_passes) = low, high
    return high_makes | (high_passes & low_makes), low_passes & high_passes
