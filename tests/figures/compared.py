"""Whether two figures are the same, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Descriptions are NamedTuples of arrays, numbers, words and one another."""
    if isinstance(one, np.ndarray):
        assert np.shape(one) == np.shape(other), where
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=where)
    elif isinstance(one, tuple):
        assert type(one) is type(other) and len(one) == len(other), where
        names = getattr(one, "_fields", range(len(one)))
        for name, mine, theirs in zip(names, one, other, strict=True):
            assert_same(mine, theirs, f"{where}.{name}")
    elif isinstance(one, float):
        np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=where)
    else:
        assert one == other, where
