"""What a loss takes and gives, and how names find it.

Symbols: P prompts in a batch, G responses per prompt (a group), L the longest response. p is the
learner's policy, q the one that sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Registry


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
    """What shapes the program of a loss.

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


class LossSettings(NamedTuple):
    """Real-valued settings of the losses; float32 scalars, traced.

    Attributes:
        clip_low: ε below, in clip(w, 1 − ε, 1 + ε).
        clip_high: ε above.
        tis_cap: tis, the largest token weight.
        cispo_cap: cispo, its ε_high, the largest token weight; there is no lower bound.
        defensive: ds-gspo, α, the share of p in the denominator.
        length_exponent: delta_ln, α in L_i^−α.
        gmpo_clip: gmpo, c, the bound of a token's |log p − log q|.
        trace_rho: v-trace, ρ̄, the bound of the weights of a step and of the last one.
        trace_c: v-trace, c̄, the bound of the weights between them.
        baseline: v-trace, b, the value of every unfinished response.
        kl_threshold: gepo+, the divergence below which a response keeps its own denominator.
        kl_weight: the factor of the KL term, where there is one.
    """

    clip_low: Array
    clip_high: Array
    tis_cap: Array
    cispo_cap: Array
    defensive: Array
    length_exponent: Array
    gmpo_clip: Array
    trace_rho: Array
    trace_c: Array
    baseline: Array
    kl_threshold: Array
    kl_weight: Array


DEFAULT_SETTINGS = {
    "clip_low": 0.2,
    "clip_high": 0.2,
    "tis_cap": 1.0,
    "cispo_cap": 5.0,
    "defensive": 0.005,
    "length_exponent": 0.75,
    "gmpo_clip": 0.4,
    "trace_rho": 1.0,
    "trace_c": 1.0,
    "baseline": 0.5,
    "kl_threshold": 0.002,
    "kl_weight": 0.005,
}
"""The papers' values, which the command line has, too. Not theirs: cispo's cap, which arXiv
2506.13585 leaves open, and v-trace's baseline, which suits rewards of 0 and 1."""


def default_settings(**changes: float) -> LossSettings:
    """`DEFAULT_SETTINGS`, or as changed."""
    values = DEFAULT_SETTINGS | changes
    return LossSettings(**{name: jnp.float32(value) for name, value in values.items()})


class Judged(NamedTuple):
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


Loss = Callable[[Batch, LossSettings], Judged]

losses = Registry("loss")


def register_loss(name: str, factory: Callable[[LossChoices], Any]) -> Callable[[LossChoices], Any]:
    """Adds a loss under a name; see `Registry.register`."""
    return losses.register(name, factory)
