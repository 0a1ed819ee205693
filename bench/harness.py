"""Interleaved timings of competitors in one process, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

Work = Callable[[], object]


def interleaved(competitors: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Seconds of each competitor, once each in turn, after one warm-up of all.

    What a noisy machine does to one it does to its neighbours, so ratios are taken within a
    turn.
    """
    for work in competitors.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(repeats):
        for name, work in competitors.items():
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def rates(seconds: Mapping[str, list[float]], units: Mapping[str, float]) -> dict[str, Any]:
    """Median, smallest and largest rate of each competitor in units per second."""
    table = {}
    for name, times in seconds.items():
        ordered = sorted(units[name] / time for time in times)
        table[name] = {
            "median": statistics.median(ordered),
            "least": ordered[0],
            "most": ordered[-1],
        }
    return table


def ratio(
    seconds: Mapping[str, list[float]], units: Mapping[str, float], ours: str, theirs: str
) -> float:
    """Median over turns of our rate over theirs."""
    pairs = zip(seconds[ours], seconds[theirs], strict=True)
    scale = units[ours] / units[theirs]
    return statistics.median(scale * other / own for own, other in pairs)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import jax

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_gib(), 1),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": [device.device_kind for device in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jax", "jaxlib", "numpy", "scipy")},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
