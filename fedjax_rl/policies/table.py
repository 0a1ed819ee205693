"""A softmax for every context: the policy of which everything can be computed exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.policies.tokens import TokenPolicy


def table(
    vocabulary: int,
    response_length: int,
    contexts: int,
    context: Callable[[Any, Any, Any], Any],
) -> TokenPolicy:
    """A table [C, V] of logits, zero at first; the token is drawn from the context's row.

    Args:
        vocabulary: V.
        response_length: L.
        contexts: C.
        context: (prompt, response [L], position) -> int32 in 0 … C − 1, from the response
            before the position.
    """
    positions = jnp.arange(response_length, dtype=jnp.int32)

    def logits(parameters: Array, prompt: Array, response: Array) -> jax.Array:
        rows = jax.vmap(context, (None, None, 0))(prompt, response, positions)
        return parameters[rows]

    def following(
        parameters: Array, prompt: Array, cache: Pytree, response: Array, position: Array
    ) -> tuple[jax.Array, Pytree]:
        return parameters[context(prompt, response, position)], cache

    return TokenPolicy(
        vocabulary=vocabulary,
        response_length=response_length,
        init=lambda key: jnp.zeros((contexts, vocabulary), jnp.float32),
        read=lambda parameters, prompt: prompt,
        logits=logits,
        start=tuple,
        next=following,
    )
