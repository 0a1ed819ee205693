"""The contract of a loss: its batch, its output, and the registry of losses.

Symbols: P prompts in a batch, G responses per prompt (a group), L the longest response. p is the
learner's policy, q the one that sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Registry
from fedjax_rl.checks import not_negative
from fedjax_rl.plugins import NoSettings as NoSettings


class Batch(NamedTuple):
    """P groups of G responses of at most L tokens; every group answers one prompt.

    Attributes:
        log_p: log p of each token under the learner's policy [P, G, L], nats, differentiable.
        log_q: log q under the policy that sampled them [P, G, L], nats.
        mask: booleans [P, G, L], which tokens are the response's; the others are never used.
        rewards: one per response [P, G].
    """

    log_p: Array
    log_q: Array
    mask: Array
    rewards: Array


class LossChoices(NamedTuple):
    """Static settings of a loss, which shape its program.

    Attributes:
        sequence_weight: the probability of a response in the losses of whole sequences:
            ``geometric``, exp(mean_t log p_t) as in the code of arXiv 2508.17850, or ``product``,
            exp(Σ_t log p_t) as in its theory.
        denominator: of gepo, gepo+ and eqp: ``weighted``, by q_j / Σ_j q_j over the group, or
            ``plain``, the group's mean.
        kl: the term added to every loss, against the policy q that sampled: ``none``; ``code``,
            see `kl.chi_square_less_kl`; ``true``, see `kl.kl`.
    """

    sequence_weight: Literal["product", "geometric"] = "product"
    denominator: Literal["weighted", "plain"] = "weighted"
    kl: Literal["none", "code", "true"] = "none"


DEFAULT_CHOICES = LossChoices()
"""Those of the command line, too."""
ALLOWED_CHOICES = {
    "sequence_weight": ("geometric", "product"),
    "denominator": ("weighted", "plain"),
    "kl": ("none", "code", "true"),
}


class KLSettings(NamedTuple):
    """Settings of the KL term that is added to every loss.

    Attributes:
        kl_weight: its factor.
    """

    kl_weight: Annotated[float, not_negative, "Of the penalty of --kl."] = 0.005


class LossOutput(NamedTuple):
    """A batch's loss and what explains it.

    Attributes:
        loss: scalar to minimise.
        advantages: A [P, G].
        weights: importance weights before any clipping or truncation, [P, G, L] (1 where the mask
            is false) or, for losses of whole sequences, [P, G, 1]; carry no gradient.
        clipped: the fraction of tokens (of responses, for losses of whole sequences other than
            gmpo) where clipping or truncation changed the objective.
    """

    loss: Array
    advantages: Array
    weights: Array
    clipped: Array


class Loss(NamedTuple):
    """A loss and the constants that it reads.

    Attributes:
        judge: (batch, settings) -> `LossOutput`; ``settings`` has the fields below, as float32
            scalars that are traced.
        settings: a NamedTuple of real numbers with defaults, each annotated with what it must be
            and its help on the command line: ``Annotated[float, positive, "largest weight"]``.
            They are flags, settings in YAML and in Python, and axes of sweeps like any other.
        group_mean: whether it takes a group's mean, for which there is a choice of denominator;
            unless it says so, ``--denominator`` is refused.
    """

    judge: Callable[[Batch, Any], LossOutput]
    settings: Any = NoSettings
    group_mean: bool = False

    def __call__(self, batch: Batch, settings: Any) -> LossOutput:
        """The loss of a batch, with its weights and what was clipped."""
        return self.judge(batch, settings)


def default_settings(loss: Loss, **changes: float) -> Any:
    """The settings of a loss, strongly typed: its defaults, or as changed."""
    values = loss.settings._field_defaults | changes
    return loss.settings(**{name: jnp.float32(value) for name, value in values.items()})


losses = Registry("loss", Loss, field="loss")


def register_loss(name: str, factory: Callable[[LossChoices], Any]) -> Callable[[LossChoices], Any]:
    """Adds a loss under a name; see `Registry.register`."""
    return losses.register(name, factory)
