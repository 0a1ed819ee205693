"""A loss and its gradient in one call, compiled once per loss, choices and shape."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fedjax_rl.hetero.losses import (
    Batch,
    LossChoices,
    LossOutput,
    build_loss,
    losses,
)
from fedjax_rl.hetero.losses.contract import KLSettings, Loss, default_settings
from fedjax_rl.plugins import joined

DEFAULT_CHOICES = LossChoices("geometric")
ALL = joined(KLSettings, *(losses.make(name, DEFAULT_CHOICES).settings for name in losses))
"""The constants of all losses, so that one object serves any of them."""


def settings_with(**changes: float) -> Any:
    """The defaults of all losses, or as changed."""
    return default_settings(Loss(lambda batch, settings: None, ALL), **changes)


SETTINGS = settings_with()


@functools.cache
def _compiled(name: str, choices: LossChoices) -> Callable:
    loss = build_loss(name, choices)

    def both(batch: Batch, settings: Any) -> tuple[LossOutput, jax.Array]:
        def of(log_p: jax.Array) -> tuple[jax.Array, LossOutput]:
            output = loss(batch._replace(log_p=log_p), settings)
            return output.loss, output

        gradient, output = jax.grad(of, has_aux=True)(batch.log_p)
        return output, gradient

    return jax.jit(both)


def judge(
    name: str,
    batch: Batch,
    choices: LossChoices = DEFAULT_CHOICES,
    settings: Any = SETTINGS,
) -> tuple[LossOutput, np.ndarray]:
    """What a loss says of a batch, and its gradient in log p [P, G, L]."""
    output, gradient = _compiled(name, choices)(batch, settings)
    return jax.tree.map(np.asarray, output), np.asarray(gradient)
