"""How many processes run the chunks of a sweep."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax

from fedjax_rl.backend import platform, start_backend
from fedjax_rl.cluster import hosts
from fedjax_rl.cluster.cores import cores
from fedjax_rl.errors import InvalidInput
from fedjax_rl.training.members import SHARE_OF_MEMORY
from fedjax_rl.training.memory import PROCESS_BYTES, free_bytes

SMALL = 1e11
"""Operations (see `Needs`) below which a sweep is done before other processes would be ready.

On one core these take networks about ten seconds and finite problems about twenty-five
(`bench/workers.py`); a worker has its libraries, its members and its program after five to ten.
"""


class Crew(NamedTuple):
    """The processes that run the chunks of a sweep.

    Attributes:
        processes: how many; 1 for the sweep's own.
        why: there are no more, in a few words; empty where nothing but the cores bounds them.
    """

    processes: int
    why: str = ""


def alone() -> str:
    """Why chunks are not for other processes of this machine, in a few words; empty if they are."""
    start_backend()
    if (processes := hosts.share()[1]) > 1:
        return f"{processes} --processes share the members"
    if (kind := platform()) != "cpu":
        return f"one process fills a {kind}"
    if (devices := len(jax.local_devices())) > 1:
        return f"--devices deals members to the {devices} devices that this processor is"
    return ""


def cores_for_chunks() -> int:
    """The cores that chunks are dealt to; chunks are as large whoever then runs them.

    So no bit depends on the number of workers.
    """
    return 1 if alone() else cores()


def check_workers(workers: Literal["auto"] | int) -> None:
    """Raises InvalidInput for a number of workers that cannot be."""
    if workers == "auto" or workers == 1:
        return
    if workers < 1:
        raise InvalidInput("--workers", workers, "auto, or at least 1")
    if reason := alone():
        raise InvalidInput("--workers", workers, f"auto or 1, for {reason}")


def crew_of(
    workers: Literal["auto"] | int, chunks: int, operations: float, most_bytes: int
) -> Crew:
    """The workers of a sweep: as many as were asked for, or one to a core where that is faster.

    Args:
        workers: that were asked for.
        chunks: that can run at once.
        operations: of all members that are to run.
        most_bytes: of the largest chunk.
    """
    if workers == 1:
        return Crew(1)
    few = "no more chunks" if chunks > 1 else "one chunk"
    if workers != "auto":
        return Crew(workers) if workers <= chunks else Crew(max(1, chunks), few)
    if reason := alone():
        return Crew(1, reason)
    if chunks <= 1:
        return Crew(1, few)
    if operations < SMALL:
        return Crew(1, "too little work for more")
    fitting = max(1, int(SHARE_OF_MEMORY * free_bytes()) // (PROCESS_BYTES + most_bytes))
    able = cores()
    count = min(able, chunks, fitting)
    if count == able:
        return Crew(count)
    return Crew(count, few if count == chunks else "no more fit memory")
