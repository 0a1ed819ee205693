"""What an accelerator is and what state it is in: its driver, limits and clocks."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
from typing import Any

DESCRIBED = (
    *("name", "driver_version", "memory.total", "power.limit", "power.default_limit"),
    *("clocks.max.sm", "clocks.max.mem", "clocks.mem", "persistence_mode", "mig.mode.current"),
    *("ecc.mode.current", "compute_cap"),
)
"""Fields of ``nvidia-smi`` that do not change in a run."""
WATCHED = ("clocks.sm", "power.draw", "temperature.gpu")
"""Those that do: MHz, W, °C."""
EVERY_MILLISECONDS = 500
PATIENCE = 10.0
"""Seconds that are waited for an answer."""
TF32 = "NVIDIA_TF32_OVERRIDE"


def described() -> dict[str, Any]:
    """The card, its driver and limits as far as ``nvidia-smi`` knows them, and what JAX found."""
    import jax

    device = jax.devices()[0]
    return {
        "kind": device.device_kind,
        "platform": device.platform,
        "devices": len(jax.devices()),
        "memory": device.memory_stats(),
        "driver": queried(DESCRIBED),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "tf32_override": os.environ.get(TF32),
    }


def queried(fields: tuple[str, ...]) -> dict[str, str] | str:
    """Fields of the first card; the reason in one line where there is no such program."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not here"
    answer = _answer(fields)
    if answer is None:  # one field that a driver does not know spoils the answer to all others
        answers = {field: _answer((field,)) for field in fields}
        return {field: own[0] for field, own in answers.items() if own}
    return dict(zip(fields, answer, strict=True))


def _answer(fields: tuple[str, ...]) -> list[str] | None:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    values = [value.strip() for value in lines[0].split(",")] if lines else []
    return values if done.returncode == 0 and len(values) == len(fields) else None


class Watch:
    """Reads clock, power and temperature twice a second while rows are measured.

    One process for the whole run: to start one for every reading would take the host longer than
    many a row.
    """

    def __init__(self) -> None:
        self._readings: list[tuple[float, ...]] = []
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("nvidia-smi") is None:
            return
        command = ["nvidia-smi", f"--query-gpu={','.join(WATCHED)}", "--id=0"]
        command += ["--format=csv,noheader,nounits", f"--loop-ms={EVERY_MILLISECONDS}"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def taken(self) -> dict[str, dict[str, float]]:
        """Least, median and most of every field since this was last asked; none without a card."""
        readings, self._readings = self._readings, []
        return {
            name: {"least": min(own), "median": statistics.median(own), "most": max(own)}
            for name, own in zip(WATCHED, zip(*readings, strict=True), strict=False)
        }

    def stop(self) -> None:
        """Ends the process that reads."""
        if self._process is not None:
            self._process.kill()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            try:
                reading = tuple(float(value) for value in line.split(","))
            except ValueError:  # a field that this card does not have
                continue
            if len(reading) == len(WATCHED):
                self._readings.append(reading)
