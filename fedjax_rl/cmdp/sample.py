"""Monte-Carlo evaluation with a geometric horizon: what an agent without a model can do."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fedjax_rl.cmdp.dynamics import DenseDynamics, Model
from fedjax_rl.cmdp.evaluate import Estimate, TabularPolicy

Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
Evaluation = Callable[[jax.Array, TabularPolicy, jax.Array, jax.Array, Model], Estimate]


def evaluate_by_sampling(rollouts: int) -> Evaluation:
    """An evaluation like `evaluate_exactly`, from rollouts that start in every (s, a).

    A rollout lasts H steps with P(H > t) = γᵗ, so the plain sum of its signals is an unbiased
    estimate of Q(s, a) (arXiv 2405.03236 evaluates its tabular agents in this way, K = 10).
    V(s) = Σ_a π(a|s) Q(s, a), and all signals share their rollouts.

    Args:
        rollouts: K, per state and action.
    """

    def evaluate(
        key: jax.Array,
        policy: TabularPolicy,
        signals: jax.Array,
        coefficients: jax.Array,
        model: Model,
    ) -> Estimate:
        num_states, num_actions = policy.logits.shape
        pairs = num_states * num_actions
        rollout = jax.vmap(_rollout, (0, 0, 0, None, None, None))
        state, action = jnp.divmod(jnp.tile(jnp.arange(pairs), rollouts), num_actions)
        sums, lengths = rollout(
            jax.random.split(key, rollouts * pairs), state, action, policy, signals, model
        )
        mean = sums.reshape(rollouts, num_states, num_actions, -1).mean(0)
        value = jnp.einsum("sa,sak->sk", policy.probabilities, mean)
        return Estimate(
            (mean - value[:, None, :]) @ coefficients, model.initial @ value, lengths.sum()
        )

    return evaluate


def _rollout(
    key: jax.Array,
    state: jax.Array,
    action: jax.Array,
    policy: TabularPolicy,
    signals: jax.Array,
    model: Model,
) -> tuple[jax.Array, jax.Array]:
    """Undiscounted sums [K] of one rollout from (state, action), and its length."""
    key_horizon, key_steps = jax.random.split(key)
    horizon = _geometric(key_horizon, model.discount)

    def unfinished(carry: Carry) -> jax.Array:
        return carry[0] < horizon

    def advance(carry: Carry) -> Carry:
        time, state, action, sums = carry
        key_next, key_action = jax.random.split(jax.random.fold_in(key_steps, time))
        sums = sums + signals[:, state, action]
        state = _next_state(key_next, state, action, model)
        action = jax.random.categorical(key_action, policy.logits[state])
        return time + 1, state, action, sums

    start = (jnp.zeros((), jnp.int64), state, action, jnp.zeros(signals.shape[0]))
    length, _, _, sums = jax.lax.while_loop(unfinished, advance, start)
    return sums, length


def _geometric(key: jax.Array, discount: jax.Array) -> jax.Array:
    """H ≥ 1 with P(H > t) = γᵗ."""
    uniform = jax.random.uniform(key, minval=jnp.finfo(float).tiny)
    return 1 + jnp.floor(jnp.log(uniform) / jnp.log(discount)).astype(jnp.int64)


def _next_state(key: jax.Array, state: jax.Array, action: jax.Array, model: Model) -> jax.Array:
    dynamics = model.dynamics
    if isinstance(dynamics, DenseDynamics):
        return jax.random.categorical(key, jnp.log(dynamics.transition[state, action]))
    drawn = jax.random.categorical(key, jnp.log(dynamics.probability[state, action]))
    return jnp.asarray(dynamics.successor)[state, drawn].astype(state.dtype)
