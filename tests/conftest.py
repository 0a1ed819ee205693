"""One compilation cache for every test process, and the command line as a user meets it."""

from __future__ import annotations

import gc
import hashlib
import importlib
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

Completed = subprocess.CompletedProcess[str]


def _processor_tag() -> str:
    """Compiled programs are native code: a checkout on a shared disk needs one cache per CPU."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


# Before jax is imported, and inherited by every subprocess.
_COMPILATION_CACHE = REPOSITORY / ".cache" / "jax" / _processor_tag()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILATION_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Reading a cached CPU program logs an error about tuning hints (+prefer-no-gather) that XLA
# itself added to the target; level 3 hides it and still shows what is fatal.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A process that was killed while writing leaves half an entry, which is compiled again.
os.environ.setdefault("PYTHONWARNINGS", "ignore:Error reading persistent compilation cache entry")
os.environ.setdefault("MPLBACKEND", "Agg")
# Problems are small, and tests run side by side: more threads of BLAS wait for each other, for
# half of the time of a solver. Before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Several processes of tests share an accelerator, where there is one.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


SHORTER = {"0.10.1": ["--xla_cpu_use_fusion_emitters=false"]}.get(version("jaxlib"), [])
"""Kernels as XLA emitted them before, in the versions of jaxlib that still can (another would abort
on the flag). It holds for a whole process. With XLA's other optimisations left out as well, which
can be asked for at any time, programs of networks compile in half of the time or less."""


def pytest_configure() -> None:
    """Sets flags and imports the package, before any test module can start the backend."""
    os.environ["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *SHORTER])
    importlib.import_module("fedjax_rl")
    gc.set_threshold(100_000, 50, 100)  # tracing allocates much, and next to none of it in cycles


def fresh_environment(
    devices: int | None = None, *, compiled_quickly: bool = False
) -> dict[str, str]:
    """The environment of a subprocess.

    Args:
        devices: forces that many CPU devices.
        compiled_quickly: XLA leaves its optimisations out and emits kernels the shorter way, where
            compilation is nearly all of the time and speed is not what is tested. Otherwise the
            process compiles as a user's does.
    """
    environment = dict(os.environ, COLUMNS="200", NO_COLOR="1")
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in SHORTER]
    if compiled_quickly:
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        flags += SHORTER
    if devices is not None:
        flags.append(f"--xla_force_host_platform_device_count={devices}")
        environment["JAX_PLATFORMS"] = "cpu"
    environment["XLA_FLAGS"] = " ".join(flags)
    return environment


def _run(
    arguments: list[str],
    timeout: float,
    environment: dict[str, str],
    cwd: pathlib.Path | None,
) -> Completed:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        cwd=cwd,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """Compiled programs map memory, and a process may hold only so many maps (65,530 on Linux)."""
    yield
    if (jax := sys.modules.get("jax")) is not None:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """No test reads or writes the cache of the person who runs it."""
    directory = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDJAX_RL_CACHE", str(directory))
        yield directory


@pytest.fixture
def run_cli(tmp_path: pathlib.Path) -> Callable[..., Completed]:
    """Runs ``python -m fedjax_rl`` in a fresh process, in ``tmp_path`` unless told otherwise."""

    def run(
        *arguments: str,
        timeout: float = 120,
        devices: int | None = None,
        cwd: pathlib.Path | None = None,
        compiled_quickly: bool = False,
    ) -> Completed:
        command = ["-m", "fedjax_rl", *map(str, arguments)]
        environment = fresh_environment(devices, compiled_quickly=compiled_quickly)
        return _run(command, timeout, environment, cwd or tmp_path)

    return run


@pytest.fixture
def run_python(tmp_path: pathlib.Path) -> Callable[..., Completed]:
    """Runs Python source in a fresh process, for what one process cannot show twice."""

    def run(
        source: str,
        *,
        timeout: float = 120,
        devices: int | None = None,
        compiled_quickly: bool = False,
    ) -> Completed:
        environment = fresh_environment(devices, compiled_quickly=compiled_quickly)
        return _run(["-c", source], timeout, environment, tmp_path)

    return run
