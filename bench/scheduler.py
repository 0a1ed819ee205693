"""What it costs FedPPO that XLA's scheduler of concurrent operations is switched off."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from bench.fedppo import SIZES, STEPS, Ours
from bench.harness import interleaved
from bench.peers import Worker, script
from fedjax_rl.backend import FLAG


def measure(quick: bool) -> dict[str, Any]:
    """Times as fast without the scheduler as with it, at each number of environments."""
    seconds, repeats = (0.05, 2) if quick else (1.0, 5)
    over = {}
    for size in SIZES[: 1 if quick else None]:
        counts = {"one_agent": 1} if quick else {"one_agent": 1, "four_agents": 4}
        over[str(size)] = {
            name: over_scheduler(agents, size, seconds, repeats) for name, agents in counts.items()
        }
        said = {name: f"{own['median']:.2f}" for name, own in over[str(size)].items()}
        print(f"{size} environments: times as fast as with XLA's own scheduler: {said}")
    return {"over": over}


def over_scheduler(agents: int, size: int, seconds: float, repeats: int) -> dict[str, float]:
    """Times as fast as in a process with XLA's own scheduler, turn by turn.

    Args:
        agents: N.
        size: environments of each agent.
        seconds: about how long a turn should take.
        repeats: turns of each.
    """
    ours = Ours(agents, size, seconds)
    settings: dict[str, Any] = {"steps": STEPS, "environments": agents * size, "agents": agents}
    settings |= {"seconds": seconds, "xla_flags": f"{FLAG}=true"}
    turns: list[dict[str, float]] = []
    with Worker(Path(sys.executable), script("scheduler"), settings) as worker:
        clock = interleaved(
            {"ours": ours.turn, "theirs": lambda: turns.append(worker.turn())}, repeats
        )
    # What the worker measured itself: the words to and from it are not its work.
    theirs = [turn["environment_steps"] / turn["seconds"] for turn in turns[1:]]
    rates = [
        ours.agent_steps / own / other for own, other in zip(clock["ours"], theirs, strict=True)
    ]
    return {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
