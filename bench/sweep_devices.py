"""Members and agents on forced devices: processes that differ in their devices and take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import fedjax_rl  # noqa: F401  before jax starts
from bench.harness import interleaved, rates, ratio
from bench.sweep_parts import Planned, Study
from fedjax_rl.cluster.devices import DeviceSettings

FORCED = 8
AGENTS = 8
FLAG = "--xla_force_host_platform_device_count"


class Spread:
    """A process with so many devices that is idle but for its turns.

    Args:
        study: what it sweeps.
        devices: forced on a processor; 1 for none.
        shard: ``members`` or ``agents``.
    """

    def __init__(self, study: Study, devices: int, shard: str):
        flags = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}={devices}".strip()
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        argument = json.dumps([*study, devices, shard])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sweep_devices", argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Spread:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def compiled(self) -> float:
        """Waits until it is ready; the seconds of its first sweep beyond those of a later one."""
        return self._told()

    def turn(self) -> float:
        """Runs the sweep once; its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process on devices ended: status {self._process.wait()}")
        return float(line)


def spread(study: Study, shard: str, repeats: int) -> dict[str, Any]:
    """Members per second after compilation on `FORCED` devices and on one, turn by turn."""
    names = {"one": 1, "forced": FORCED}
    with ExitStack() as stack:
        own = {
            name: stack.enter_context(Spread(study, devices, shard))
            for name, devices in names.items()
        }
        compiled = {name: process.compiled() for name, process in own.items()}
        clock = interleaved({name: process.turn for name, process in own.items()}, repeats)
    units = dict.fromkeys(names, float(study.members))
    over = ratio(clock, units, "forced", "one")
    dealt = f"{shard} of {study.members} members dealt to {FORCED} devices"
    print(f"{study.algorithm}: {dealt}: {over:.2f} times the rate on one")
    return {
        "members": study.members,
        "shard": shard,
        "devices": FORCED,
        "members_per_second": rates(clock, units),
        "compile_seconds": compiled,
        "over_one": over,
    }


def with_agents(study: Study, members: int) -> Study:
    """The first few members with `AGENTS` agents, and as many steps of all agents together.

    The windy cliff has no room for so many: there it is a random problem with as many states.
    """
    first, *others = study.grid
    grid = {first: study.grid[first][:members], **{name: study.grid[name][:1] for name in others}}
    settings = {**study.settings, "agents": AGENTS}
    if study.algorithm == "fednpg":
        settings |= {"problem": "random-mdp", "problem_args": ("states=40", "actions=4")}
    else:  # with two agents it was
        rounds = max(1, 2 * settings["rounds"] // AGENTS)
        settings |= {"rounds": rounds, "evaluate_every": rounds}
    return Study(study.algorithm, settings, grid)


def serve(argument: str) -> None:
    """The process's end: a line of seconds when it is ready, and for every line that it reads."""
    answers, sys.stdout = sys.stdout, sys.stderr
    algorithm, settings, grid, devices, shard = json.loads(argument)
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    used = DeviceSettings("all", shard) if devices > 1 else DeviceSettings()
    planned = Planned(Study(algorithm, settings, grid), used)

    def seconds() -> float:
        begun = time.perf_counter()
        planned.run()
        return time.perf_counter() - begun

    first = seconds()
    print(max(0.0, first - seconds()), file=answers, flush=True)
    for _ in sys.stdin:
        print(seconds(), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
