"""Estimates of what a member of a sweep needs, from its program, and the free memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.precision import precision
from fedjax_rl.training.protocol import Assembled

COPIES_OF_STATE = 3
"""Before a round, after it, and the one that a guard would go back to."""
LARGE_AT_ONCE = 4
"""How many arrays as large as the largest a step may hold at once; a guess."""
TERMS_AT_ONCE = 4
"""Of a product of matrices, in the time of a number that is computed by itself; a guess."""
PROCESS_BYTES = 800 << 20
"""Of a process that runs chunks, whatever they are: about 300 MB with finite problems and 730 with
networks, while it compiles these 1.3 GB, but one process does at a time (`bench/workers.py`)."""
CONTROL_GROUP = Path("/sys/fs/cgroup")


class Needs(NamedTuple):
    """What a member needs while it runs, by an estimate.

    Attributes:
        bytes: of memory.
        operations: of all its rounds, in numbers that are computed one by one, at least: of loops
            whose length only the data say one turn is counted, of branches the smallest.
    """

    bytes: int
    operations: float


def needs_of_member(assembled: Assembled, batched: Sequence[bool]) -> Needs:
    """Estimate of what a member needs while it runs; nothing is computed or compiled.

    In memory: the state, several times; the largest arrays of a step; the settings that are its
    own; the rows of all rounds, which the host keeps.
    """
    algorithm, hparams = assembled.algorithm, assembled.hparams
    with precision(algorithm.float64):
        key = jax.random.key(0)
        state = jax.eval_shape(algorithm.init, key, hparams)
        step, (_, row) = jax.make_jaxpr(algorithm.step, return_shape=True)(
            key, np.int32(1), state, hparams
        )
    own = [leaf for leaf, differs in zip(jax.tree.leaves(hparams), batched, strict=True) if differs]
    largest = max(_results(step.jaxpr), default=0)
    rows = 2 * (assembled.rounds + 1) * size(row)
    return Needs(
        COPIES_OF_STATE * size(state) + LARGE_AT_ONCE * largest + size(own) + rows,
        assembled.rounds * _operations(step.jaxpr),
    )


def size(tree: Pytree) -> int:
    """Bytes of arrays, or of what has shapes like them."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _bytes(leaf: Any) -> int:
    return int(np.prod(leaf.shape, dtype=int)) * leaf.dtype.itemsize


def _results(jaxpr: Any) -> Iterator[int]:
    """Bytes of the results of every operation of a program, inner programs included."""
    for equation in jaxpr.eqns:
        programs = _inner(equation)
        for part in programs:
            yield from _results(part)
        if not programs:
            shaped = [one.aval for one in equation.outvars if hasattr(one.aval, "shape")]
            yield sum(_bytes(one) for one in shaped)


def _operations(jaxpr: Any) -> float:
    """Numbers that a program computes; see `Needs`."""
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [_operations(part) for part in _inner(equation)]
        if equation.primitive.name == "cond":
            total += min(inner)
        elif inner:
            total += equation.params.get("length", 1) * sum(inner)
        else:
            results = sum(np.prod(np.shape(one.aval)) for one in equation.outvars)
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                shape = equation.invars[0].aval.shape
                terms = np.prod([shape[axis] for axis in contracted])
                results *= max(1.0, terms / TERMS_AT_ONCE)
            total += float(results)
    return total


def _inner(equation: Any) -> list[Any]:
    """The programs that an operation runs."""
    inner = [
        part
        for parameter in equation.params.values()
        for part in (parameter if isinstance(parameter, tuple | list) else [parameter])
    ]
    programs = [getattr(part, "jaxpr", part) for part in inner]
    return [part for part in programs if hasattr(part, "eqns")]


def free_bytes() -> int:
    """Memory that is free: the accelerator's, or the machine's within its control group."""
    device = jax.local_devices()[0]
    if device.platform != "cpu" and (known := device.memory_stats()):
        return int(known["bytes_limit"] - known["bytes_in_use"])
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    limit, used = (_text(CONTROL_GROUP / f"memory.{name}") for name in ("max", "current"))
    if limit.strip().isdigit() and used.strip().isdigit():
        free = min(free, int(limit) - int(used))
    return max(free, 1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
