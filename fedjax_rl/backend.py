"""JAX's backend: its second line of defence against deadlocks on the CPU, and whether there is one.

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
from tempfile import gettempdir
from typing import Any

from fedjax_rl.errors import InvalidInput

CHECKED_JAXLIB = ("0.10.1",)  # 0.11.2 knows the flag, too, but was not seen to stand still
DEVICES = "--xla_force_host_platform_device_count"
FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"
COMPILER = {
    "jax_allow_f16_reductions": True,
    "jax_compiler_enable_remat_pass": True,
    "jax_disable_most_optimizations": False,
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_optimization_level": "UNKNOWN",
    "jax_softmax_custom_jvp": False,
    "jax_use_direct_linearize": True,
    "jax_use_magma": "auto",
}
"""Settings of JAX that decide how programs are compiled, and what they are unless one is set."""


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


def name_temporary_folder() -> None:
    """Lets chex be imported where no folder for temporary files can be had, as in a container.

    It brings absl's tests along, which want to know one in which they never write here.
    """
    try:
        gettempdir()
    except FileNotFoundError:
        os.environ.setdefault("TEST_TMPDIR", os.curdir)


def check_variables() -> None:
    """Raises InvalidInput where a variable of the environment keeps JAX from being imported."""
    if not any(name.startswith("JAX_") for name in os.environ):
        return
    try:
        import jax  # noqa: F401
    except ValueError as error:
        raise InvalidInput("JAX_…", "what JAX does not take", _one_line(error)) from None


def start_backend() -> None:
    """Raises InvalidInput unless JAX finds a device of the platforms that the session names."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where no platform is known at all
        requested = getattr(jax.config, "jax_platforms", None) or os.environ.get(
            "JAX_PLATFORM_NAME"
        )
        reason = _one_line(error) or "there is none of them here"
        raise InvalidInput(
            "JAX_PLATFORMS", repr(requested), f"platforms of which JAX finds a device ({reason})"
        ) from None


def chosen_device() -> Any:
    """The default device that the session set, a `jax.Device` or a platform's name, or None."""
    import jax

    return getattr(jax.config, "jax_default_device", None)


def default_device() -> Any:
    """The `jax.Device` on which whatever is not dealt to several is computed."""
    import jax

    device = chosen_device()
    if device is None or isinstance(device, str):
        return jax.local_devices(backend=device)[0]
    return device


def platform() -> str:
    """The kind of processor that `default_device` is: cpu, gpu or tpu."""
    kind: str = default_device().platform
    return kind


def compiler() -> str:
    """Compiler settings of the session that may change bits; empty where there are none.

    These settings make other programs, as another version of jaxlib does. They are not undone,
    but recorded wherever versions are.
    """
    import jax

    changed = [
        f"{name}={value}"
        for name, default in COMPILER.items()
        if (value := jax.config.values.get(name, default)) != default
    ]
    flags = os.environ.get("XLA_FLAGS", "").split()
    return " ".join(changed + [flag for flag in flags if not flag.startswith((FLAG, DEVICES))])


def compiler_variables() -> dict[str, str]:
    """Variables for processes that are to compile as this one does; see `compiler`."""
    import jax

    known = {name: jax.config.values.get(name, default) for name, default in COMPILER.items()}
    return {
        name.upper(): str(int(value) if isinstance(value, bool) else value)
        for name, value in known.items()
        if value != COMPILER[name]
    }


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _backend_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", None))
