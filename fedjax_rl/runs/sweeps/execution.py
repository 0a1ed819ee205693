"""A chunk of members: train them side by side, and take every member's figures apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.train import Chunk, to_host
from fedjax_rl.precision import precision
from fedjax_rl.runs.checkpoint_files import Arrays
from fedjax_rl.runs.families.protocol import Assembled, Assembler
from fedjax_rl.runs.keeper import Keeper, KeepsNothing
from fedjax_rl.runs.loop import Columns, Work, carry_out
from fedjax_rl.runs.sweeps.plan import Group, Member

FINISHED, DIVERGED = "finished", "diverged"
Row = dict[str, Any]


class Done(NamedTuple):
    """A member that ran.

    Attributes:
        member: its number.
        row: of ``sweep.csv``.
        curves: as of `Figures`.
    """

    member: int
    row: Row
    curves: dict[str, np.ndarray]


def run_chunk(
    assembler: Assembler,
    group: Group,
    program: Algorithm,
    members: Sequence[Member],
    on_round: Callable[[int], None] = lambda round: None,
    keeper: Keeper | None = None,
) -> list[Done]:
    """Trains members of a group as one program; each computes what it would alone.

    Args:
        assembler: made them.
        group: of which they are.
        program: of the group, the same object for all its chunks, so that it compiles once.
        members: at most as many as a chunk has.
        on_round: told the last round that is done, now and then.
        keeper: says where to go on from, and is asked to save behind every visit of the host.
    """
    keys, hparams = group.inputs(members)
    record = RowRecord(partial(row_shapes, program, keys, hparams))
    work = Work(program, keys, hparams, group.rounds, group.chunk_rounds)
    state, failed, _ = carry_out(
        work, record, lambda rows: on_round(int(rows["round"][-1])), keeper or KeepsNothing()
    )
    rows, kept = record.rows(), to_host(assembler.kept(state))
    return [
        _done(assembler, member, _of(rows, place, 1), _of(kept, place, 0), int(failed[place]))
        for place, member in enumerate(members)
    ]


class RowRecord:
    """The rows of all members, as they come.

    Args:
        shape: a row by its shapes, leading axis of members.
    """

    ended = False

    def __init__(self, shape: Callable[[], Pytree]):
        self._shape = shape
        self._parts: list[Pytree] = []

    def open(self, row: Pytree) -> Columns:
        self._parts = [jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)]
        return {"round": np.zeros(1, int)}

    def add(self, chunk: Chunk) -> Columns:
        self._parts.append(chunk.info)
        return {"round": np.array([chunk.last_round])}

    def rows(self) -> Pytree:
        """[T + 1, B, …], or fewer when every member failed."""
        self._parts = [jax.tree.map(lambda *leaves: np.concatenate(leaves), *self._parts)]
        return self._parts[0]

    def arrays(self) -> Arrays:
        return {"rows": {f"{n:03d}": leaf for n, leaf in enumerate(jax.tree.leaves(self.rows()))}}

    def restore(self, arrays: Arrays) -> Columns:
        leaves = [leaf for _, leaf in sorted(arrays["rows"].items())]
        self._parts = [jax.tree.unflatten(jax.tree.structure(self._shape()), leaves)]
        return {"round": np.array([len(leaves[0]) - 1])}


def row_shapes(program: Algorithm, keys: jax.Array, hparams: Pytree) -> Pytree:
    """A row by its shapes; nothing is computed."""
    with precision(program.float64):
        state = jax.eval_shape(program.init, keys, hparams)
        return jax.eval_shape(program.observe, state, hparams)


def _of(tree: Pytree, place: int, axis: int) -> Pytree:
    return jax.tree.map(lambda leaf: np.take(leaf, place, axis), tree)


def _done(assembler: Assembler, member: Member, rows: Pytree, kept: Pytree, failed: int) -> Done:
    with np.errstate(all="ignore"):  # a member that diverged may hold anything
        figures = assembler.figures(member.assembled.prepared, rows, kept, failed)
    row: Row = {
        "member": member.number,
        "configuration": member.configuration,
        **member.chosen,
        "seed": member.config.seed,
        "status": FINISHED if failed < 0 else DIVERGED,
        "failed_round": None if failed < 0 else failed,
    }
    row |= {name: figure for name, figure in flat(figures.summary).items() if name not in row}
    return Done(member.number, row, figures.curves)


def figure_names(assembler: Assembler, assembled: Assembled) -> list[str]:
    """Names of the numbers that a member will be summed up in; nothing is computed or compiled."""
    algorithm, hparams = assembled.algorithm, assembled.hparams
    with precision(algorithm.float64):
        state = jax.eval_shape(algorithm.init, jax.random.key(0), hparams)
    row = row_shapes(algorithm, jax.random.key(0), hparams)
    rows = jax.tree.map(lambda leaf: np.ones((1, *leaf.shape), leaf.dtype), row)
    kept = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), assembler.kept(state))
    with np.errstate(all="ignore"):
        summary = flat(assembler.figures(assembled.prepared, rows, kept, -1).summary)
    return [name for name, value in summary.items() if not isinstance(value, str)]


def flat(summary: dict[str, Any]) -> Row:
    """The scalars of a summary; ``costs/lean`` where it has one for each name."""
    found: Row = {}
    for name, value in summary.items():
        inner = value if isinstance(value, dict) else {None: value}
        for key, part in inner.items():
            if isinstance(part, np.ndarray) and part.ndim == 0:
                part = part.item()
            if isinstance(part, np.generic):
                part = part.item()
            if part is None or isinstance(part, str | bool | int | float):
                found[name if key is None else f"{name}/{key}"] = part
    return found
