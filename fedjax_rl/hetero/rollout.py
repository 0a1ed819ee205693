"""A policy writes responses to prompts, one token after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.policies.tokens import TokenPolicy


class Sampling(NamedTuple):
    """Settings of token sampling; float32, traced.

    Attributes:
        temperature: T > 0, by which logits are divided.
        top_p: share in (0, 1] of the probability that is drawn from, most likely tokens first.
    """

    temperature: Any
    top_p: Any


class Response(NamedTuple):
    """A response of at most L tokens.

    Attributes:
        tokens: int32 [L]; after the end of sequence stands the end of sequence.
        mask: booleans [L], true up to and including the first end of sequence.
        log_q: float32 [L], nats: log-probability of each token under the tempered policy that
            wrote it, softmax(logits / T), and 0 where masked.
    """

    tokens: Any
    mask: Any
    log_q: Any


def sampling(temperature: float = 1.0, top_p: float = 1.0) -> Sampling:
    """Checked settings of how tokens are drawn.

    Raises:
        InvalidInput: a temperature that is not positive and finite, or a share outside (0, 1].
    """
    if not 0 < temperature < float("inf"):
        raise InvalidInput("--temperature", temperature, "a positive number")
    if not 0 < top_p <= 1:
        raise InvalidInput("--top-p", top_p, "a number in (0, 1]")
    return Sampling(jnp.float32(temperature), jnp.float32(top_p))


def generator(
    policy: TokenPolicy, end_token: int | None = None, top_k: int = 0
) -> Callable[[Any, Pytree, Any, Sampling], Response]:
    """The function (key, parameters, prompt, sampling) -> `Response` that writes one response.

    Map it over keys to write a group: what depends on the prompt alone is then computed once
    for the group. Map that over prompts to write a batch.

    Tokens are drawn from softmax(logits / T) restricted to the k most likely tokens, and of
    these to the most likely ones that together reach top_p. ``log_q`` is that of the tempered
    policy without the restriction, as is what `log_probabilities` gives the learner: the ratio
    of the two compares policies, not truncations.

    Args:
        policy: what writes.
        end_token: the end of sequence, or None if there is none.
        top_k: k, tokens drawn from at most; 0 for all.

    Raises:
        InvalidInput: a negative ``top_k``.
    """
    if top_k < 0:
        raise InvalidInput("--top-k", top_k, "at least 1, or 0 for all tokens")
    length, vocabulary = policy.response_length, policy.vocabulary

    def generate(key: Array, parameters: Pytree, prompt: Array, sampling: Sampling) -> Response:
        prefix = policy.read(parameters, prompt)
        # All at once, ahead of the loop, whose body costs what its small operations cost to start.
        noise = jax.random.gumbel(key, (length, vocabulary))

        def write(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
            cache, tokens, ended = carry
            position, noise = now
            logits, cache = policy.next(parameters, prefix, cache, tokens, position)
            logits = logits / sampling.temperature
            drawn = jnp.where(allowed(logits, sampling.top_p, top_k), logits + noise, -jnp.inf)
            token = jnp.argmax(drawn).astype(jnp.int32)
            log_q = _of_token(logits, token)
            now_ended = ended
            if end_token is not None:
                token = jnp.where(ended, end_token, token)
                log_q = jnp.where(ended, 0.0, log_q)
                now_ended = token == end_token
            tokens = tokens.at[position].set(token)
            return (cache, tokens, now_ended), (~ended, log_q)

        carry = policy.start(), jnp.zeros(length, jnp.int32), jnp.zeros((), bool)
        positions = jnp.arange(length, dtype=jnp.int32)
        (_, tokens, _), (mask, log_q) = jax.lax.scan(write, carry, (positions, noise))
        return Response(tokens, mask, log_q)

    return generate


def log_probabilities(policy: TokenPolicy) -> Callable[[Pytree, Any, Any, Any, Any], jax.Array]:
    """The function (parameters, prompt, tokens [L], mask [L], temperature) -> log p [L], nats.

    Of each token under softmax(logits / T), 0 where masked; differentiable in the parameters.
    Mapped over the responses of a group and not over its prompt, it reads the prompt once.
    """

    def evaluate(
        parameters: Pytree, prompt: Array, tokens: Array, mask: Array, temperature: Array
    ) -> jax.Array:
        logits = policy.logits(parameters, policy.read(parameters, prompt), tokens) / temperature
        return jnp.where(mask, _of_token(logits, tokens), 0.0)

    return evaluate


def allowed(logits: jax.Array, top_p: Array, top_k: int) -> jax.Array:
    """Mask of the tokens [V] that top-k and top-p sampling may draw.

    The k most likely, and of these, renormalised, every token for which those more likely than
    it come to less than top_p. Among equals the smaller token counts as the more likely, so
    that no more than k remain. There is always one: the most likely.

    Every pair of tokens is compared, V² operations without a sort: vocabularies are small.

    Args:
        logits: [V].
        top_p: in (0, 1], traced; 1 allows all.
        top_k: static; 0 allows all.
    """
    tokens = jnp.arange(len(logits))
    tied = (logits == logits[:, None]) & (tokens < tokens[:, None])
    ahead = (logits > logits[:, None]) | tied
    in_top_k = jnp.ones(len(logits), bool) if top_k == 0 else ahead.sum(1) < top_k
    probabilities = jax.nn.softmax(jnp.where(in_top_k, logits, -jnp.inf))
    mass_ahead = jnp.sum(jnp.where(ahead, probabilities, 0.0), axis=1)
    return in_top_k & ((mass_ahead < top_p) | (top_p >= 1))


def _of_token(logits: jax.Array, token: jax.Array) -> jax.Array:
    """Log-probability [...] of tokens [...] under logits [..., V]; no scatter in its gradient."""
    one_hot = jax.nn.one_hot(token, logits.shape[-1], dtype=logits.dtype)
    return (jax.nn.log_softmax(logits) * one_hot).sum(-1)
