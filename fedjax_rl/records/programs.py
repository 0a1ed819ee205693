"""Compiled programs that the command line keeps in the user's cache, from one start to the next."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

from fedjax_rl.records.cache_directory import cache_directory

LIMIT = 1 << 30
"""Bytes of all programs together, about ten thousand of them; the longest unused go first."""
CHECKED = "checked"
"""An empty file: entries that were written before it are whole."""
SECONDS_TO_WRITE = 60.0
"""After which nobody is still writing an entry."""
READ = "Error reading persistent compilation cache entry"
ZLIB = b"\x78"
"""First byte of an entry, unless JAX finds a library for zstandard, of which we need none."""


def keep_programs() -> None:
    """Has JAX keep what it compiles, for this process and those that it starts.

    Compilation is most of the time of a short run. What comes out of the cache is what went in, to
    the bit. A session that imported JAX, named a folder of its own (``JAX_COMPILATION_CACHE_DIR``)
    or switched the cache off (``JAX_ENABLE_COMPILATION_CACHE``) has decided for itself.
    """
    named = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"}
    if "jax" in sys.modules or not named.isdisjoint(os.environ):
        return
    root = cache_directory()
    if root is None:
        return
    folder = root / "programs" / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return
        discard_damaged(folder, time.time())
        discard_unused(root / "programs", LIMIT)
    except OSError:  # a cache is no obstacle
        return
    # In the environment, so that the processes that this one starts find the programs, too.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # XLA logs an error whenever it reads a program of the CPU, about hints that it added itself.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", READ)  # it is compiled again, and thrown away at next start


def processor() -> str:
    """A name for what programs depend on that JAX's own keys do not hold.

    They are native code for the very instructions of this processor, and homes are on disks that
    several kinds of machine share.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    able = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(able.encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digest}-jaxlib-{version('jaxlib')}"


def discard_damaged(folder: Path, now: float) -> None:
    """Removes entries that a process was killed in writing, since JAX never replaces an entry.

    Each entry is looked at once: those from before the last look are known to be whole.

    Args:
        folder: of entries.
        now: seconds since the epoch; what is younger than a minute may still be written to.
    """
    mark = folder / CHECKED
    last = mark.stat().st_mtime if mark.exists() else 0.0
    until = now - SECONDS_TO_WRITE
    for entry in folder.glob("*-cache"):
        if last <= entry.stat().st_mtime < until and not _whole(entry.read_bytes()):
            entry.unlink(missing_ok=True)
    mark.touch()
    os.utime(mark, (until, until))


def _whole(entry: bytes) -> bool:
    if not entry.startswith(ZLIB):
        return True
    stream = zlib.decompressobj()
    try:
        stream.decompress(entry)
    except zlib.error:
        return False
    return stream.eof


def discard_unused(programs: Path, limit: int) -> None:
    """Removes the longest unused entries of all folders until the others fit.

    Args:
        programs: the folder of folders.
        limit: in bytes.
    """
    known = [(entry, entry.stat()) for entry in programs.glob("*/*-cache")]
    total = sum(stat.st_size for _, stat in known)
    for entry, stat in sorted(known, key=lambda pair: max(pair[1].st_atime, pair[1].st_mtime)):
        if total <= limit:
            return
        entry.unlink(missing_ok=True)
        total -= stat.st_size
