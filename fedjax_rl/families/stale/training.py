"""A study of stale data: train all its runs as one program, and keep what happened."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.execution.train import Span, to_host
from fedjax_rl.families.stale.assembly import HeteroPrepared, prepare
from fedjax_rl.families.stale.cells import Cell, cells_of, columns, logged_columns
from fedjax_rl.families.stale.config import HeteroConfig, settings_type
from fedjax_rl.families.stale.summary import summarise
from fedjax_rl.hetero.state import HeteroRow
from fedjax_rl.hetero.tasks import TokenTask
from fedjax_rl.records.checkpoint_files import Arrays
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.sources.objects import GIVEN, check_known_type, check_no_arguments, configured
from fedjax_rl.training.loop import Clock, OnRows, Work, joined, keys_of, run_rounds


@dataclasses.dataclass(frozen=True)
class HeteroResult:
    """A finished study of one loss.

    Attributes:
        prepared: what was run.
        cells: one for each window and learning rate, in the order of the members.
        timing: ``seconds``, ``compile_seconds``, ``steps_per_second`` of all runs together.
        summary: of the only cell, what ``summary.json`` holds; empty where there are several.
    """

    prepared: HeteroPrepared
    cells: tuple[Cell, ...]
    timing: dict[str, float]
    summary: dict[str, Any]


def hetero_rl(
    loss: str = "gepo", task: TokenTask | str = HeteroConfig.task, **settings: Any
) -> HeteroResult:
    """Runs one learner on data that samplers drew with parameters of its past (arXiv 2508.17850).

    Args:
        loss: any name the command line takes, such as gepo, gspo or grpo.
        task: likewise, or a `TokenTask`.
        **settings: other fields of `HeteroConfig`.

    Raises:
        InvalidInput: a setting, the task or the loss cannot be used.

    Examples:
        >>> small = dict(prompts=2, group_size=3, held_out=16, on_policy=2, warm_start=0)
        >>> task = dict(task="prefix-sum", task_args=("length=3", "modulus=3"))
        >>> run = hetero_rl("gepo", steps=3, window=0, **task, **small)
        >>> run.summary["staleness_max"], run.summary["steps"]  # with window 0 nothing is stale
        (0.0, 3)
    """
    check_known_type(task, (TokenTask,))
    if isinstance(task, str):
        return run(prepare(loss, configured(settings_type(loss, settings), "task", task, settings)))
    config = configured(settings_type(loss, settings), "task", GIVEN, settings)
    check_no_arguments("--task-args", config.task_args)
    return run(prepare(loss, config, task=task))


def run(
    prepared: HeteroPrepared,
    on_rows: OnRows = lambda rows: None,
    checkpointer: Checkpointer | None = None,
) -> HeteroResult:
    """Trains every member, hands the mean columns of every span to ``on_rows``, and sums up.

    A ``checkpointer`` says where to go on from, and is asked to save after every span.

    A member that diverged stops where it was; its columns are NaN from there on.
    """
    record = HeteroRecord(prepared)
    work = Work(
        prepared.algorithm,
        keys_of(np.array([member.seed for member in prepared.members])),
        prepared.hparams,
        prepared.config.steps,
        prepared.span_steps,
    )
    state, failed, clock = run_rounds(work, record, on_rows, checkpointer or NoCheckpoints())
    cells = cells_of(prepared, record.history(), failed, to_host(state.parameters))
    timing = _timing(clock, len(prepared.members))
    result = HeteroResult(prepared, cells, timing, {})
    if len(cells) > 1:
        return result
    return dataclasses.replace(result, summary=summarise(cells[0], prepared, timing))


class HeteroRecord:
    """Every column of every member, in all steps so far."""

    ended = False

    def __init__(self, prepared: HeteroPrepared):
        self._prepared = prepared
        self._parts: list[Columns] = []

    def open(self, row: HeteroRow) -> Columns:
        first = jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)
        return self._take(0, first, np.full(len(self._prepared.members), -1))

    def add(self, span: Span) -> Columns:
        return self._take(span.first_round, span.info, span.failed)

    def _take(self, first_step: int, rows: HeteroRow, failed: np.ndarray) -> Columns:
        self._parts.append(columns(first_step, rows, failed))
        return logged_columns(self._parts[-1], first_step, self._prepared)

    def history(self) -> Columns:
        """[T + 1, B] for each column."""
        self._parts = [joined(self._parts)]
        return self._parts[0]

    def arrays(self) -> Arrays:
        return {"history": self.history()}

    def restore(self, arrays: Arrays) -> Columns:
        self._parts = [arrays["history"]]
        return logged_columns(self._parts[0], 0, self._prepared)


def _timing(clock: Clock, members: int) -> dict[str, float]:
    """Seconds in all, of compilation, and learner steps of all members per second after it."""
    rate = clock.marks[-1][0] / max(clock.seconds, 1e-9)
    if len(clock.marks) > 2:
        (first, began), (last, ended) = clock.marks[1], clock.marks[-1]
        rate = (last - first) / max(ended - began, 1e-9)
    return {
        "seconds": clock.seconds,
        "compile_seconds": clock.compile_seconds(),
        "steps_per_second": members * rate,
    }
