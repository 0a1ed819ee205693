"""Losses whose importance weights are the tokens': w_it = e^{d_it}, d = log p − log q.

S(w, A) = min(w A, clip(w, 1 − ε_low, 1 + ε_high) A) is what a clipped loss maximises. B = P G is
the number of responses, L_i the length of one, sg the stopped gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.checks import in_range, not_negative, positive
from fedjax_rl.hetero.losses import advantages
from fedjax_rl.hetero.losses.contract import (
    Batch,
    Loss,
    LossChoices,
    LossOutput,
    register_loss,
)
from fedjax_rl.hetero.losses.weights import (
    ClipSettings,
    clipped_objective,
    lengths,
    mean_over_responses,
    mean_over_tokens,
    token_log_p,
    token_log_ratios,
    weight,
)
from fedjax_rl.plugins import joined


class DeltaLnSettings(NamedTuple):
    """Settings of delta_ln, beside ε.

    Attributes:
        length_exponent: α in L_i^−α.
    """

    length_exponent: Annotated[float, not_negative, "α of L^−α."] = 0.75


class CispoSettings(NamedTuple):
    """Settings of cispo. arXiv 2506.13585 leaves the value open.

    Attributes:
        cispo_cap: its ε_high, the largest token weight; there is no lower bound.
    """

    cispo_cap: Annotated[float, positive, "Largest token weight."] = 5.0


class TisSettings(NamedTuple):
    """Settings of tis.

    Attributes:
        tis_cap: the largest token weight.
    """

    tis_cap: Annotated[float, positive, "Largest token weight."] = 1.0


class VTraceSettings(NamedTuple):
    """Settings of v-trace; the baseline suits rewards of 0 and 1.

    Attributes:
        trace_rho: ρ̄, the bound of the weights of a step and of the last one.
        trace_c: c̄, the bound of the weights between them.
        baseline: b, the value of every unfinished response.
    """

    trace_rho: Annotated[float, positive, "ρ̄."] = 1.0
    trace_c: Annotated[float, positive, "c̄."] = 1.0
    baseline: Annotated[float, in_range(0, 1), "Value of an unfinished response."] = 0.5


Advantage = Callable[[jax.Array], jax.Array]
Aggregate = Callable[[jax.Array, jax.Array, Any], jax.Array]
"""(values [P, G, L], mask, settings) -> scalar."""


def grpo(choices: LossChoices) -> Loss:
    """Group relative policy optimisation (arXiv 2402.03300): −mean_i Σ_t S / L_i."""

    def aggregate(values: jax.Array, mask: jax.Array, settings: Any) -> jax.Array:
        return mean_over_responses(values, mask)

    return _clipped(advantages.standardised, aggregate)


def dr_grpo(choices: LossChoices) -> Loss:
    """GRPO without its biases of length and difficulty (arXiv 2503.20783): −Σ S / (B L)."""

    def aggregate(values: jax.Array, mask: jax.Array, settings: Any) -> jax.Array:
        return jnp.where(mask, values, 0.0).mean()

    return _clipped(advantages.centred, aggregate)


def bnpo(choices: LossChoices) -> Loss:
    """Rewards normalised by a Beta density (arXiv 2506.02864): −Σ S / Σ_i L_i."""
    return _clipped(advantages.beta_normalised, _per_token)


def bnpo_trl(choices: LossChoices) -> Loss:
    """What the library TRL calls bnpo: −Σ S / Σ_i L_i, and no Beta density.

    Its advantages are GRPO's (arXiv 2402.03300).
    """
    return _clipped(advantages.standardised, _per_token)


def delta_ln(choices: LossChoices) -> Loss:
    """Length-weighted mean of least variance (arXiv 2509.07558): −Σ_i ω_i Σ_t S / L.

    ω_i = L_i^−α / Σ_j L_j^−α, over all responses of the batch.
    """

    def aggregate(values: jax.Array, mask: jax.Array, settings: Any) -> jax.Array:
        shares = jax.nn.softmax(-settings.length_exponent * jnp.log(lengths(mask)), axis=(0, 1))
        return (shares * jnp.where(mask, values, 0.0).sum(-1)).sum() / mask.shape[-1]

    return _clipped(advantages.centred, aggregate, joined(ClipSettings, DeltaLnSettings))


def cispo(choices: LossChoices) -> Loss:
    """Policy gradient with bounded weights (arXiv 2506.13585).

    −Σ_it sg min(w, ε_high) A log p / Σ_i L_i: ε_high bounds the weight itself, nothing bounds it
    from below.
    """
    return _truncated(lambda settings: settings.cispo_cap, CispoSettings)


def tis(choices: LossChoices) -> Loss:
    """Truncated importance sampling (Ionides 2008): −Σ_it sg min(w, cap) A log p / Σ_i L_i."""
    return _truncated(lambda settings: settings.tis_cap, TisSettings)


def v_trace(choices: LossChoices) -> Loss:
    """V-trace's policy gradient (arXiv 1802.01561): −Σ_it sg(τ_it) (r_i − b) log p_it / Σ_i L_i.

        τ_t = min(ρ̄, w_t) Π_{t<u<T} min(c̄, w_u) min(ρ̄, w_T) for t < T,  τ_T = min(ρ̄, w_T)

    for a reward after the last token T, no discount and a constant value b. Its weights before
    truncation are Π_{u≥t} w_u.
    """

    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_ratios = token_log_ratios(batch)
        last = batch.mask & (_sum_from_here(batch.mask) == 1)
        rho = jnp.minimum(log_ratios, jnp.log(settings.trace_rho))
        between = jnp.minimum(log_ratios, jnp.log(settings.trace_c))
        later = jnp.where(batch.mask, jnp.where(last, rho, between), 0.0)
        advantage = batch.rewards - settings.baseline
        terms = weight(rho + _sum_after(later)) * advantage[..., None]
        truncated = (rho < log_ratios) | (_sum_after(later < log_ratios) > 0)
        active = truncated & (advantage != 0.0)[..., None]
        return _policy_gradient(batch, terms, advantage, _sum_from_here(log_ratios), active)

    return Loss(loss, VTraceSettings)


def _clipped(advantage_of: Advantage, aggregate: Aggregate, settings: Any = ClipSettings) -> Loss:
    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_ratios = token_log_ratios(batch)
        advantage = advantage_of(batch.rewards)
        objective, active = clipped_objective(log_ratios, advantage[..., None], settings)
        return LossOutput(
            loss=-aggregate(objective, batch.mask, settings),
            advantages=advantage,
            weights=jax.lax.stop_gradient(weight(log_ratios)),
            clipped=mean_over_tokens(active, batch.mask),
        )

    return Loss(loss, settings)


def _per_token(values: jax.Array, mask: jax.Array, settings: Any) -> jax.Array:
    return mean_over_tokens(values, mask)


def _truncated(cap_of: Callable[[Any], jax.Array], settings: Any) -> Loss:
    def loss(batch: Batch, settings: Any) -> LossOutput:
        log_ratios = token_log_ratios(batch)
        log_cap = jnp.log(cap_of(settings))
        advantage = advantages.centred(batch.rewards)
        terms = weight(jnp.minimum(log_ratios, log_cap)) * advantage[..., None]
        active = (log_ratios > log_cap) & (advantage != 0.0)[..., None]
        return _policy_gradient(batch, terms, advantage, log_ratios, active)

    return Loss(loss, settings)


def _policy_gradient(
    batch: Batch, terms: jax.Array, advantage: jax.Array, log_weights: jax.Array, active: jax.Array
) -> LossOutput:
    """−Σ_it sg(x_it) log p_it / Σ_i L_i, for x = truncated weight · advantage [P, G, L]."""
    objective = jax.lax.stop_gradient(terms) * token_log_p(batch)
    return LossOutput(
        loss=-mean_over_tokens(objective, batch.mask),
        advantages=advantage,
        weights=jax.lax.stop_gradient(weight(log_weights)),
        clipped=mean_over_tokens(active, batch.mask),
    )


def _sum_from_here(values: jax.Array) -> jax.Array:
    """Σ_{u≥t} x_u [..., L]."""
    return jnp.cumsum(values[..., ::-1], axis=-1)[..., ::-1]


def _sum_after(values: jax.Array) -> jax.Array:
    """Σ_{u>t} x_u [..., L]."""
    return jnp.pad(_sum_from_here(values)[..., 1:], [(0, 0)] * (values.ndim - 1) + [(0, 1)])


register_loss("grpo", grpo)
register_loss("dr_grpo", dr_grpo)
register_loss("bnpo", bnpo)
register_loss("bnpo_trl", bnpo_trl)
register_loss("delta_ln", delta_ln)
register_loss("cispo", cispo)
register_loss("tis", tis)
register_loss("v-trace", v_trace)
