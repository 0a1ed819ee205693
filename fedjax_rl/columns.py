"""Rows as columns: an array over consecutive rounds under each name of ``metrics.csv``."""

from __future__ import annotations

import numpy as np

Columns = dict[str, np.ndarray]
