"""The contract of a policy over tokens, with a cache of the prompt or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from fedjax_rl.algorithm import Array, Pytree


class TokenPolicy(NamedTuple):
    """A distribution over responses of L tokens to a prompt; written for one response.

    A prompt is read once, and what is remembered of it serves every response to it: mapped over
    responses and not over the prompt, ``read`` is computed once per prompt.

    Attributes:
        vocabulary: V.
        response_length: L.
        init: (key) -> parameters.
        read: (parameters, prompt) -> prefix, what is remembered of the prompt.
        logits: (parameters, prefix, response [L]) -> [L, V], of the token at each position
            given the prompt and the response before it.
        start: () -> cache, the memory of a response without tokens.
        next: (parameters, prefix, cache, response [L], position) -> (logits [V], cache), of one
            token given the tokens before the position; the others are not looked at. Positions
            come in order, from 0.
    """

    vocabulary: int
    response_length: int
    init: Callable[[Any], Pytree]
    read: Callable[[Pytree, Any], Pytree]
    logits: Callable[[Pytree, Pytree, Any], Any]
    start: Callable[[], Pytree]
    next: Callable[[Pytree, Pytree, Pytree, Any, Any], tuple[Any, Pytree]]


def without_memory(policy: TokenPolicy) -> TokenPolicy:
    """A policy that computes each token from the whole prompt and response, without a cache.

    It says what the cached computation must agree with, and what the cache saves.
    """

    def logits(parameters: Pytree, prompt: Array, response: Array) -> Array:
        return policy.logits(parameters, policy.read(parameters, prompt), response)

    def following(
        parameters: Pytree, prompt: Array, cache: Pytree, response: Array, position: Array
    ) -> tuple[jax.Array, Pytree]:
        return logits(parameters, prompt, response)[position], cache

    return policy._replace(
        read=lambda parameters, prompt: prompt, logits=logits, start=tuple, next=following
    )
