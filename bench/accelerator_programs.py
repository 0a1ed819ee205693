"""Rounds as one compiled program: its compilation, memory and work, and how long rounds take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bench.harness import interleaved
from bench.products import Products, products_of
from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.precision import precision

DETERMINISTIC = {"xla_gpu_deterministic_ops": True}
"""For `jax.stages.Lowered.compile`: reductions and scatters in one order."""
ROUNDS_AT_MOST = 10_000


class Rounds(NamedTuple):
    """Rounds of an algorithm, compiled for as many of them as a call says.

    Attributes:
        call: (key, state, hparams, first, count) -> the state after them and the last row.
        key: of a run, or [B] of members.
        hparams: on the device.
        state: to begin with.
        float64: whether it computes in double precision.
        described: seconds to trace and to compile, bytes, and what one round multiplies.
    """

    call: Any
    key: Any
    hparams: Pytree
    state: Pytree
    float64: bool
    described: dict[str, Any]

    def run(self, count: int, state: Pytree | None = None) -> tuple[Pytree, Pytree]:
        """The state after so many rounds from the start, and the row of the last; waits."""
        begin = self.state if state is None else state
        with precision(self.float64):
            outcome: tuple[Pytree, Pytree] = jax.block_until_ready(
                self.call(self.key, begin, self.hparams, np.int32(1), np.int32(count))
            )
        return outcome


def several(algorithm: Algorithm) -> Callable[..., Any]:
    """(key, state, hparams, first, count) -> state and last row of so many rounds."""

    def key_of(key: Any, round: Any) -> Any:
        if algorithm.members is None:
            return jax.random.fold_in(key, round)
        return jax.vmap(jax.random.fold_in, (0, None))(key, round)

    def rounds(key: Any, state: Pytree, hparams: Pytree, first: Any, count: Any) -> Any:
        step = jax.jit(algorithm.step)  # traced once, for its row and for the loop

        def one(round: Any, carry: Any) -> Any:
            return step(key_of(key, round), round, carry[0], hparams)

        row = jax.eval_shape(lambda: step(key, first, state, hparams)[1])
        empty = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), row)
        return jax.lax.fori_loop(first, first + count, one, (state, empty))

    return rounds


def compiled(
    algorithm: Algorithm, key: Any, hparams: Pytree, options: dict[str, Any] | None = None
) -> Rounds:
    """Traces and compiles rounds, and draws the initial state.

    Args:
        algorithm: what a round is.
        key: of a run, or [B] of members.
        hparams: traced settings.
        options: of XLA, for this program alone.
    """
    with precision(algorithm.float64):
        hparams = jax.device_put(hparams)
        begun = time.perf_counter()
        state = jax.jit(algorithm.init)(key, hparams)
        started = time.perf_counter()
        arguments = (key, state, hparams, np.int32(1), np.int32(1))
        lowered = jax.jit(several(algorithm)).lower(*arguments)
        traced = time.perf_counter()
        call = lowered.compile(compiler_options=options)
        ended = time.perf_counter()
        work: Products = products_of(algorithm.step, key, np.int32(1), state, hparams)
    memory = call.memory_analysis()
    described = {
        "seconds_of_start": started - begun,
        "trace_seconds": traced - started,
        "compile_seconds": ended - traced,
        "bytes": _bytes(memory),
        "flops": work.flops,
        "bytes_moved": work.bytes,
        "precision": "float64" if algorithm.float64 else "float32",
    }
    return Rounds(call, key, hparams, state, algorithm.float64, described)


def _bytes(memory: Any) -> int | None:
    """What a program holds at once; None where the backend does not say."""
    if memory is None:
        return None
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    return int(held + memory.output_size_in_bytes - memory.alias_size_in_bytes)


class Turns(NamedTuple):
    """How many repeats of how long.

    Attributes:
        seconds: of a turn, about.
        repeats: of all competitors in turn.
    """

    seconds: float
    repeats: int


QUICK, FULL = Turns(0.01, 2), Turns(0.4, 5)


def turns_of(quick: bool) -> Turns:
    """Those of a run."""
    return QUICK if quick else FULL


def count_for(work: Callable[[int], object], seconds: float) -> int:
    """How often within so many seconds; ``work`` is warm after it."""
    work(1)
    begun = time.perf_counter()
    work(1)
    each = max(time.perf_counter() - begun, 1e-6)
    return int(np.clip(round(seconds / each), 1, ROUNDS_AT_MOST))


def taking_turns(works: dict[str, Callable[[int], object]], turns: Turns) -> dict[str, list[float]]:
    """Seconds of one repetition of each competitor, turn by turn."""
    counts = {name: count_for(work, turns.seconds) for name, work in works.items()}
    clock = interleaved(
        {name: lambda name=name: works[name](counts[name]) for name in works}, turns.repeats
    )
    return {name: [second / counts[name] for second in clock[name]] for name in works}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def rate(units: float, seconds: list[float]) -> dict[str, float]:
    """Units per second: median, least and most over turns."""
    return spread([units / each for each in seconds])
