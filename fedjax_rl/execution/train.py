"""The only scan over rounds; it knows no algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.precision import precision


class Chunk(NamedTuple):
    """What the host sees between two calls of the compiled scan.

    Attributes:
        first_round: round of the first row of ``info``.
        last_round: round of the last row; ``state`` is the state after it.
        info: host arrays with a leading axis of rounds, none at or after a failed one.
        state: device state, finite: a round that produced a non-finite value was not applied.
        failed_round: the first round that was not finite, or None.
    """

    first_round: int
    last_round: int
    info: Pytree
    state: Pytree
    failed_round: int | None


def start(algorithm: Algorithm, key: jax.Array, hparams: Pytree) -> tuple[Pytree, Pytree]:
    """The initial state and its observation, the row of round 0 (on the host)."""
    with precision(algorithm.float64):
        state, row = _start(algorithm, key, hparams)
        return state, jax.device_get(row)


def train(
    algorithm: Algorithm,
    key: jax.Array,
    state: Pytree,
    hparams: Pytree,
    *,
    rounds: int,
    chunk_rounds: int,
    first_round: int = 1,
) -> Iterator[Chunk]:
    """Runs rounds first_round … rounds in chunks of one compiled `jax.lax.scan`.

    The key of a round is ``fold_in(key, round)``: the result depends neither on the chunks nor
    on where a run was resumed. Each step is guarded: where any floating-point value of the new
    state is not finite the increment is masked, the last finite state is kept for good, and the
    iteration ends after the chunk that says which round it was.

    Args:
        algorithm: anything with ``init`` and ``step``.
        key: key of the run.
        state: state to go on from.
        hparams: traced settings.
        rounds: T, the last round.
        chunk_rounds: rounds between two visits of the host, static; evened out over T.
        first_round: 1, or the round to resume at.
    """
    remaining = rounds - first_round + 1
    chunks = -(-remaining // max(1, chunk_rounds))
    length = -(-remaining // max(1, chunks))
    for begin in range(first_round, rounds + 1, length):
        with precision(algorithm.float64):
            last = min(begin + length - 1, rounds)
            state, info, failed = _run_chunk(
                algorithm, length, key, jnp.asarray([begin, last]), state, hparams
            )
            info, failed = jax.device_get((info, failed))
        failed_round = int(failed) if failed >= 0 else None
        if failed_round is not None:
            last = failed_round - 1
        info = jax.tree.map(lambda leaf, kept=last - begin + 1: leaf[:kept], info)
        yield Chunk(begin, last, info, state, failed_round)
        if failed_round is not None:
            return


@partial(jax.jit, static_argnames="algorithm")
def _start(algorithm: Algorithm, key: jax.Array, hparams: Pytree) -> tuple[Pytree, Pytree]:
    state = algorithm.init(jax.random.fold_in(key, 0), hparams)
    return state, algorithm.observe(state, hparams)


@partial(jax.jit, static_argnames=("algorithm", "length"))
def _run_chunk(
    algorithm: Algorithm,
    length: int,
    key: jax.Array,
    span: jax.Array,
    state: Pytree,
    hparams: Pytree,
) -> tuple[Pytree, Pytree, jax.Array]:
    begin, last = span

    def guarded_round(
        carry: tuple[Pytree, jax.Array], round: jax.Array
    ) -> tuple[tuple[Pytree, jax.Array], Pytree]:
        state, failed = carry
        proposal, info = algorithm.step(jax.random.fold_in(key, round), round, state, hparams)
        wanted = (failed < 0) & (round <= last)
        accepted = wanted & all_finite(proposal)
        failed = jnp.where(wanted & ~accepted, round, failed)
        state = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, state)
        return (state, failed), info

    rounds = begin + jnp.arange(length)
    never = jnp.full((), -1, rounds.dtype)
    (state, failed), info = jax.lax.scan(guarded_round, (state, never), rounds)
    return state, info, failed


def all_finite(tree: Pytree) -> jax.Array:
    """Whether every floating-point leaf is finite, as one boolean scalar."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves] or [jnp.array(True)]))


def to_host(tree: Pytree) -> Pytree:
    """A copy of a pytree as NumPy arrays, in the precision it was computed in."""
    return jax.tree.map(np.asarray, jax.device_get(tree))
