"""Prompts held out of training, told apart by what they are and not by when they were drawn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.precision import precision

HELD_OUT_SHARE = 8
"""One prompt in so many is held out."""
INSPECTED = 1024
"""Prompts looked at to see whether a task can be split."""


class Prompts(NamedTuple):
    """Two ways to draw a prompt, which never give the same one.

    Attributes:
        training: (key) -> prompt, of those to train on.
        held_out: (key) -> prompt, of those to evaluate on.
    """

    training: Callable[[Any], Any]
    held_out: Callable[[Any], Any]


@functools.lru_cache(maxsize=32)
@precision(False)
def split(task: TokenTask) -> Prompts:
    """The task's distribution of prompts, cut in two by a hash of the prompt.

    Each side is the distribution given that the hash falls there, drawn by rejection: an eighth
    of all prompts, picked without regard to what they mean, is never trained on, however many
    are drawn. For a task with few prompts this is what keeps a table of answers from passing
    for a skill; the evaluation is then over few prompts (addition of single decimal digits has
    100, about 12 of them held out).

    Raises:
        InvalidInput: too few different prompts to hold any out.
    """

    @jax.jit
    def held_out_share(key: jax.Array) -> jax.Array:
        prompts = jax.vmap(task.prompt)(jax.random.split(key, INSPECTED))
        return jnp.mean(jax.vmap(is_held_out)(prompts))

    if not 0 < float(held_out_share(jax.random.key(0))) < 1:
        raise InvalidInput("--task", repr(task.name), "more different prompts, to hold some out")

    def draw(key: jax.Array, wanted: bool) -> jax.Array:
        def again(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            attempt, _ = carry
            return attempt + 1, task.prompt(jax.random.fold_in(key, attempt + 1))

        first = jnp.zeros((), jnp.int32)
        start = first, task.prompt(jax.random.fold_in(key, first))
        return jax.lax.while_loop(lambda carry: is_held_out(carry[1]) != wanted, again, start)[1]

    return Prompts(training=lambda key: draw(key, False), held_out=lambda key: draw(key, True))


def is_held_out(prompt: jax.Array) -> jax.Array:
    """Whether a prompt int32 [n] is kept for evaluation: a hash of it is 0 modulo 8.

    The hash adds up one 32-bit word per position and token and scrambles the sum; a word is
    scrambled in the way of MurmurHash3, whose finaliser changes half the bits of its output for
    any change of its input.
    """
    positions = jnp.arange(prompt.size, dtype=jnp.uint32) + jnp.uint32(1)
    hashes = _scrambled(positions * jnp.uint32(0x9E3779B9) ^ prompt.astype(jnp.uint32))
    total = jnp.sum(hashes, dtype=jnp.uint32)
    return _scrambled(total) % jnp.uint32(HELD_OUT_SHARE) == 0


def _scrambled(word: jax.Array) -> jax.Array:
    """MurmurHash3's finaliser of 32-bit words."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
