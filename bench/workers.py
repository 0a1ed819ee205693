"""A sweep by one worker to a core against one by one process, from the command to the last file."""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from bench.sweep_parts import Study

GOALS = {"fednpg": 1.6, "fedppo": 1.3}
"""Times as fast on two cores, programs compiled anew."""
REPEATS = 3
WAYS = {"one": ["--workers", "1"], "default": []}
CACHE = "JAX_COMPILATION_CACHE_DIR"


def studies(quick: bool) -> list[Study]:
    """64 members each: FedNPG on windy-cliff, and FedPPO on CartPole, as `bench sweep` has them."""

    def steps(low: float, high: float, count: int) -> list[float]:
        return [float(f"{x:.4g}") for x in np.geomspace(low, high, count)]

    if quick:
        few = {"step_size": steps(0.01, 0.1, 2)}
        return [Study("fednpg", {"problem": "windy-cliff", "rounds": 20, "chunk": 1}, few)]
    deep = {"problem": "cartpole-pos2", "envs": 16, "rollout": 128, "rounds": 49}
    deep |= {"evaluate_every": 49, "hidden": (64, 64), "epochs": 4, "minibatches": 4}
    grid = {"step_size": steps(1e-3, 1e-1, 8), "dual_step_size": steps(1e-4, 1e-2, 8)}
    return [
        Study("fednpg", {"problem": "windy-cliff", "rounds": 20_000}, grid),
        Study("fedppo", deep, {"learning_rate": steps(1e-4, 1e-2, 64)}),
    ]


def measure(quick: bool) -> dict[str, Any]:
    """Both algorithms, with programs compiled anew and with programs found compiled."""
    ways = WAYS | ({"default": ["--workers", "2"]} if quick else {})
    figures: dict[str, Any] = {"goals": GOALS}
    for study in studies(quick):
        with tempfile.TemporaryDirectory() as name:
            found = compared(study, ways, pathlib.Path(name), 1 if quick else REPEATS)
        figures[study.algorithm] = {
            "command": " ".join(["fedjax-rl sweep", study.algorithm, *study.options()]),
            "members": study.members,
            **found,
        }
        for state in ("compiled_anew", "found_compiled"):
            over = found[state]["over_one"]
            print(
                f"{study.algorithm}: {study.members} members, programs {state.replace('_', ' ')}: "
                f"{over['median']:.2f} times as fast as one process "
                f"[{over['least']:.2f}, {over['most']:.2f}] (goal {GOALS[study.algorithm]:g})"
            )
        print(f"{study.algorithm}: {found['plan']}; the same bits: {found['same_bits']}")
    return figures


def compared(
    study: Study, ways: dict[str, list[str]], folder: pathlib.Path, repeats: int
) -> dict[str, Any]:
    """Seconds of each way, turn by turn, in fresh processes."""
    seconds: dict[str, dict[str, list[float]]] = {"compiled_anew": {}, "found_compiled": {}}
    plan = ""
    if study.algorithm == "fednpg":  # its problem is solved before anything is timed
        _ran(["solve", study.settings["problem"]], folder, folder / "programs")
    for turn in range(repeats):
        for way, words in ways.items():
            out = folder / way
            command = [*study.sweep(), *words, "--out", str(out), "--overwrite"]
            programs = folder / f"programs-{way}-{turn}"
            for state in seconds:  # the second finds what the first has compiled
                begun = time.perf_counter()
                said = _ran(command, folder, programs)
                seconds[state].setdefault(way, []).append(time.perf_counter() - begun)
            if way == "default":
                plan = next(line for line in said.splitlines() if line.startswith("workers: "))
    same = all(
        (folder / "one" / name).read_bytes() == (folder / "default" / name).read_bytes()
        for name in ("sweep.csv", "curves.npz")
    )
    return {"plan": plan, "same_bits": same} | {
        state: {"seconds": own, "over_one": _over(own)} for state, own in seconds.items()
    }


def _over(seconds: dict[str, list[float]]) -> dict[str, float]:
    turns = [one / other for one, other in zip(seconds["one"], seconds["default"], strict=True)]
    return {"median": statistics.median(turns), "least": min(turns), "most": max(turns)}


def _ran(command: list[str], folder: pathlib.Path, programs: pathlib.Path) -> str:
    """What a command prints; raises CalledProcessError where it fails."""
    kept = {CACHE: str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | {"FEDJAX_RL_CACHE": str(folder / "solutions")} | kept
    return subprocess.run(
        [sys.executable, "-m", "fedjax_rl", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
