"""Whether a run that is killed at random moments and resumed ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

NETWORKS = "--envs 4 --rollout 16 --hidden 8 8 --epochs 1 --minibatches 2 --episodes 100"
RUNS = {
    "fednpg": "--rounds 60000 --log-every 50 --checkpoint-seconds 0.3",
    "fedppo": f"{NETWORKS} --rounds 400 --evaluate-every 100 --checkpoint-every 20",
    "gepo": "--steps 1000 --seeds 2 --evaluate-every 100 --held-out 32 --on-policy 4 "
    "--checkpoint-every 50",
    "sweep fednpg": "--grid step_size=0.003,0.01,0.03,0.1 --chunk 2 --rounds 120000 "
    "--checkpoint-seconds 0.2",
}
"""Options by algorithm, of ``run`` where no other command stands before it."""
TIMINGS = ("seconds", "compile_seconds", "rounds_per_second", "steps_per_second")
LEFT_OUT = ("checkpoints", "summary.json")


def measure(quick: bool) -> dict[str, Any]:
    """Kills every algorithm 20 times and compares what comes out in the end."""
    figures = {}
    for name, flags in RUNS.items():
        if quick and name != "fednpg":
            continue
        with tempfile.TemporaryDirectory() as folder:
            flags += " --rounds 6000" if quick else ""
            figures[name] = survive(name, flags, 1 if quick else 20, pathlib.Path(folder), seed=0)
        figure = figures[name]
        print(
            f"{name}: {figure['kills']} kills ({figure['kills_after_a_checkpoint']} of them after "
            f"a checkpoint, {figure['kills_while_saving']} in the middle of one), "
            f"{figure['finished']} runs finished, differences: {figure['differences'] or 'none'}"
        )
    assert not any(figure["differences"] for figure in figures.values())
    return {"survival": figures}


def survive(name: str, flags: str, kills: int, folder: pathlib.Path, seed: int) -> dict[str, Any]:
    """Runs are killed and resumed, each at most four times, and then left to finish.

    A process is killed a moment after it has written a random share of the rows, or, one in
    six, while it starts. The rows of a sweep come chunk by chunk, so a sweep is killed at a
    random share of the time that an undisturbed one takes.

    Args:
        name: of the algorithm, as in `RUNS`.
        flags: its options.
        kills: how many.
        folder: directory for the runs.
        seed: of the moments.
    """
    rng = random.Random(seed)
    whole = folder / "undisturbed"
    begun_at = time.monotonic()
    lived(begin(name, flags, whole), folder)
    seconds = time.monotonic() - begun_at
    swept = name.startswith("sweep")
    table = "sweep.csv" if swept else "metrics.csv"
    size = (whole / table).stat().st_size
    moments: list[tuple[bool, bool]] = []
    differences: list[str] = []
    finished, out, left = 0, folder / "killed-0", 4
    while len(moments) < kills or out.exists():
        begun = (out / "config.yaml").exists()
        command = ["resume", str(out)] if begun else [*begin(name, flags, out), "--overwrite"]
        share, pause = rng.uniform(-0.2, 1), rng.uniform(0, 1)
        rows = 0 if swept else int(share * size)
        until = (out / table, rows, seconds * pause if swept else pause * (1 if share > 0 else 3))
        if lived(command, folder, until if left and len(moments) < kills else None):
            differences += compare(whole, out)
            finished += 1
            out, left = folder / f"killed-{finished}", 4
        else:
            moments.append(moment(out))
            left -= 1
    return {
        "flags": flags,
        "kills": len(moments),
        "kills_after_a_checkpoint": sum(saved for saved, _ in moments),
        "kills_while_saving": sum(saving for _, saving in moments),
        "finished": finished,
        "differences": differences,
    }


def begin(name: str, flags: str, out: pathlib.Path) -> list[str]:
    """Arguments that start a run, or a sweep."""
    command = name.split() if " " in name else ["run", name]
    return [*command, *flags.split(), "--out", str(out)]


def lived(
    arguments: list[str], folder: pathlib.Path, until: tuple[pathlib.Path, int, float] | None = None
) -> bool:
    """Whether a process of the command line came to its end.

    Args:
        arguments: of ``fedjax-rl``.
        folder: directory for its caches.
        until: a file, its size in bytes, and the seconds after which the process is killed once
            the file has it; None to let it live.

    Raises:
        RuntimeError: it failed by itself.
    """
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore:Error reading persistent compilation cache entry",
        "FEDJAX_RL_CACHE": str(folder / "solutions"),
        **os.environ,
    }
    command = [sys.executable, "-m", "fedjax_rl", *arguments]
    with (folder / "complaints").open("w+") as complaints:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=complaints
        )
        while until is not None and process.poll() is None:
            file, size, pause = until
            if size <= 0 or (file.exists() and file.stat().st_size >= size):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(pause)
                process.kill()
            time.sleep(0.01)
        status = process.wait()
        if status in (0, -signal.SIGKILL):
            return status == 0
        complaints.seek(0)
        raise RuntimeError(f"{' '.join(arguments)}: status {status}\n{complaints.read()}")


def moment(out: pathlib.Path) -> tuple[bool, bool]:
    """Whether a run that was just killed had a checkpoint, and was writing one."""
    found = [path.name for path in out.glob("**/checkpoints/round-*")]
    saving = [name for name in found if name.endswith(".partial")]
    return len(found) > len(saving), bool(saving)


def compare(expected: pathlib.Path, out: pathlib.Path) -> list[str]:
    """Names of files that differ in a byte, and of figures of the summary but for timings."""
    names = {
        path.relative_to(folder)
        for folder in (expected, out)
        for path in (*folder.iterdir(), *folder.glob("chunks/*"))
    }
    names = {str(name) for name in names if name.name not in (*LEFT_OUT, "chunks")}
    different = [f"{out.name}/{name}" for name in sorted(names) if not alike(expected, out, name)]
    if not (expected / "summary.json").exists():  # of a sweep
        return different
    theirs, ours = (json.loads((path / "summary.json").read_text()) for path in (expected, out))
    return different + [
        f"{out.name}/summary.json: {key}"
        for key in {**theirs, **ours}
        if key not in TIMINGS and theirs.get(key) != ours.get(key)
    ]


def alike(expected: pathlib.Path, out: pathlib.Path, name: str) -> bool:
    """Whether both directories have the file, and it is the same."""
    paths = expected / name, out / name
    return all(path.is_file() for path in paths) and len({p.read_bytes() for p in paths}) == 1
