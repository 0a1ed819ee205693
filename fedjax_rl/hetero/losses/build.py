"""From a loss's name to a loss that checks its batch and carries its KL term."""

from __future__ import annotations

from typing import Any

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.hetero.losses import kl
from fedjax_rl.hetero.losses.contract import (
    ALLOWED_CHOICES,
    DEFAULT_CHOICES,
    Batch,
    KLSettings,
    Loss,
    LossChoices,
    LossOutput,
    losses,
)
from fedjax_rl.hetero.losses.weights import mean_over_responses
from fedjax_rl.plugins import joined


def build_loss(name: str, choices: LossChoices = DEFAULT_CHOICES) -> Loss:
    """The loss of a name, with the KL term chosen.

    Args:
        name: registered, or ``module:factory``.
        choices: what shapes the loss.

    Raises:
        InvalidInput: an unknown loss or choice; from the loss, when it is called: a batch whose
            shapes disagree, or groups of one response.

    Examples:
        >>> from fedjax_rl.hetero.losses import LossChoices, default_settings
        >>> loss = build_loss("gspo", LossChoices(kl="true"))
        >>> default_settings(loss, kl_weight=0.5)._fields
        ('clip_low', 'clip_high', 'kl_weight')
    """
    for field, allowed in ALLOWED_CHOICES.items():
        value = getattr(choices, field)
        if value not in allowed:
            raise InvalidInput(flag(field), repr(value), f"allowed: {', '.join(allowed)}")
    loss: Loss = losses.make(name, choices)
    estimator = kl.ESTIMATORS[choices.kl] if choices.kl != "none" else None

    def judge(batch: Batch, settings: Any) -> LossOutput:
        _check(batch)
        output = loss.judge(batch, settings)
        if estimator is None:
            return output
        term = mean_over_responses(estimator(batch), batch.mask)
        return output._replace(loss=output.loss + settings.kl_weight * term)

    settings = loss.settings if estimator is None else joined(loss.settings, KLSettings)
    return Loss(judge, settings, loss.group_mean)


def _check(batch: Batch) -> None:
    shape = batch.log_p.shape
    agree = len(shape) == 3 and shape == batch.log_q.shape == batch.mask.shape
    if not agree or batch.rewards.shape != shape[:2]:
        shapes = ", ".join(f"{name} {part.shape}" for name, part in batch._asdict().items())
        raise InvalidInput("batch", shapes, "three arrays [P, G, L] and rewards [P, G]")
    if shape[1] < 2:
        raise InvalidInput("--group-size", shape[1], "a group compares at least 2 responses")
