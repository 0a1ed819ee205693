"""Rows of members as the host keeps them, and their figures as the cells of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.columns import Columns
from fedjax_rl.execution.train import Span
from fedjax_rl.precision import precision
from fedjax_rl.records.checkpoint_files import Arrays

Row = dict[str, Any]


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

    def add(self, span: Span) -> Columns:
        self._parts.append(span.info)
        return {"round": np.array([span.last_round])}

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
