"""The number type of an algorithm: float64 for finite problems, float32 for deep ones."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import jax


def precision(float64: bool) -> AbstractContextManager[object]:
    """The context to initialise, trace and call an algorithm in.

    float64 is switched on per call and not for the process, so that both kinds of algorithm
    live in one. Enter it around single calls, never across a ``yield``.
    """
    return jax.enable_x64(True) if float64 else contextlib.nullcontext()
