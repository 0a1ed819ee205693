"""Estimate of the memory that a member of a sweep needs, from shapes, and the free memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.precision import precision
from fedjax_rl.training.protocol import Assembled

COPIES_OF_STATE = 3
"""Before a round, after it, and the one that a guard would go back to."""
LARGE_AT_ONCE = 4
"""How many arrays as large as the largest a step may hold at once; a guess."""
CONTROL_GROUP = Path("/sys/fs/cgroup")


def bytes_of_member(assembled: Assembled, batched: Sequence[bool]) -> int:
    """Estimate of what a member needs while it runs; nothing is computed or compiled.

    The state, several times; the largest arrays of a step; the settings that are its own; the
    rows of all rounds, which the host keeps.
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
    return COPIES_OF_STATE * size(state) + LARGE_AT_ONCE * largest + size(own) + rows


def size(tree: Pytree) -> int:
    """Bytes of arrays, or of what has shapes like them."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _bytes(leaf: Any) -> int:
    return int(np.prod(leaf.shape, dtype=int)) * leaf.dtype.itemsize


def _results(jaxpr: Any) -> Iterator[int]:
    """Bytes of the results of every operation of a program, inner programs included."""
    for equation in jaxpr.eqns:
        inner = [
            part
            for parameter in equation.params.values()
            for part in (parameter if isinstance(parameter, tuple | list) else [parameter])
        ]
        programs = [getattr(part, "jaxpr", part) for part in inner]
        programs = [part for part in programs if hasattr(part, "eqns")]
        for part in programs:
            yield from _results(part)
        if not programs:
            shaped = [one.aval for one in equation.outvars if hasattr(one.aval, "shape")]
            yield sum(_bytes(one) for one in shaped)


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
