"""A study of stale data: train all its runs as one program, and keep what happened."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.train import start, to_host, train
from fedjax_rl.hetero.schedule import Traffic
from fedjax_rl.hetero.state import HeteroRow
from fedjax_rl.runs.hetero.assembly import HeteroPrepared, keys_of, prepare
from fedjax_rl.runs.hetero.config import HeteroConfig

Columns = dict[str, np.ndarray]
OnRows = Callable[[Columns], None]


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


def hetero_rl(loss: str = "gepo", task: str = "prefix-sum", **settings: Any) -> HeteroResult:
    """Runs one learner on data that samplers drew with parameters of its past (arXiv 2508.17850).

    Args:
        loss: any name the command line takes, such as gepo, gspo or grpo.
        task: likewise.
        **settings: other fields of `HeteroConfig`.

    Raises:
        InvalidInput: a setting, the task or the loss cannot be used.
    """
    known = {field.name for field in dataclasses.fields(HeteroConfig)} - {"task"}
    for name in settings:
        if name not in known:
            raise InvalidInput("settings", name, f"known: {', '.join(sorted(known))}")
    return run(prepare(loss, HeteroConfig(task=task, **settings)))


def run(prepared: HeteroPrepared, on_rows: OnRows = lambda rows: None) -> HeteroResult:
    """Trains every member, hands the mean columns of every chunk to ``on_rows``, and sums up.

    A member that diverged stops where it was; its columns are NaN from there on.
    """
    from fedjax_rl.runs.hetero.summary import summarise

    config, keys = prepared.config, keys_of(prepared.members)
    begun = time.perf_counter()
    state, row = start(prepared.algorithm, keys, prepared.hparams)
    first = jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)
    failed = np.full(len(prepared.members), -1)
    parts = [columns(0, first, failed)]
    on_rows(shown(parts[0], 0, prepared))
    marks = [(0, time.perf_counter())]
    for chunk in train(
        prepared.algorithm,
        keys,
        state,
        prepared.hparams,
        rounds=config.steps,
        chunk_rounds=prepared.chunk_steps,
    ):
        state = chunk.state
        assert chunk.failed_members is not None
        failed = chunk.failed_members
        parts.append(columns(chunk.first_round, chunk.info, failed))
        on_rows(shown(parts[-1], chunk.first_round, prepared))
        marks.append((chunk.last_round, time.perf_counter()))
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    cells = _cells(prepared, table, failed, to_host(state.parameters))
    timing = _timing(begun, marks, len(prepared.members))
    result = HeteroResult(prepared, cells, timing, {})
    if len(cells) > 1:
        return result
    return dataclasses.replace(result, summary=summarise(cells[0], prepared, timing))


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


def _cells(
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


def _timing(begun: float, marks: list[tuple[int, float]], members: int) -> dict[str, float]:
    """Seconds in all, of compilation, and learner steps of all members per second behind it."""
    seconds = marks[-1][1] - begun
    if len(marks) < 3:
        rate = members * marks[-1][0] / max(seconds, 1e-9)
        return {"seconds": seconds, "compile_seconds": seconds, "steps_per_second": rate}
    (first, began), (last, ended) = marks[1], marks[-1]
    each = (ended - began) / (last - first)
    return {
        "seconds": seconds,
        "compile_seconds": max(0.0, began - begun - each),
        "steps_per_second": members / max(each, 1e-9),
    }
