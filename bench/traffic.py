"""What crosses between devices in a round, read from the compiled programs."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

DEVICES = 8
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
OPERATIONS = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute")
CASES = (
    "fednpg, 8 agents of random-mdp",
    "fednpg, 8 agents of random-mdp, 8 seeds",
    "fedppo, 8 agents of cartpole-pos2",
    "fedppo, 9 agents of cartpole-pos2",
    "gepo, 8 seeds",
)


def measure(quick: bool) -> dict[str, Any]:
    """Compiles a round of every case on 8 forced devices, in a process of its own."""
    flag = f"--xla_force_host_platform_device_count={DEVICES}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    environment = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    command = [sys.executable, "-m", "bench.traffic", *CASES[: 1 if quick else None]]
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    cases = json.loads(finished.stdout)
    for case in cases:
        crossed = ", ".join(f"{n} × {what}" for what, n in case["operations"].items()) or "nothing"
        print(f"{case['case']}: {crossed}; {case['bytes_per_round']:,} bytes a round")
    return {"devices": DEVICES, "cases": cases}


def table(figures: dict[str, Any]) -> str:
    """The rows of docs/scaling.md."""
    rows = []
    for case in figures["cases"]:
        crossed = ", ".join(f"{count} {name}" for name, count in case["operations"].items())
        cells = case["case"], case["devices"], crossed or "none", f"{case['bytes_per_round']:,}"
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def collectives(program: str) -> list[tuple[str, int]]:
    """(operation, bytes of its result) of every collective in the text of a compiled program."""
    found = []
    pattern = rf"= (.*?) ({'|'.join(OPERATIONS)})(?:-start)?\("
    for line in program.splitlines():
        if match := re.search(pattern, line):
            shapes = re.findall(r"(\w+)\[([\d,]*)\]", match[1])
            size = sum(
                BYTES[kind] * math.prod(int(length) for length in lengths.split(",") if length)
                for kind, lengths in shapes
                if kind in BYTES
            )
            found.append((match[2], size))
    return found


def compiled_round(case: str) -> dict[str, Any]:
    """One round's collectives, outside of rounds in which the policy is evaluated."""
    import jax
    import numpy as np

    from fedjax_rl.precision import precision

    prepared, exchanged = _prepared(case)
    algorithm, hparams = prepared.algorithm, prepared.hparams
    key = jax.random.key(0)
    if algorithm.members is not None:
        key = jax.vmap(jax.random.key)(np.arange(algorithm.members))
    with precision(algorithm.float64):
        state = jax.jit(algorithm.init)(key, hparams)
        step = jax.jit(lambda *arguments: algorithm.step(*arguments)[0])
        text = step.lower(key, np.int32(1), state, hparams).compile().as_text()
    found = collectives(text)
    return {
        "case": case,
        "devices": len(jax.tree.leaves(state)[0].sharding.device_set),
        "operations": dict(Counter(name for name, _ in found)),
        "bytes_per_round": sum(size for _, size in found),
        "message_bytes": exchanged // (2 * 8) if exchanged else 0,
    }


def _prepared(case: str) -> Any:
    from fedjax_rl.cluster.devices import DeviceSettings
    from fedjax_rl.families.networks import assembly as deep
    from fedjax_rl.families.networks.config import DeepConfig
    from fedjax_rl.families.stale import assembly as hetero
    from fedjax_rl.families.stale.config import HeteroConfig
    from fedjax_rl.families.tabular import assembly
    from fedjax_rl.families.tabular.config import FedNPGConfig

    everywhere = DeviceSettings("all")
    if case.startswith("fednpg"):
        seeds = 8 if "seeds" in case else 1
        config = FedNPGConfig(problem="random-mdp", agents=8, seeds=seeds)
        prepared = assembly.prepare(config, devices=everywhere)
        return prepared, prepared.layout.bytes_per_round
    if case.startswith("fedppo"):
        agents = 9 if "9 agents" in case else 8
        networks = DeepConfig(problem="cartpole-pos2", agents=agents, evaluate_every=1000)
        ready = deep.prepare("fedppo", networks, devices=everywhere)
        return ready, ready.bytes_per_round * 8 // agents
    return hetero.prepare("gepo", HeteroConfig(seeds=8), devices=everywhere), 0


if __name__ == "__main__":
    print(json.dumps([compiled_round(case) for case in sys.argv[1:]]))
