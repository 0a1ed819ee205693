"""Advantages and returns of several signals at once."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def generalized_advantages(
    signals: jax.Array,
    values: jax.Array,
    following: jax.Array,
    ended: jax.Array,
    discount: jax.Array,
    decay: jax.Array,
) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

        δ_t = x_t + γ V(s_{t+1}) − V(s_t),   A_t = δ_t + γ λ A_{t+1} unless an episode ended at t

    Args:
        signals: x [T, …, S], rewards and costs.
        values: V(s_t) [T, …, S].
        following: V(s_{t+1}) [T, …, S]: zero where nothing follows, and of the final
            observation, not of the next episode's first, where a time limit cut.
        ended: [T, …] booleans, true where the recursion is cut.
        discount: γ [S].
        decay: λ [S].

    Returns:
        A [T, …, S]; the targets of the values are A + V.

    Examples:
        Three rewards of 1, the last step of an episode after them: with V = 0 and λ = 1 they are
        the discounted returns 1 + ½ + ¼, 1 + ½ and 1.

        >>> import jax.numpy as jnp
        >>> ended, nothing = jnp.array([False, False, True]), jnp.zeros((3, 1))
        >>> discount, decay = jnp.array([0.5]), jnp.array([1.0])
        >>> advantages = generalized_advantages(
        ...     jnp.ones((3, 1)), nothing, nothing, ended, discount, decay
        ... )
        >>> advantages[:, 0].tolist()
        [1.75, 1.5, 1.0]
    """
    chex.assert_equal_shape([signals, values, following])
    chex.assert_rank([ended, discount, decay], [signals.ndim - 1, 1, 1])
    chex.assert_type(ended, bool)
    residuals = signals + discount * following - values
    onward = jnp.where(ended[..., None], 0.0, discount * decay)

    def backwards(later: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple:
        residual, factor = now
        advantage = residual + factor * later
        return advantage, advantage

    start = jnp.zeros_like(residuals[0])
    advantages: jax.Array
    _, advantages = jax.lax.scan(backwards, start, (residuals, onward), reverse=True, unroll=8)
    return advantages


def following_values(
    values: jax.Array,
    last: jax.Array,
    final: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    bootstraps: jax.Array,
) -> jax.Array:
    """V(s_{t+1}) for every step, as `generalized_advantages` wants it.

    Args:
        values: V(s_t) [T, B, S].
        last: [B, S], of the observation after the last step.
        final: [L, B, S], of the observations in which a time limit cut an episode, in order;
            L is the most cuts an environment can see in T steps.
        terminated: [T, B] booleans; nothing follows.
        truncated: [T, B] booleans.
        bootstraps: [S] booleans: whether the signal goes on after a time limit. An
            undiscounted sum per episode does not.
    """
    chex.assert_rank([values, last, final], [3, 2, 3])
    chex.assert_rank([terminated, truncated, bootstraps], [2, 2, 1])
    chex.assert_type([terminated, truncated, bootstraps], bool)
    onward = jnp.concatenate([values[1:], last[None]])
    if len(final) == 0:
        return jnp.where(terminated[..., None], 0.0, onward)
    if len(final) == 1:
        at_limit = jnp.broadcast_to(final, values.shape)
    else:
        order = jnp.clip(jnp.cumsum(truncated, axis=0) - 1, 0, len(final) - 1)
        at_limit = jnp.take_along_axis(final, order[..., None], axis=0)
    cut = jnp.where(bootstraps, at_limit, 0.0)
    onward = jnp.where(truncated[..., None], cut, onward)
    return jnp.where(terminated[..., None], 0.0, onward)
