"""The cores that this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of cores, and of time, that a control group may take; or the word max."""


def cores() -> int:
    """How many there are in this process's mask, and no more than its control group pays for."""
    able = len(_mask())
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = map(int, QUOTA.read_text(encoding="utf-8").split())
        able = min(able, max(1, -(-quota // period)))
    return able


def core_of(worker: int, workers: int) -> int | None:
    """The core that one of so many workers keeps to; None where they do not fill the mask.

    Two sweeps that use a part of the cores each would else meet on the first of them.
    """
    mask = _mask()
    return mask[worker % len(mask)] if workers >= len(mask) else None


def pin(core: int | None) -> None:
    """Keeps every thread of this process, and those that they start, on a core, if on any.

    Where the system knows no such thing, or the core is not to be had, it does nothing.
    """
    if core is None or not hasattr(os, "sched_setaffinity"):
        return
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            os.sched_setaffinity(int(thread), {core})


def _mask() -> list[int]:
    """The numbers of the cores that the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
