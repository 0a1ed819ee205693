"""Monte-Carlo evaluation with a geometric horizon: what an agent without a model can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.cmdp.dynamics import DenseDynamics, Dynamics, Model
from fedjax_rl.cmdp.evaluate import Estimate, Lagrangian, TabularPolicy

Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
Evaluation = Callable[[jax.Array, TabularPolicy, Lagrangian, Model], Estimate]


def evaluate_by_sampling(rollouts: int) -> Evaluation:
    """An evaluation like `evaluate_exactly`, from rollouts that start in every (s, a).

    A rollout lasts H steps with P(H > t) = γᵗ, so the plain sum of its signals is an unbiased
    estimate of Q(s, a) (arXiv 2405.03236 evaluates its tabular agents in this way, K = 10).
    V(s) = Σ_a π(a|s) Q(s, a), and all signals share their rollouts.

    Args:
        rollouts: K, per state and action.
    """

    def evaluate(
        key: jax.Array, policy: TabularPolicy, lagrangian: Lagrangian, model: Model
    ) -> Estimate:
        num_states, num_actions = policy.logits.shape
        pairs = num_states * num_actions
        bonus = () if lagrangian.bonus is None else (lagrangian.bonus[None],)
        signals = jnp.concatenate([model.reward[None], lagrangian.costs, *bonus])
        chances = Chances(
            jnp.cumsum(policy.probabilities, axis=-1), *_cumulative_transition(model.dynamics)
        )
        rollout = jax.vmap(_rollout, (0, 0, 0, None, None, None))
        state, action = jnp.divmod(jnp.tile(jnp.arange(pairs), rollouts), num_actions)
        sums, lengths = rollout(
            jax.random.split(key, rollouts * pairs), state, action, chances, signals, model.discount
        )
        mean = sums.reshape(rollouts, num_states, num_actions, -1).mean(0)
        value = jnp.einsum("sa,sak->sk", policy.probabilities, mean)
        coefficients = [lagrangian.reward_weight[None], -lagrangian.penalties]
        coefficients += [] if lagrangian.bonus is None else [jnp.ones(1)]
        returns = model.initial @ value
        advantage = (mean - value[:, None, :]) @ jnp.concatenate(coefficients)
        num_costs = lagrangian.costs.shape[0]
        return Estimate(advantage, returns[0], returns[1 : 1 + num_costs], lengths.sum())

    return evaluate


class Chances(NamedTuple):
    """Cumulative probabilities to draw from by one uniform number.

    Attributes:
        action: [S, A], of π(· | s).
        arrival: [S, A, B], of the successors of (s, a).
        successor: [S, B], which states those are; None when B is all states in order.
    """

    action: jax.Array
    arrival: jax.Array
    successor: jax.Array | None


def _cumulative_transition(dynamics: Dynamics) -> tuple[jax.Array, jax.Array | None]:
    if isinstance(dynamics, DenseDynamics):
        return jnp.cumsum(dynamics.transition, axis=-1), None
    return jnp.cumsum(dynamics.probability, axis=-1), jnp.asarray(dynamics.successor)


def _rollout(
    key: jax.Array,
    state: jax.Array,
    action: jax.Array,
    chances: Chances,
    signals: jax.Array,
    discount: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Undiscounted sums [K] of one rollout from (state, action), and its length."""
    key_horizon, key_steps = jax.random.split(key)
    horizon = _geometric(key_horizon, discount)

    def unfinished(carry: Carry) -> jax.Array:
        return carry[0] < horizon

    def advance(carry: Carry) -> Carry:
        time, state, action, sums = carry
        uniform = jax.random.uniform(jax.random.fold_in(key_steps, time), (2,))
        sums = sums + signals[:, state, action]
        arrival = _draw(uniform[0], chances.arrival[state, action])
        if chances.successor is not None:
            arrival = chances.successor[state, arrival].astype(state.dtype)
        return time + 1, arrival, _draw(uniform[1], chances.action[arrival]), sums

    start = (jnp.zeros((), jnp.int64), state, action, jnp.zeros(signals.shape[0]))
    length, _, _, sums = jax.lax.while_loop(unfinished, advance, start)
    return sums, length


def _draw(uniform: jax.Array, cumulative: jax.Array) -> jax.Array:
    """Index drawn from cumulative weights; one of weight zero is never drawn."""
    return jnp.sum(cumulative <= uniform * cumulative[-1])


def _geometric(key: jax.Array, discount: jax.Array) -> jax.Array:
    """H ≥ 1 with P(H > t) = γᵗ."""
    uniform = jax.random.uniform(key, minval=jnp.finfo(float).tiny)
    return 1 + jnp.floor(jnp.log(uniform) / jnp.log(discount)).astype(jnp.int64)
