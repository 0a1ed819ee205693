"""A study of stale data: train all its runs as one program, and keep what happened."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.execution.train import Chunk, to_host
from fedjax_rl.hetero.schedule import Traffic
from fedjax_rl.hetero.state import HeteroRow
from fedjax_rl.hetero.tasks import TokenTask
from fedjax_rl.runs.checkpoint_files import Arrays
from fedjax_rl.runs.hetero.assembly import HeteroPrepared, prepare
from fedjax_rl.runs.hetero.config import HeteroConfig
from fedjax_rl.runs.keeper import Keeper, KeepsNothing
from fedjax_rl.runs.loop import Clock, Columns, OnRows, Work, carry_out, joined, keys_of
from fedjax_rl.runs.objects import GIVEN, check_known_type, check_no_arguments, configured


class Cell(NamedTuple):
    """The K seeds that share a loss, a window and a learning rate.

    Attributes:
        loss: its name.
        window: W.
        learning_rate: of Adam.
        step: [T + 1], 0 … T.
        seconds: [K, T + 1], virtual time at the end of each step.
        values: [K, T + 1] for each column, NaN where undefined or after a seed diverged.
        evaluated: [T + 1], steps with an evaluation.
        traffic: of each seed.
        failed: [K], the step that was not finite, or −1.
        parameters: of the policies after the last step, leading axis K, on the host.
    """

    loss: str
    window: int
    learning_rate: float
    step: np.ndarray
    seconds: np.ndarray
    values: Columns
    evaluated: np.ndarray
    traffic: tuple[Traffic, ...]
    failed: np.ndarray
    parameters: Pytree

    def at_evaluations(self, name: str) -> np.ndarray:
        """A column at the evaluated steps [K, Q]."""
        return self.values[name][:, self.evaluated]


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
    loss: str = "gepo", task: TokenTask | str = "prefix-sum", **settings: Any
) -> HeteroResult:
    """Runs one learner on data that samplers drew with parameters of its past (arXiv 2508.17850).

    Args:
        loss: any name the command line takes, such as gepo, gspo or grpo.
        task: likewise, or a `TokenTask`.
        **settings: other fields of `HeteroConfig`.

    Raises:
        InvalidInput: a setting, the task or the loss cannot be used.
    """
    check_known_type(task, (TokenTask,))
    if isinstance(task, str):
        return run(prepare(loss, configured(HeteroConfig, "task", task, settings)))
    config = configured(HeteroConfig, "task", GIVEN, settings)
    check_no_arguments("--task-args", config.task_args)
    return run(prepare(loss, config, task=task))


def run(
    prepared: HeteroPrepared, on_rows: OnRows = lambda rows: None, keeper: Keeper | None = None
) -> HeteroResult:
    """Trains every member, hands the mean columns of every chunk to ``on_rows``, and sums up.

    A ``keeper`` says where to go on from, and is asked to save behind every chunk.

    A member that diverged stops where it was; its columns are NaN from there on.
    """
    from fedjax_rl.runs.hetero.summary import summarise

    record = HeteroRecord(prepared)
    work = Work(
        prepared.algorithm,
        keys_of(np.array([member.seed for member in prepared.members])),
        prepared.hparams,
        prepared.config.steps,
        prepared.chunk_steps,
    )
    state, failed, clock = carry_out(work, record, on_rows, keeper or KeepsNothing())
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

    def add(self, chunk: Chunk) -> Columns:
        return self._take(chunk.first_round, chunk.info, chunk.failed)

    def _take(self, first_step: int, rows: HeteroRow, failed: np.ndarray) -> Columns:
        self._parts.append(columns(first_step, rows, failed))
        return shown(self._parts[-1], first_step, self._prepared)

    def history(self) -> Columns:
        """[T + 1, B] for each column."""
        self._parts = [joined(self._parts)]
        return self._parts[0]

    def arrays(self) -> Arrays:
        return {"history": self.history()}

    def restore(self, arrays: Arrays) -> Columns:
        self._parts = [arrays["history"]]
        return shown(self._parts[0], 0, self._prepared)


def columns(first_step: int, rows: HeteroRow, failed: np.ndarray) -> Columns:
    """Every column of consecutive steps [R, B], NaN from the step on that was not finite."""
    named = {
        "staleness": rows.staleness,
        "loss": rows.loss,
        "reward": rows.reward,
        "kl": rows.kl,
        "weight_mean": rows.weights.mean,
        "weight_variance": rows.weights.variance,
        "weight_cv2": rows.weights.cv2,
        "effective_sample_size": rows.weights.effective_sample_size,
        "gradient_norm": rows.gradient_norm,
        "clip_fraction": rows.clip_fraction,
        "group_variation": rows.variation,
        "accuracy": rows.check.accuracy,
        "estimation_error": rows.check.estimation_error,
    }
    steps = first_step + np.arange(len(rows.loss))[:, None]
    alive = (failed < 0) | (steps < failed)
    table = {name: np.where(alive, np.float64(leaf), np.nan) for name, leaf in named.items()}
    return {**table, "evaluated": np.asarray(rows.evaluated, bool)}


def shown(part: Columns, first_step: int, prepared: HeteroPrepared) -> Columns:
    """What ``metrics.csv`` holds of consecutive steps: means over members that are finite."""
    steps = first_step + np.arange(len(part["evaluated"]))
    means = {name: finite_mean(leaf) for name, leaf in part.items() if name != "evaluated"}
    return {"step": steps, "virtual_seconds": virtual_seconds(prepared)[:, steps].mean(0), **means}


def virtual_seconds(prepared: HeteroPrepared) -> np.ndarray:
    """[B, T + 1], of every member; 0 at step 0."""
    return np.pad(prepared.schedules.seconds, ((0, 0), (1, 0)))


def finite_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean without what is not finite; NaN where nothing is left."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis)
    mean: np.ndarray = np.where(finite.any(axis), total / np.maximum(finite.sum(axis), 1), np.nan)
    return mean


def cells_of(
    prepared: HeteroPrepared, table: Columns, failed: np.ndarray, parameters: Pytree
) -> tuple[Cell, ...]:
    """Consecutive members with the same window and rate are the seeds of one cell."""
    seeds, seconds = prepared.config.seeds, virtual_seconds(prepared)
    cells = []
    for begin in range(0, len(prepared.members), seeds):
        member, own = prepared.members[begin], slice(begin, begin + seeds)
        cells.append(
            Cell(
                loss=prepared.loss,
                window=member.window,
                learning_rate=member.learning_rate,
                step=np.arange(len(table["evaluated"])),
                seconds=seconds[own],
                values={n: leaf[:, own].T for n, leaf in table.items() if n != "evaluated"},
                evaluated=np.asarray(table["evaluated"].any(1)),
                traffic=prepared.traffic[own],
                failed=failed[own],
                parameters=jax.tree.map(lambda leaf, own=own: leaf[own], parameters),
            )
        )
    return tuple(cells)


def _timing(clock: Clock, members: int) -> dict[str, float]:
    """Seconds in all, of compilation, and learner steps of all members per second behind it."""
    rate = clock.marks[-1][0] / max(clock.seconds, 1e-9)
    if len(clock.marks) > 2:
        (first, began), (last, ended) = clock.marks[1], clock.marks[-1]
        rate = (last - first) / max(ended - began, 1e-9)
    return {
        "seconds": clock.seconds,
        "compile_seconds": clock.compile_seconds(),
        "steps_per_second": members * rate,
    }
