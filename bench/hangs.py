"""Whether sweeps that factorise stand still with XLA's own scheduler, in fresh processes.

A program of independent factorisations, which none of ours is, shows that they would be seen to.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from fedjax_rl.backend import FLAG

PROCESSES = 200
CONTROLS = 6
SECONDS = 20.0
"""Without a thread that runs or could, after which a process stands still."""
MEMBERS = 64
SHAPES = {
    "one local step": ["--local-steps", "1"],
    "three local steps": ["--local-steps", "3"],
    "control variate": ["--local-steps", "3", "--correction", "control-variate"],
    "optimistic": ["--learner", "optimistic"],
    "regularized": ["--learner", "regularized"],
    "crpo": ["--learner", "crpo", "--local-steps", "3"],
    "no communication": ["--reference", "no-communication"],
    "sampled": ["--evaluation", "sampled", "--rollouts", "8"],
}
"""Of federated sweeps whose members factorise 40 × 40 matrices in every round."""
INDEPENDENT = """
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
def member(key):
    matrices = jax.random.normal(key, (6, 40, 40)) + 40 * jnp.eye(40)
    return sum(jnp.linalg.solve(matrix, jnp.ones(40)).sum() for matrix in matrices)
for repeat in range(10):
    keys = jax.random.split(jax.random.key(repeat), 64)
    jax.jit(jax.vmap(member))(keys).block_until_ready()
"""


def measure(quick: bool) -> dict[str, Any]:
    """How many processes of each shape stood still, and of the program that is known to."""
    shapes = dict(list(SHAPES.items())[:1]) if quick else SHAPES
    members, processes, controls = (2, 1, 0) if quick else (MEMBERS, PROCESSES, CONTROLS)
    names = [name for _ in range(processes) for name in shapes][:processes]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = pathlib.Path(name)
        work = [partial(stands_still, swept(shapes[name], members), folder) for name in names]
        work += [partial(stands_still, ["-c", INDEPENDENT], folder)] * controls
        outcomes = []
        for outcome in pool.map(lambda one: one(), work):
            outcomes.append(outcome)
            if len(outcomes) % 20 == 0 or len(outcomes) == len(work):
                print(f"{len(outcomes)} of {len(work)}: {sum(outcomes)} stood still", flush=True)
    ours, control = outcomes[:processes], outcomes[processes:]
    return {
        "flags": f"{FLAG}=true",
        "members": members,
        "seconds": SECONDS,
        "shapes": {
            name: {
                "processes": names.count(name),
                "stood_still": sum(
                    outcome for one, outcome in zip(names, ours, strict=True) if one == name
                ),
            }
            for name in shapes
        },
        "independent": {"processes": controls, "stood_still": sum(control)},
    }


def swept(options: list[str], members: int) -> list[str]:
    """Arguments of the interpreter for a sweep over step sizes."""
    values = ",".join(f"{0.5 * (index + 1) / members:.4g}" for index in range(members))
    problem = ["--problem", "random-mdp", "--problem-args", "states=40", "--rounds", "20"]
    grid = ["--grid", f"step_size={values}", "--chunk", str(members)]
    return ["-m", "fedjax_rl", "sweep", "fednpg", *problem, *options, *grid]


def stands_still(arguments: list[str], folder: pathlib.Path) -> bool:
    """Whether a fresh process stands still before its end.

    Args:
        arguments: of the interpreter.
        folder: for solutions and compiled programs, which are made once.

    Raises:
        RuntimeError: it fails.
    """
    environment = os.environ | {
        "FEDJAX_RL_CACHE": str(folder / "solutions"),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{FLAG}=true",
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    moved = time.perf_counter(), ticks_of(process.pid)
    while time.perf_counter() - moved[0] < SECONDS:
        try:
            _, said = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            used = ticks_of(process.pid)
            if used != moved[1] or waits_for_a_core(process.pid):
                moved = time.perf_counter(), used
            continue
        if process.returncode:
            raise RuntimeError(said.strip())
        return False
    process.kill()
    process.communicate()
    return True


def ticks_of(process: int) -> int:
    """Ticks of cores that a process has used, all its threads together."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def waits_for_a_core(process: int) -> bool:
    """Whether a thread of it could run, or reads a disk: others keep it from its work."""
    for stat in pathlib.Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            if stat.read_text().rpartition(")")[2].split()[0] in "RD":
                return True
    return False
