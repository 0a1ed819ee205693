"""A chunk of members: train them side by side, and take every member's figures apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.train import to_host
from fedjax_rl.precision import precision
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.training.loop import Work, run_rounds
from fedjax_rl.training.members import Group, Member
from fedjax_rl.training.protocol import Assembled, Assembler
from fedjax_rl.training.rows import Row, RowRecord, flat, row_shapes

FINISHED, DIVERGED = "finished", "diverged"


class Done(NamedTuple):
    """The row and curves of a member that has run.

    Attributes:
        member: its number.
        row: of ``sweep.csv``.
        curves: as of `MemberResult`.
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
    checkpointer: Checkpointer | None = None,
) -> list[Done]:
    """Trains members of a group as one program; each computes what it would alone.

    Args:
        assembler: made them.
        group: of which they are.
        program: of the group, the same object for all its chunks, so that it compiles once.
        members: at most as many as a chunk has.
        on_round: told the last round that is done, now and then.
        checkpointer: says where to go on from, and is asked to save after every visit of the host.
    """
    keys, hparams = group.inputs(members)
    record = RowRecord(partial(row_shapes, program, keys, hparams))
    work = Work(program, keys, hparams, group.rounds, group.span_rounds)
    state, failed, _ = run_rounds(
        work, record, lambda rows: on_round(int(rows["round"][-1])), checkpointer or NoCheckpoints()
    )
    with precision(program.float64):
        outcome = assembler.outcome(program, state)
    rows, outcome = record.rows(), to_host(outcome)
    return [
        _done(assembler, member, _of(rows, index, 1), _of(outcome, index, 0), int(failed[index]))
        for index, member in enumerate(members)
    ]


def _of(tree: Pytree, index: int, axis: int) -> Pytree:
    return jax.tree.map(lambda leaf: np.take(leaf, index, axis), tree)


def _done(assembler: Assembler, member: Member, rows: Pytree, outcome: Pytree, failed: int) -> Done:
    with np.errstate(all="ignore"):  # a member that diverged may hold anything
        figures = assembler.result(member.assembled.prepared, rows, outcome, failed)
    row: Row = {
        "member": member.number,
        "configuration": member.configuration,
        **member.combination,
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
        shapes = jax.eval_shape(partial(assembler.outcome, algorithm), state)
    row = row_shapes(algorithm, jax.random.key(0), hparams)
    rows = jax.tree.map(lambda leaf: np.ones((1, *leaf.shape), leaf.dtype), row)
    outcome = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    with np.errstate(all="ignore"):
        summary = flat(assembler.result(assembled.prepared, rows, outcome, -1).summary)
    return [name for name, value in summary.items() if not isinstance(value, str)]
