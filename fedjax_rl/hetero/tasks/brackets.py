"""Completing a word of brackets; answers differ in length."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.checks import check_count, checked, in_range
from fedjax_rl.hetero.tasks.task import TokenTask, reward_of


def brackets(length: int = 12, kinds: int = 3, closing: float = 0.4) -> TokenTask:
    """The closing brackets that complete a word of K kinds of brackets, then an end of sequence.

    Tokens 0 … K − 1 open, K … 2K − 1 close, 2K ends. Each token of a prompt closes the innermost
    open bracket with a given probability and opens one otherwise, of a uniform kind; where
    nothing is open it opens one. A table looks at the position and at the kind of the bracket
    that is to be closed there, or that there is none: (length + 1)(K + 1) contexts.

    Args:
        length: tokens of a prompt; the longest answer closes as many and ends.
        kinds: K.
        closing: probability in [0, 1] that a token of a prompt closes.

    Raises:
        InvalidInput: a length or number of kinds below 1, or no probability.
    """
    check_count("length", length, least=1)
    check_count("kinds", kinds, least=1)
    checked("closing", closing, in_range(0, 1))
    end = 2 * kinds

    def prompt(key: jax.Array) -> jax.Array:
        key_closes, key_kinds = jax.random.split(key)
        wants = jax.random.bernoulli(key_closes, float(closing), (length,))
        kind = jax.random.randint(key_kinds, (length,), 0, kinds, jnp.int32)

        def step(depth: jax.Array, wants: jax.Array) -> tuple[jax.Array, jax.Array]:
            opens = ~wants | (depth == 0)
            return depth + jnp.where(opens, 1, -1), opens

        _, opens = jax.lax.scan(step, jnp.zeros((), jnp.int32), wants)
        partner = jax.vmap(_last_opened, (None, 0, 0))(
            opens, _depths(opens) + 1, _positions(length)
        )
        return jnp.where(opens, kind, kinds + kind[partner])

    def unclosed(prompt: jax.Array, position: jax.Array) -> jax.Array:
        """Kind of the bracket that the answer's token at a position closes; K if none is left."""
        opens = prompt < kinds
        depth = _depths(opens)[-1] - position
        return jnp.where(depth > 0, prompt[_last_opened(opens, depth, length)], kinds)

    def solution(prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
        # The kind K that stands for none left makes the token K + K, which is the end.
        tokens = kinds + jax.vmap(unclosed, (None, 0))(prompt, _positions(length + 1))
        return tokens, _positions(length + 1) <= _depths(prompt < kinds)[-1]

    def context(prompt: jax.Array, response: jax.Array, position: jax.Array) -> jax.Array:
        return position * (kinds + 1) + unclosed(prompt, position)

    return TokenTask(
        name="brackets",
        vocabulary=2 * kinds + 1,
        prompt_length=length,
        response_length=length + 1,
        end_token=end,
        prompt=prompt,
        reward=reward_of(solution),
        solution=solution,
        contexts=(length + 1) * (kinds + 1),
        context=context,
    )


def _positions(length: int) -> jax.Array:
    return jnp.arange(length, dtype=jnp.int32)


def _depths(opens: jax.Array) -> jax.Array:
    """Brackets open after each token, int32 [n]."""
    return jnp.cumsum(jnp.where(opens, 1, -1), dtype=jnp.int32)


def _last_opened(opens: jax.Array, depth: jax.Array, end: jax.Array | int) -> jax.Array:
    """Place of the last token before ``end`` that opened the bracket of a depth."""
    positions = _positions(len(opens))
    found = opens & (_depths(opens) == depth) & (positions < end)
    return jnp.max(jnp.where(found, positions, 0))
