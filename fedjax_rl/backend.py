"""The second line of defence against deadlocks of XLA on the CPU.

The programs of this package chain their factorisations, which is the cure. A learner of
somebody's own may not; so on import, and before the backend starts, the scheduler that
deadlocks is switched off for the versions of jaxlib where that was checked. Where a processor
is made to be several devices, each of them may hold a thread while it waits for another one to
factorise, and there must be more threads than devices.
See ``docs/architecture.md``, "Why it never hangs".
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from importlib.metadata import version

CHECKED_JAXLIB = ("0.10.1",)  # 0.11.2 knows the flag, too, but was not seen to stand still
DEVICES = "--xla_force_host_platform_device_count"
FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"


def defend_scheduler() -> None:
    """Sets the flag for this process, or warns when the backend has started without it.

    An unknown flag aborts the process, hence only for checked versions; a choice the user
    made in XLA_FLAGS is left alone.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if version("jaxlib") not in CHECKED_JAXLIB or FLAG in flags:
        return
    if _backend_started():
        warnings.warn(
            f"JAX started before fedjax_rl was imported, so {FLAG}=false could not be set; "
            "vmapped LAPACK calls of other code may deadlock on few-core CPUs. Import "
            "fedjax_rl first.",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=false".strip()


def enough_threads() -> None:
    """Makes XLA's pool of threads larger than the number of forced devices, unless told a size."""
    count = re.search(rf"{DEVICES}=(\d+)", os.environ.get("XLA_FLAGS", ""))
    if count is None or "NPROC" in os.environ or _backend_started():
        return
    os.environ["NPROC"] = str(int(count[1]) + (os.cpu_count() or 1))


def _backend_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", None))
