"""Rows of a study of stale data as columns, and the seeds that belong together as a cell."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.columns import Columns
from fedjax_rl.families.stale.assembly import HeteroPrepared
from fedjax_rl.hetero.schedule import Traffic
from fedjax_rl.hetero.state import HeteroRow


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


def logged_columns(part: Columns, first_step: int, prepared: HeteroPrepared) -> Columns:
    """Columns of ``metrics.csv`` for consecutive steps: means over members that are finite."""
    steps = first_step + np.arange(len(part["evaluated"]))
    means = {name: finite_mean(leaf) for name, leaf in part.items() if name != "evaluated"}
    return {"step": steps, "virtual_seconds": virtual_seconds(prepared)[:, steps].mean(0), **means}


def means(cell: Cell) -> Columns:
    """Columns of all steps of one cell: means over its seeds that are finite."""
    named = {name: finite_mean(values, 0) for name, values in cell.values.items()}
    return {"step": cell.step, "virtual_seconds": cell.seconds.mean(0), **named}


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
