"""Other libraries to race: an environment of their own, and a process that waits for its turn."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = Path("~/.cache/fedjax_rl/bench")
MARKER = "installed.json"
REQUIREMENTS = {
    "rejax": (
        "rejax==0.1.3",
        "gymnax==0.0.9",  # from 1.0 a step returns six values, and rejax unpacks five
        "jax==0.10.1",
        "jaxlib==0.10.1",
        "flax==0.12.8",
        "optax==0.2.8",
        "distrax==0.1.9",
        "numpy==2.4.6",
    ),
    "sb3": ("stable-baselines3==2.9.2", "torch==2.13.0", "gymnasium==1.3.0", "numpy==2.4.6"),
}


class PeerUnavailable(Exception):
    """A peer that cannot be installed here; its text is the reason, in one line."""


class WorkerFailed(Exception):
    """A worker that crashed, said something else or took too long; its text is one line."""


def script(name: str) -> Path:
    """The worker of a peer."""
    return HERE / f"peer_{name}.py"


def peer_environment(
    name: str,
    requirements: Sequence[str],
    directory: Path | None = None,
    pip_options: Sequence[str] = (),
    timeout: float = 1800.0,
) -> Path:
    """Python of a virtual environment with these requirements, made on the first call.

    Args:
        name: of the peer, and of its folder in the cache unless `directory` is given.
        requirements: as pip takes them; other ones make the environment anew.
        directory: where the environment is or shall be, and nothing else.
        pip_options: more of them for ``pip install``.
        timeout: seconds that making it may take.

    Raises:
        PeerUnavailable: it cannot be made.
    """
    directory = (CACHE / name).expanduser() if directory is None else directory
    python, marker = directory / "bin" / "python", directory / MARKER
    wanted = json.dumps([platform.python_version(), *requirements])
    if marker.exists() and python.exists() and marker.read_text() == wanted:
        return python
    if directory.exists() and any(directory.iterdir()) and not (directory / "pyvenv.cfg").exists():
        raise PeerUnavailable(f"{name}: {directory} holds something else")
    environment = [sys.executable, "-m", "venv", "--clear", directory]
    packages = [python, "-m", "pip", "install", "--quiet", *pip_options, *requirements]
    deadline = time.monotonic() + timeout
    for command in (environment, packages):
        left = max(1.0, deadline - time.monotonic())
        try:
            made = subprocess.run(command, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            raise PeerUnavailable(f"{name}: not installed within {timeout:.0f} s") from None
        if made.returncode:
            raise PeerUnavailable(f"{name}: {_reason(made.stderr or made.stdout)}")
    marker.write_text(wanted)
    return python


class Worker:
    """A peer in a process of its own that is idle but for its turns.

    It is given neither our XLA flags nor jax's settings nor our import path.

    Args:
        python: of the peer's environment.
        script: which calls `peer_worker.serve`.
        configuration: what to race, for the script.
        timeout: seconds that getting ready, and each turn, may take.

    Raises:
        WorkerFailed: it did not get ready.
    """

    def __init__(
        self, python: Path, script: Path, configuration: dict[str, Any], timeout: float = 300.0
    ):
        self._name, self._timeout = script.stem, timeout
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._lines: queue.Queue[str | None] = queue.Queue()
        ours = [name for name in os.environ if name.startswith(("XLA_", "JAX_"))]
        foreign = {name: value for name, value in os.environ.items() if name not in ours}
        self._process = subprocess.Popen(
            [python, "-E", script, json.dumps(configuration)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=foreign,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        if (answer := self._answer()) != "ready":
            raise self._failure(f"said {answer!r} instead of 'ready'")

    def turn(self) -> dict[str, float]:
        """Runs one segment; its ``seconds`` and ``environment_steps``.

        Raises:
            WorkerFailed: it did not answer with them in time.
        """
        self._say("go")
        answer = self._answer()
        try:
            figures = json.loads(answer)
            return {name: figures[name] for name in ("seconds", "environment_steps")}
        except (ValueError, TypeError, KeyError):
            raise self._failure(f"said {answer!r} instead of its figures") from None

    def stop(self) -> None:
        """Ends it; by force if it does not end by itself."""
        with contextlib.suppress(WorkerFailed, subprocess.TimeoutExpired):
            self._say("stop")
            self._process.wait(timeout=10)
        self._end()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def _say(self, word: str) -> None:
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._failure("ended before its turn") from None

    def _answer(self) -> str:
        try:
            answer = self._lines.get(timeout=self._timeout)
        except queue.Empty:
            raise self._failure(f"no answer within {self._timeout:g} s") from None
        if answer is None:
            raise self._failure("ended without an answer")
        return answer

    def _failure(self, what: str) -> WorkerFailed:
        """Ends the process and says what its last words were."""
        output = self._end()
        return WorkerFailed(f"{self._name}: {what}" + (f": {output[-1]}" if output else ""))

    def _end(self) -> list[str]:
        """Lines of its stderr; none once it was ended."""
        if self._errors.closed:
            return []
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with self._errors as errors:
            errors.seek(0)
            return [line.strip() for line in errors if line.strip()]


def _reason(errors: str) -> str:
    """Pip's last error without the addresses it asked, or else its last line."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no reason given"]
    line = ([line for line in lines if line.startswith("ERROR:")] or lines)[-1]
    return re.sub(r"\S+://\S+", "…", line.removeprefix("ERROR:").strip())
