"""Losses whose importance weights are whole responses'.

p_i and q_i are the probabilities of response i of its group, geometric means over its tokens or
their products (`LossChoices.sequence_weight`); sg is the stopped gradient. Unless said otherwise
the loss is −mean_i S(w_i, A_i), with S(w, A) = min(w A, clip(w, 1 − ε_low, 1 + ε_high) A).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from fedjax_rl.checks import in_range, not_negative, positive
from fedjax_rl.hetero.losses.advantages import centred, standardised
from fedjax_rl.hetero.losses.contract import (
    Batch,
    Loss,
    LossChoices,
    LossOutput,
    register_loss,
)
from fedjax_rl.hetero.losses.kl import chi_square_less_kl
from fedjax_rl.hetero.losses.weights import (
    ClipSettings,
    clipped_objective,
    group_log_mean,
    lengths,
    mean_over_tokens,
    sequence_logs,
    token_log_ratios,
    weight,
)
from fedjax_rl.plugins import joined


class GepoPlusSettings(NamedTuple):
    """Settings of gepo+, beside ε.

    Attributes:
        kl_threshold: the divergence below which a response keeps its own denominator.
    """

    kl_threshold: Annotated[
        float, not_negative, "Divergence below which a response keeps its own denominator."
    ] = 0.002


class DefensiveSettings(NamedTuple):
    """Settings of ds-gspo, beside ε.

    Attributes:
        defensive: α, the share of p in the denominator.
    """

    defensive: Annotated[
        float, in_range(0, 1), "Share of the learner's policy in the denominator."
    ] = 0.005


class GmpoSettings(NamedTuple):
    """Settings of gmpo.

    Attributes:
        gmpo_clip: c, the bound of a token's |log p − log q|.
    """

    gmpo_clip: Annotated[float, positive, "Bound of a token's |log p − log q|."] = 0.4


LogWeight = Callable[[Batch, Any], jax.Array]
"""(batch, settings) -> log w [P, G]."""


def gspo(choices: LossChoices) -> Loss:
    """Group sequence policy optimisation (arXiv 2507.18071): w_i = p_i / q_i."""

    def log_weight(batch: Batch, settings: Any) -> jax.Array:
        log_p, log_q = sequence_logs(batch, choices)
        return log_p - log_q

    return _clipped(log_weight, standardised)


def gepo(choices: LossChoices) -> Loss:
    """Group expectation policy optimisation (arXiv 2508.17850): w_i = p_i / sg(E).

    E = Σ_j q_j² / Σ_j q_j over the prompt's group if weighted, Σ_j q_j / G if plain.

    Examples:
        On fresh data, p = q = (½, ¼): E = (¼ + 1/16) / ¾ = 5/12 and w = (6/5, 3/5), not 1.

        >>> import jax.numpy as jnp
        >>> from fedjax_rl.hetero.losses import Batch, build_loss, default_settings
        >>> log_q = jnp.log(jnp.array([[[0.5], [0.25]]]))  # one prompt, two responses of one token
        >>> batch = Batch(log_q, log_q, jnp.ones((1, 2, 1), bool), jnp.array([[1.0, 0.0]]))
        >>> loss = build_loss("gepo")
        >>> [f"{w:.3f}" for w in loss(batch, default_settings(loss)).weights.ravel()]
        ['1.200', '0.600']
    """

    def log_weight(batch: Batch, settings: Any) -> jax.Array:
        log_p, log_q = sequence_logs(batch, choices)
        return log_p - stop_gradient(group_log_mean(log_q, log_q, choices))

    return _clipped(log_weight, centred, group_mean=True)


def gepo_plus(choices: LossChoices) -> Loss:
    """GEPO (arXiv 2508.17850) far from the sampler, GSPO (arXiv 2507.18071) near it.

        w_i = p_i / sg(q_i if KL_i < threshold else E)

    KL_i is the response's mean over tokens of `kl.chi_square_less_kl`.
    """

    def log_weight(batch: Batch, settings: Any) -> jax.Array:
        log_p, log_q = sequence_logs(batch, choices)
        divergence = chi_square_less_kl(batch).sum(-1) / lengths(batch.mask)
        near = divergence < settings.kl_threshold
        log_mean = group_log_mean(log_q, log_q, choices)
        return log_p - stop_gradient(jnp.where(near, log_q, log_mean))

    own = joined(ClipSettings, GepoPlusSettings)
    return _clipped(log_weight, centred, own, group_mean=True)


def eqp(choices: LossChoices) -> Loss:
    """The group's mean of p as denominator: w_i = p_i / Σ_j q̂_j p_j, with its gradient.

    q̂_j = q_j / Σ_j q_j if weighted, 1 / G if plain (arXiv 2508.17850).
    """

    def log_weight(batch: Batch, settings: Any) -> jax.Array:
        log_p, log_q = sequence_logs(batch, choices)
        return log_p - group_log_mean(log_p, log_q, choices)

    return _clipped(log_weight, centred, group_mean=True)


def ds_gspo(choices: LossChoices) -> Loss:
    """GSPO with the learner in the denominator: w_i = p_i / ((1 − α) q_i + α sg(p_i)) ≤ 1/α.

    Responses still come from q: this smooths the weights, and E_q[w] ≠ 1 (arXiv 2508.17850).
    """

    def log_weight(batch: Batch, settings: Any) -> jax.Array:
        log_p, log_q = sequence_logs(batch, choices)
        alpha = settings.defensive
        share = jnp.log(alpha) + stop_gradient(log_p)
        return log_p - jnp.logaddexp(jnp.log1p(-alpha) + log_q, share)

    return _clipped(log_weight, standardised, joined(ClipSettings, DefensiveSettings))


def gmpo(choices: LossChoices) -> Loss:
    """Geometric-mean policy optimisation (arXiv 2507.20673): −mean_i A_i e^{m_i}.

        m_i = mean_t sgn(A_i) min(sgn(A_i) d_it, sgn(A_i) clip(d_it, −c, c)),  d = log p − log q

    Its weight is a geometric mean by definition, whatever the choice of sequence weight.
    """

    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_ratios = token_log_ratios(batch)
        advantage = centred(batch.rewards)
        sign = jnp.sign(advantage)[..., None]
        free = sign * log_ratios
        bounded = sign * jnp.clip(log_ratios, -settings.gmpo_clip, settings.gmpo_clip)
        count = lengths(batch.mask)
        ratio = weight((sign * jnp.minimum(free, bounded)).sum(-1) / count)
        return LossOutput(
            loss=-(advantage * ratio).mean(),
            advantages=advantage,
            weights=stop_gradient(weight(log_ratios.sum(-1) / count))[..., None],
            clipped=mean_over_tokens(bounded < free, batch.mask),
        )

    return Loss(loss, GmpoSettings)


def topr(choices: LossChoices) -> Loss:
    """Tapered off-policy REINFORCE (arXiv 2503.14286): −mean_i sg(k_i) A_i log p_i.

    k_i = 1 where A_i ≥ 0, and min(p_i / q_i, 1) elsewhere.
    """

    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_p, log_q = sequence_logs(batch, choices)
        advantage = centred(batch.rewards)
        log_ratio = log_p - log_q
        taper = jnp.where(advantage >= 0.0, 1.0, weight(jnp.minimum(log_ratio, 0.0)))
        return LossOutput(
            loss=-(stop_gradient(taper) * advantage * log_p).mean(),
            advantages=advantage,
            weights=stop_gradient(weight(log_ratio))[..., None],
            clipped=((advantage < 0.0) & (log_ratio > 0.0)).mean(dtype=jnp.float32),
        )

    return Loss(loss)


def _clipped(
    log_weight_of: LogWeight,
    advantage_of: Callable[[jax.Array], jax.Array],
    settings: Any = ClipSettings,
    group_mean: bool = False,
) -> Loss:
    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_weight = log_weight_of(batch, settings)
        advantage = advantage_of(batch.rewards)
        objective, active = clipped_objective(log_weight, advantage, settings)
        return LossOutput(
            loss=-objective.mean(),
            advantages=advantage,
            weights=stop_gradient(weight(log_weight))[..., None],
            clipped=active.mean(dtype=jnp.float32),
        )

    return Loss(loss, settings, group_mean)


register_loss("gspo", gspo)
register_loss("gepo", gepo)
register_loss("gepo+", gepo_plus)
register_loss("eqp", eqp)
register_loss("ds-gspo", ds_gspo)
register_loss("gmpo", gmpo)
register_loss("topr", topr)
