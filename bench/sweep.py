"""Many members as one program, against a process for each and against a loop over them."""

from __future__ import annotations

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from bench.sweep_devices import spread, with_agents
from bench.sweep_parts import Study, inside, saturation

PROCESSES = 8
AT_ONCE = 2
"""Processes side by side."""
REPEATS = 5
WHOLE_REPEATS = {"fednpg": 3, "fedppo": 1}
"""Turns of whole commands; those of networks take minutes each, and differ little."""
SHORTER: dict[str, tuple[int, dict[str, Any]]] = {
    "fednpg": (2, {}),
    "fedppo": (4, {"rounds": 6, "evaluate_every": 6}),
}
"""Where parts are timed within one process: every which value is left, and other settings."""
ON_AN_ACCELERATOR = (1, 4, 16, 64, 256, 1024, 4096)
GOALS = {"fednpg": 20.0, "fedppo": 5.0}
"""Times as fast as a process for each member."""
OVERHEAD = 0.05
"""Largest share of the run for metrics, checkpoints and guards together."""
CACHES = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
PARTS = ("state", "computed", "rows", "visits", "figures", "files", "whole")
"""What a run consists of, each with all that stands before it."""


def studies(quick: bool) -> list[Study]:
    """FedNPG on windy-cliff, and FedPPO on CartPole with 200,704 steps of all agents."""

    def steps(low: float, high: float, count: int) -> list[float]:
        return [float(f"{x:.4g}") for x in np.geomspace(low, high, count)]

    if quick:  # what differs with networks is the program alone, and `tests/test_bench.py` plans it
        return [
            Study(
                "fednpg",
                {"problem": "windy-cliff", "rounds": 20},
                {"step_size": steps(0.01, 0.1, 2), "dual_step_size": [0.001]},
            )
        ]
    # The networks, rollouts and passes of bench/fedppo; two agents, and an evaluation at the end.
    deep = {"problem": "cartpole-pos2", "envs": 16, "rollout": 128, "rounds": 49}
    deep |= {"evaluate_every": 49, "hidden": (64, 64), "epochs": 4, "minibatches": 4}
    return [
        Study(
            "fednpg",
            {"problem": "windy-cliff", "rounds": 2000},
            {"step_size": steps(1e-3, 1e-1, 16), "dual_step_size": steps(1e-4, 1e-2, 16)},
        ),
        Study("fedppo", deep, {"learning_rate": steps(1e-4, 1e-2, 64)}),
    ]


def measure(quick: bool) -> dict[str, Any]:
    """All questions for both algorithms, a line for each answer."""
    figures: dict[str, Any] = {"goals": {"over_processes": GOALS, "overhead": OVERHEAD}}
    for study in studies(quick):
        repeats = 1 if quick else REPEATS
        short = study if quick else shorter(study)
        measured = inside(short, PROCESSES, repeats)
        turns = 1 if quick else WHOLE_REPEATS[study.algorithm]
        commands = whole_commands(study, 1 if quick else PROCESSES, turns, quick)
        figures[study.algorithm] = {
            "command": " ".join(["fedjax-rl sweep", study.algorithm, *study.options()]),
            "grid": {name: len(values) for name, values in study.grid.items()},
            "members": study.members,
            "commands": commands,
            "inside": measured | shares(measured),
            "devices": dealt(short, repeats),
            "saturation": saturated(study, quick),
        }
        say(study.algorithm, figures[study.algorithm])
    return figures


def shorter(study: Study) -> Study:
    """The same program for fewer members, and perhaps rounds."""
    every, settings = SHORTER[study.algorithm]
    grid = {name: values[::every] for name, values in study.grid.items()}
    return study._replace(settings={**study.settings, **settings}, grid=grid)


def whole_commands(study: Study, count: int, repeats: int, quick: bool) -> dict[str, Any]:
    """Wall time of the command line in fresh processes, in all, turn by turn.

    One sweep of all members; ``count`` runs of one member each, two side by side and one after
    another; and the leanest that runs can be, which write nothing and find their programs
    compiled. Problems are solved beforehand for all of them.
    """
    sampled_members = (
        np.linspace(0, study.members - 1, min(count, study.members)).round().astype(int)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plain = _environment(folder)
        cached = {"JAX_ENABLE_COMPILATION_CACHE": "1"}
        lean = plain | cached | {CACHES[0]: str(folder / "programs"), CACHES[1]: "0"}
        if quick:  # where tests keep compiled programs
            plain |= cached | {key: os.environ[key] for key in CACHES if key in os.environ}
        sweep = [[*study.sweep(), "--out", str(folder / "sweep"), "--overwrite"]]
        silent = [study.run(int(n)) for n in sampled_members]
        runs = [
            [*command, "--out", str(folder / f"run-{n}"), "--overwrite"]
            for n, command in enumerate(silent)
        ]
        _all(silent[:1], 1, lean)  # solves the problem, and compiles for the lean ones
        clock: dict[str, list[float]] = {}
        for _ in range(repeats):
            for way, commands, at_once, environment in (
                ("sweep", sweep, 1, plain),
                ("side_by_side", runs, AT_ONCE, plain),
                ("one_after_another", runs, 1, plain),
                ("lean", silent, AT_ONCE, lean),
            ):
                begun = time.perf_counter()
                _all(commands, at_once, environment)
                clock.setdefault(way, []).append(time.perf_counter() - begun)
    each = study.members / len(silent)
    scaled = {"sweep": clock["sweep"]} | {
        way: [each * seconds for seconds in clock[way]] for way in clock if way != "sweep"
    }
    turns = {
        way: [theirs / ours for theirs, ours in zip(scaled[way], scaled["sweep"], strict=True)]
        for way in scaled
        if way != "sweep"
    }
    return {
        "processes": len(silent),
        "seconds": clock,
        "seconds_of_all_members": scaled,
        "over": {
            way: {"median": statistics.median(own), "least": min(own), "most": max(own)}
            for way, own in turns.items()
        },
    }


def _environment(folder: pathlib.Path) -> dict[str, str]:
    """That of a user whose problems are solved, and whose programs are compiled anew."""
    inherited = {name: value for name, value in os.environ.items() if name not in CACHES}
    compiled = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    return {"FEDJAX_RL_CACHE": str(folder / "solutions"), **inherited, **compiled}


def _all(commands: Sequence[Sequence[str]], at_once: int, environment: dict[str, str]) -> None:
    """Runs them, so many at a time.

    Raises:
        RuntimeError: one of them failed.
    """
    waiting, running = list(commands), []
    while waiting or running:
        while waiting and len(running) < at_once:
            command = [sys.executable, "-m", "fedjax_rl", *waiting.pop(0)]
            running.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        for process in [one for one in running if one.poll() is not None]:
            running.remove(process)
            if process.returncode:
                for other in running:
                    other.kill()
                    other.wait()
                raise RuntimeError(f"{process.args}: status {process.returncode}")
        time.sleep(0.01)


def shares(measured: dict[str, Any]) -> dict[str, Any]:
    """Rates of the program and of the loop over members, and what surrounds the bare program.

    Every share is that of the seconds of ``whole`` in the same turn, median over turns.
    """
    clock = measured["seconds"]
    whole = clock["whole"]

    def share(more: str, less: str) -> dict[str, float]:
        turns = zip(clock[more], clock[less], whole, strict=True)
        found = sorted((a - b) / c for a, b, c in turns)
        return {"median": statistics.median(found), "least": found[0], "most": found[-1]}

    rates = {
        "program": [measured["members"] / seconds for seconds in whole],
        "one_by_one": [measured["loop_members"] / seconds for seconds in clock["one_by_one"]],
    }
    over = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    in_all = {
        name: measured["compile_seconds"][name] + measured["members"] / statistics.median(own)
        for name, own in rates.items()
    }
    return {
        "members_per_second": {
            name: {"median": statistics.median(own), "least": min(own), "most": max(own)}
            for name, own in rates.items()
        },
        "over_one_by_one": {
            "median": statistics.median(over),
            "least": min(over),
            "most": max(over),
            "with_compilation": in_all["one_by_one"] / in_all["program"],
        },
        "overhead": share("whole", "state"),
        "overhead_beside_computing_rows": share("whole", "computed"),
        "parts": {more: share(more, less) for less, more in pairwise(PARTS)}
        | {
            "saved_at_every_visit": share("saved_at_every_visit", "files"),
            "guarded": share("guarded", "visits"),
        },
    }


def dealt(study: Study, repeats: int) -> dict[str, Any]:
    """Members, and agents, on forced devices against one."""
    return {
        "members": spread(study, "members", repeats),
        "agents": spread(with_agents(study, 8), "agents", repeats),
    }


def saturated(study: Study, quick: bool) -> dict[str, Any]:
    """Members per second against members on an accelerator."""
    backend = jax.default_backend()
    if not quick and backend != "gpu":
        return {"not_measured": f"no GPU: the default backend is {backend}"}
    counts = (1,) if quick else ON_AN_ACCELERATOR
    return {"device": jax.devices()[0].device_kind, "counts": saturation(study, counts, 1)}


def say(algorithm: str, row: dict[str, Any]) -> None:
    """What came out, in a few lines."""
    commands, measured = row["commands"], row["inside"]
    whole = statistics.median(commands["seconds"]["sweep"])
    over = ", ".join(f"{way} {own['median']:.1f}" for way, own in commands["over"].items())
    print(
        f"{algorithm}: {row['members']} members in {whole:.1f} s, "
        f"{measured['compile_seconds']['program']:.1f} s of them compiling; times as fast as a "
        f"process for each: {over} (goal {GOALS[algorithm]:g})"
    )
    rate = measured["members_per_second"]
    print(
        f"{algorithm}: {rate['program']['median']:.2f} members/s after compilation, "
        f"{measured['over_one_by_one']['median']:.1f} times a loop over members"
    )
    parts = ", ".join(
        f"{name} {100 * own['median']:.1f} %" for name, own in measured["parts"].items()
    )
    print(
        f"{algorithm}: {100 * measured['overhead']['median']:.1f} % of the run are metrics, "
        f"checkpoints and guards (goal {100 * OVERHEAD:g} %): {parts}"
    )
