"""Losses of group policy optimisation on data another policy sampled; the papers' and one's own.

A factory takes `LossChoices` and returns a `Loss`; `register_loss` gives it a name, and
`build_loss` finds it by that name, or by ``module:factory``.
"""

from fedjax_rl.hetero.losses import sequences as sequences  # registers the losses
from fedjax_rl.hetero.losses import tokens as tokens
from fedjax_rl.hetero.losses.build import build_loss
from fedjax_rl.hetero.losses.contract import (
    Batch,
    Loss,
    LossChoices,
    LossOutput,
    NoSettings,
    default_settings,
    losses,
    register_loss,
)

__all__ = [
    "Batch",
    "Loss",
    "LossChoices",
    "LossOutput",
    "NoSettings",
    "build_loss",
    "default_settings",
    "losses",
    "register_loss",
]
