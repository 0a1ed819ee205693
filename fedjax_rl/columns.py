"""Rows as columns: an array over consecutive rounds under each name of ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Columns = dict[str, np.ndarray]


def of_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Rows of numbers under headings as columns; NaN for what is None."""
    table = np.array(rows, np.float64).reshape(len(rows), len(header))
    return dict(zip(header, table.T, strict=True))
