"""Files of a run on stale data: its evaluations and policies."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from fedjax_rl.families.stale.cells import Cell


def to_rows(cell: Cell, first_seed: int) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of ``evaluations.csv``: one row per evaluated step and seed."""
    header = ["step", "seed", "virtual_seconds", "accuracy", "estimation_error"]
    rows: list[list[Any]] = []
    for step in cell.step[cell.evaluated]:
        for index in range(len(cell.failed)):
            figures = (
                float(values[index, step])
                for values in (
                    cell.seconds,
                    cell.values["accuracy"],
                    cell.values["estimation_error"],
                )
            )
            row = [None if figure != figure else figure for figure in figures]
            rows.append([int(step), first_seed + index, *row])
    return header, rows


def parameter_arrays(cell: Cell) -> dict[str, np.ndarray]:
    """Parameters by their path in the network, leading axis of seeds."""
    leaves = jax.tree_util.tree_leaves_with_path(cell.parameters)
    return {jax.tree_util.keystr(path) or "table": np.asarray(leaf) for path, leaf in leaves}
