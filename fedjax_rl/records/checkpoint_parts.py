"""A state that lies on several processes: each writes what it holds, and the first one the rest.

Process p > 0 leaves its pieces in ``round-000000120.part-p.npz``, beside the checkpoint that the
first process is writing, which takes them in before it is put in place. So a checkpoint has the
pieces of all processes or is not there. It is read as a whole, by any number of processes.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.records.checkpoint_files import Arrays, Damage

PART = ".part-"
PIECES, LAYOUT = "pieces", "layout"
SECONDS_TO_WAIT = 600.0
SECONDS_BETWEEN_LOOKS = 0.02


class Held(NamedTuple):
    """The pieces of a state that one process holds.

    Attributes:
        whole: leaves that every process has, by name.
        pieces: of the others, those that this process writes.
        layout: for each piece its leaf's name and shape, and where in it the piece begins.
    """

    whole: dict[str, np.ndarray]
    pieces: dict[str, np.ndarray]
    layout: list[tuple[str, list[int], list[int]]]


def held(state: Mapping[str, jax.Array]) -> Held:
    """Splits named leaves; of copies of a piece, one process takes the first."""
    mine = Held({}, {}, [])
    for name, leaf in state.items():
        if getattr(leaf, "is_fully_addressable", True):
            mine.whole[name] = np.asarray(leaf)
        elif leaf.is_fully_replicated:
            mine.whole[name] = np.asarray(leaf.addressable_data(0))
        else:
            for shard in leaf.addressable_shards:
                if shard.replica_id == 0:
                    begin = [part.start or 0 for part in shard.index]
                    mine.pieces[str(len(mine.layout))] = np.asarray(shard.data)
                    mine.layout.append((name, list(leaf.shape), begin))
    return mine


def write_part(target: Path, process: int, mine: Held) -> None:
    """Leaves the pieces of a process beside a checkpoint, all of them or none.

    Orbax writes the host's arrays of the first process only; so this is NumPy's format.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}{PART}{process}.npz")
    partial = part.with_name(f"{part.name}.partial")
    arrays: dict[str, Any] = {LAYOUT: np.array(json.dumps(mine.layout)), **mine.pieces}
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(part)
    finally:
        partial.unlink(missing_ok=True)


def take_parts(target: Path, into: Path, processes: int) -> None:
    """Moves the parts of all other processes into a checkpoint, as they come.

    Raises:
        TimeoutError: one of them does not come.
    """
    until = time.monotonic() + SECONDS_TO_WAIT
    for process in range(1, processes):
        part = target.with_name(f"{target.name}{PART}{process}.npz")
        while not part.exists():
            if time.monotonic() > until:
                raise TimeoutError(f"process {process} has not written its part")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        part.rename(into / part_file(process))


def part_file(process: int) -> str:
    """Within a checkpoint, the file of a process that is not the first."""
    return f"part-{process}.npz"


def assembled(path: Path, manifest: Mapping[str, Any], arrays: Arrays) -> dict[str, np.ndarray]:
    """The leaves of which a checkpoint has pieces, by name.

    Raises:
        Damage: pieces are missing.
    """
    own = [(manifest["layout"], arrays.get(PIECES, {}))]
    for process in range(1, manifest["processes"]):
        with np.load(path / part_file(process), allow_pickle=False) as part:
            read = dict(part)
        own.append((json.loads(str(read.pop(LAYOUT))), read))
    leaves: dict[str, np.ndarray] = {}
    filled: dict[str, int] = {}
    for layout, pieces in own:
        for number, (name, shape, begin) in enumerate(layout):
            piece = pieces[str(number)]
            leaf = leaves.setdefault(name, np.empty(shape, piece.dtype))
            bounds = zip(begin, piece.shape, strict=True)
            leaf[tuple(slice(start, start + size) for start, size in bounds)] = piece
            filled[name] = filled.get(name, 0) + piece.size
    for name, leaf in leaves.items():
        if filled[name] != math.prod(leaf.shape):
            raise Damage(f"pieces of {name} are missing")
    return leaves
