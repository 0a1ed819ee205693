"""The only loop over rounds; it knows no algorithm."""

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
    """Runs rounds first_round … rounds in chunks of one compiled loop.

    The key of a round is ``fold_in(key, round)`` and the number of rounds in a chunk is data:
    the bits of the result depend neither on the chunks nor on where a run was resumed.

    A chunk whose last state is not finite everywhere is run again from its start with a guard
    on every round: the increment of the first round that is not finite is masked, the last
    finite state is kept, and the iteration ends with the chunk that says which round it was.
    (What is not finite stays so, since a state is computed from the one before; so the guard
    costs nothing until it is needed.)

    Args:
        algorithm: anything with ``init`` and ``step``.
        key: key of the run.
        state: state to go on from.
        hparams: traced settings.
        rounds: T, the last round.
        chunk_rounds: most rounds between two visits of the host; evened out over T.
        first_round: 1, or the round to resume at.
    """
    remaining = rounds - first_round + 1
    chunks = -(-remaining // max(1, chunk_rounds))
    length = -(-remaining // max(1, chunks))
    for begin in range(first_round, rounds + 1, length):
        last = min(begin + length - 1, rounds)
        with precision(algorithm.float64):
            span = jnp.asarray([begin, last])
            run = partial(_run_rounds, algorithm, length, key=key, span=span, hparams=hparams)
            reached, info, failed, finite = run(guarded=False, state=state)
            if not finite:
                reached, info, failed, _ = run(guarded=True, state=state)
            state, failed_round = reached, int(failed) if failed >= 0 else None
            info = jax.device_get(info)
        if failed_round is not None:
            last = failed_round - 1
        info = jax.tree.map(lambda rows, kept=last - begin + 1: rows[:kept], info)
        yield Chunk(begin, last, info, state, failed_round)
        if failed_round is not None:
            return


@partial(jax.jit, static_argnames="algorithm")
def _start(algorithm: Algorithm, key: jax.Array, hparams: Pytree) -> tuple[Pytree, Pytree]:
    state = algorithm.init(jax.random.fold_in(key, 0), hparams)
    return state, algorithm.observe(state, hparams)


@partial(jax.jit, static_argnames=("algorithm", "capacity", "guarded"))
def _run_rounds(
    algorithm: Algorithm,
    capacity: int,
    *,
    guarded: bool,
    key: jax.Array,
    span: jax.Array,
    state: Pytree,
    hparams: Pytree,
) -> tuple[Pytree, Pytree, jax.Array, jax.Array]:
    """Rounds span[0] … span[1]: the state, info rows, the failed round or −1, and finiteness."""
    first, last = span
    step = jax.jit(algorithm.step)  # traced once, for the shapes of its rows and for the loop

    def one_round(round: jax.Array, carry: tuple[Pytree, ...]) -> tuple[Pytree, ...]:
        state, failed, rows = carry
        proposal, info = step(jax.random.fold_in(key, round), round, state, hparams)
        if guarded:
            accepted = (failed < 0) & all_finite(proposal)
            failed = jnp.where((failed < 0) & ~accepted, round, failed)
            proposal = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposal, state)
        rows = jax.tree.map(lambda rows, row: rows.at[round - first].set(row), rows, info)
        return proposal, failed, rows

    info = jax.eval_shape(lambda: step(key, first, state, hparams)[1])
    rows = jax.tree.map(lambda row: jnp.zeros((capacity, *row.shape), row.dtype), info)
    never = jnp.full((), -1, span.dtype)
    state, failed, rows = jax.lax.fori_loop(first, last + 1, one_round, (state, never, rows))
    return state, rows, failed, all_finite(state)


def all_finite(tree: Pytree) -> jax.Array:
    """Whether every floating-point leaf is finite, as one boolean scalar."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves] or [jnp.array(True)]))


def to_host(tree: Pytree) -> Pytree:
    """A copy of a pytree as NumPy arrays, in the precision it was computed in."""
    return jax.tree.map(np.asarray, jax.device_get(tree))
