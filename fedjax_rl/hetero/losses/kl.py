"""Divergence terms, per token, from tokens that q sampled; d = log p − log q.

The reference is the policy q that sampled the response, neither the initial policy nor the
learner's of a step ago.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fedjax_rl.hetero.losses.contract import Batch
from fedjax_rl.hetero.losses.weights import LARGEST_LOG_WEIGHT, token_log_ratios, weight


def chi_square_less_kl(batch: Batch) -> jax.Array:
    """e^−d + d − 1 ≥ 0 [P, G, L], the term in the released code of arXiv 2508.17850.

    Called a KL divergence there, it has the mean KL(p‖q) under p. Under q, which sampled, its
    mean is χ²(q‖p) − KL(q‖p), where χ²(q‖p) = E_q[q/p] − 1; only near p = q do they agree.
    """
    log_ratios = token_log_ratios(batch)
    excess = jnp.maximum(-log_ratios - LARGEST_LOG_WEIGHT, 0.0)
    return jnp.expm1(-log_ratios - jax.lax.stop_gradient(excess)) + log_ratios


def kl(batch: Batch) -> jax.Array:
    """e^d (e^−d + d − 1) ≥ 0 [P, G, L]: its mean under q is KL(p‖q), its gradient's ∇KL.

    The contexts of the tokens are those that q visits.
    """
    log_ratios = token_log_ratios(batch)
    excess = jnp.maximum(log_ratios - LARGEST_LOG_WEIGHT, 0.0)
    ratio_less_one = jnp.expm1(log_ratios - jax.lax.stop_gradient(excess))
    return weight(log_ratios) * log_ratios - ratio_less_one


ESTIMATORS: dict[str, Callable[[Batch], jax.Array]] = {"code": chi_square_less_kl, "true": kl}
