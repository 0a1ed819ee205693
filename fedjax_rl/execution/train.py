"""The only loop over rounds; it knows no algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Algorithm, Array, Pytree
from fedjax_rl.execution.placement import may_deadlock, on_host
from fedjax_rl.precision import precision


class Span(NamedTuple):
    """The state and rows that the host receives after a span of rounds.

    Attributes:
        first_round: round of the first row of ``info``.
        last_round: round of the last row; ``state`` is the state after it.
        info: host arrays with a leading axis of rounds, none at or after a failed one.
        state: device state, finite: a round that produced a non-finite value was not applied.
        failed_round: the first round that was not finite, or None; always None for a sweep.
        failed_members: [B], for a sweep, each member's first round that was not finite or −1.
            The rows of a member from that round on hold what it would have become.
    """

    first_round: int
    last_round: int
    info: Pytree
    state: Pytree
    failed_round: int | None
    failed_members: np.ndarray | None = None

    @property
    def failed(self) -> np.ndarray:
        """[] or [B], the first round that was not finite, or −1; what `train` goes on from."""
        if self.failed_members is not None:
            return self.failed_members
        return np.array(-1 if self.failed_round is None else self.failed_round)


def start(algorithm: Algorithm, key: jax.Array, hparams: Pytree) -> tuple[Pytree, Pytree]:
    """The initial state and its observation, the row of round 0 (on the host)."""
    with precision(algorithm.float64):
        state, row = _start(algorithm, key, hparams)
        return state, on_host(row)


def train(
    algorithm: Algorithm,
    key: jax.Array,
    state: Pytree,
    hparams: Pytree,
    *,
    rounds: int,
    span_rounds: int,
    first_round: int = 1,
    failed: np.ndarray | None = None,
) -> Iterator[Span]:
    """Runs rounds first_round … rounds in spans of one compiled loop.

    The key of a round is ``fold_in(key, round)`` and the number of rounds in a span is data:
    the bits of the result depend neither on the spans nor on where a run was resumed. A run
    that is resumed after one of its spans has the spans that it would have had.

    A span whose last state is not finite everywhere is run again from its start with a guard
    on every round: the increment of the first round that is not finite is masked, the last
    finite state is kept, and the iteration ends with the span that says which round it was.
    (What is not finite stays so, since a state is computed from the one before; so the guard
    costs nothing until it is needed.) In a sweep every member is guarded for itself, and the
    others go on.

    Args:
        algorithm: anything with ``init`` and ``step``.
        key: key of the run.
        state: state to go on from.
        hparams: traced settings.
        rounds: T, the last round.
        span_rounds: most rounds between two visits of the host, static. The first span is a
            single round, since it is also the one that compiles.
        first_round: 1, or the round to resume at.
        failed: `Span.failed` of the span to resume after; unless given, nothing has failed.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from fedjax_rl.algorithm import Algorithm
        >>> def begin(key, factor):
        ...     return jnp.ones(())
        >>> def step(key, round, state, factor):
        ...     return factor * state, factor * state
        >>> halving = Algorithm(begin, step, observe=lambda state, factor: state)
        >>> key, factor = jax.random.key(0), np.float32(0.5)
        >>> state, _ = start(halving, key, factor)
        >>> for span in train(halving, key, state, factor, rounds=5, span_rounds=2):
        ...     print(span.first_round, span.info.tolist())
        1 [0.5]
        2 [0.25, 0.125]
        4 [0.0625, 0.03125]
    """
    with precision(algorithm.float64):
        hparams = jax.device_put(hparams)  # once, or every launch would send host arrays again

    def launch(span: tuple[int, int], state: Pytree, failed: Array) -> _Launched:
        with precision(algorithm.float64):
            outcome = _run_rounds(
                algorithm,
                span_rounds,
                guarded=guarded,
                key=key,
                span=np.array(span),
                state=state,
                failed=failed,
                hparams=hparams,
            )
        return _Launched(span, *outcome)

    def launch_after(launched: _Launched, span: tuple[int, int]) -> _Launched:
        return launch(span, launched.state, launched.failed)

    reached: Array = np.full(_members(algorithm), -1) if failed is None else failed
    guarded = bool((reached >= 0).any())
    ahead = [
        (max(begin, first_round), end)
        for begin, end in spans(1, rounds, span_rounds)
        if end >= first_round
    ]
    if not ahead or bool((reached >= 0).all()):
        return
    launched = launch(ahead[0], state, reached)
    # The host reads a span while the device is at work on the next one; but what is exchanged
    # for the one must not meet what is exchanged for the other.
    runs_ahead = not may_deadlock(launched.state)
    for following in [*ahead[1:], None]:
        early = launch_after(launched, following) if following and runs_ahead else None
        if not guarded and not on_host(launched.finite).all():
            guarded = True
            launched = launch(launched.span, state, reached)
            early = launch_after(launched, following) if following and runs_ahead else None
        landed = _landed(launched)
        yield landed
        if following is None or bool((landed.failed >= 0).all()):
            return
        upcoming = early or launch_after(launched, following)
        state, reached, launched = launched.state, launched.failed, upcoming


def trace_ahead(algorithm: Algorithm, key: jax.Array, hparams: Pytree, span_rounds: int) -> None:
    """Traces what `start` and `train` run, which they then need not; nothing is compiled.

    Args:
        algorithm: as of `train`.
        key: likewise; only its shape matters.
        hparams: likewise.
        span_rounds: likewise.
    """
    with precision(algorithm.float64):
        hparams = jax.device_put(hparams)
        state, _ = jax.eval_shape(partial(_start, algorithm), key, hparams)
        _run_rounds.trace(
            algorithm,
            span_rounds,
            guarded=False,
            key=key,
            span=np.array((1, 1)),
            state=state,
            failed=np.full(_members(algorithm), -1),
            hparams=hparams,
        )


class _Launched(NamedTuple):
    """A span on its way: arrays of the device, which may still be computing them."""

    span: tuple[int, int]
    state: Pytree
    info: Pytree
    failed: jax.Array
    finite: jax.Array


def _landed(launched: _Launched) -> Span:
    begin, last = launched.span
    failed, info = on_host((launched.failed, launched.info))
    failed_round = int(failed) if failed.ndim == 0 and failed >= 0 else None
    if failed_round is not None:
        last = failed_round - 1
    info = jax.tree.map(lambda rows: rows[: last - begin + 1], info)
    members = failed if failed.ndim else None
    return Span(begin, last, info, launched.state, failed_round, members)


def _members(algorithm: Algorithm) -> tuple[int, ...]:
    """Shape of what is said of each member: [B] for a sweep, else a scalar."""
    return () if algorithm.members is None else (algorithm.members,)


def spans(first_round: int, rounds: int, span_rounds: int) -> list[tuple[int, int]]:
    """First and last round of each span: one round, then spans of even length."""
    remaining = rounds - first_round
    spans = -(-remaining // span_rounds)
    ends = [first_round + remaining * index // max(1, spans) for index in range(spans + 1)]
    return [(first_round, first_round), *((ends[i] + 1, ends[i + 1]) for i in range(spans))]


@partial(jax.jit, static_argnames="algorithm")
def _start(algorithm: Algorithm, key: jax.Array, hparams: Pytree) -> tuple[Pytree, Pytree]:
    # Rounds count from 1, so that 0 is the initial state's alone.
    state = algorithm.init(_round_key(key, 0), hparams)
    return state, algorithm.observe(state, hparams)


# The state is not donated: a span that was not finite is run again from it.
@partial(jax.jit, static_argnames=("algorithm", "capacity", "guarded"))
def _run_rounds(
    algorithm: Algorithm,
    capacity: int,
    *,
    guarded: bool,
    key: jax.Array,
    span: jax.Array,
    state: Pytree,
    failed: jax.Array,
    hparams: Pytree,
) -> tuple[Pytree, Pytree, jax.Array, jax.Array]:
    """Rounds span[0] … span[1]: the state, info rows, failed rounds or −1, and finiteness.

    Of a sweep both are [B]: members on several devices exchange nothing.
    """
    first, last = span
    step = jax.jit(algorithm.step)  # traced once, for the shapes of its rows and for the loop

    def one_round(round: jax.Array, carry: tuple[Pytree, ...]) -> tuple[Pytree, ...]:
        state, failed, rows = carry
        proposal, info = step(_round_key(key, round), round, state, hparams)
        if guarded:
            accepted = (failed < 0) & all_finite(proposal, algorithm.members)
            failed = jnp.where((failed < 0) & ~accepted, round, failed)
            proposal = _where(accepted, proposal, state)
        write = partial(
            jax.lax.dynamic_update_index_in_dim,
            index=round - first,
            axis=0,
            allow_negative_indices=False,  # which would be looked for in every write
        )
        rows = jax.tree.map(write, rows, info)
        return proposal, failed, rows

    info = jax.eval_shape(lambda: step(key, first, state, hparams)[1])
    rows = jax.tree.map(lambda row: jnp.zeros((capacity, *row.shape), row.dtype), info)
    # A loop's carry keeps its types, and the round that may be written to it is of the span's.
    carry = (state, failed.astype(span.dtype), rows)
    state, failed, rows = jax.lax.fori_loop(first, last + 1, one_round, carry)
    return state, rows, failed, all_finite(state, algorithm.members)


def all_finite(tree: Pytree, members: int | None = None) -> jax.Array:
    """Whether every floating-point leaf is finite: one boolean, or one for each of B members."""
    shape = (-1,) if members is None else (members, -1)
    finite = [
        jnp.isfinite(leaf).reshape(shape).all(-1)
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return jnp.all(jnp.stack(finite or [jnp.array(True)]), axis=0)


def _round_key(key: jax.Array, round: jax.Array | int) -> jax.Array:
    """``fold_in(key, round)`` of one key, or of each of B keys."""
    return (
        jax.random.fold_in(key, round)
        if key.ndim == 0
        else jax.vmap(jax.random.fold_in, (0, None))(key, round)
    )


def _where(accepted: jax.Array, new: Pytree, old: Pytree) -> Pytree:
    """Leaves of ``new`` where accepted, a scalar or [B], and of ``old`` elsewhere."""

    def pick(left: jax.Array, right: jax.Array) -> jax.Array:
        mask = accepted.reshape(accepted.shape + (1,) * (left.ndim - accepted.ndim))
        return jnp.where(mask, left, right)

    return jax.tree.map(pick, new, old)


def to_host(tree: Pytree) -> Pytree:
    """A copy of a pytree as NumPy arrays, in the precision it was computed in."""
    return jax.tree.map(np.asarray, on_host(tree))
