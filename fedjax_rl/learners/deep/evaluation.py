"""Evaluation of a policy in whole episodes, with keys of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.backend import platform
from fedjax_rl.learners.deep.batch import features_of
from fedjax_rl.learners.deep.design import Design, flat
from fedjax_rl.learners.deep.rollout import transition
from fedjax_rl.learners.deep.state import DeepShared

STEPS_AT_MOST = 500_000
"""Where episodes without a time limit are given up. Of a finite problem, whose γ is at most 0.9999,
one in e⁵⁰ is that long; other environments may have policies under which they never end."""

STEPS_PER_LOOK = {"cpu": 1}
STEPS_PER_LOOK_ON_ACCELERATOR = 16
"""Steps between two looks at whether any episode goes on, a divisor of `STEPS_AT_MOST`: an
accelerator stands still while the host reads the answer."""


class Episodes(NamedTuple):
    """Returns and lengths of whole episodes of one policy.

    Attributes:
        reward: [episodes], undiscounted sums.
        costs: [episodes, M], in the unit of each budget.
        length: [episodes], steps.
        unfinished: [episodes] booleans, given up after `STEPS_AT_MOST` steps; the sums of these
            are what they had come to by then.
    """

    reward: jax.Array
    costs: jax.Array
    length: jax.Array
    unfinished: jax.Array


class Evaluation(NamedTuple):
    """Means over episodes of the policy as it is, and of its mode.

    Attributes:
        reward: scalar.
        costs: [M].
        mode_reward: scalar, when the most likely action is always taken.
        mode_costs: [M].
        unfinished: scalar, the share of episodes that were given up before they ended.
        mode_unfinished: scalar, likewise.
        cost_errors: [M], standard errors of ``costs``: deviation over √episodes.
    """

    reward: jax.Array
    costs: jax.Array
    mode_reward: jax.Array
    mode_costs: jax.Array
    unfinished: jax.Array
    mode_unfinished: jax.Array
    cost_errors: jax.Array


def evaluate(
    key: jax.Array, shared: DeepShared, params: Pytree, design: Design, episodes: int
) -> Evaluation:
    """Plays so many episodes with the policy, and as many with its mode.

    Args:
        key: of this evaluation, used for nothing else.
        shared: the merged policy.
        params: of the agents' dynamics, leading axis N; episodes are dealt among them in turn.
        design: task and networks.
        episodes: of each kind, static.

    Returns:
        Mean reward, a scalar, and costs [M] of both, which share of the episodes never ended, and
        how well the costs are known.
    """
    modes = jnp.arange(2 * episodes) >= episodes
    played = play(key, shared, params, design, 2 * episodes, mode=modes)
    reward = played.reward.reshape(2, episodes).mean(1)
    each = played.costs.reshape(2, episodes, played.costs.shape[1])
    costs, errors = each.mean(1), each[0].std(0, ddof=1) / jnp.sqrt(episodes)
    unfinished = played.unfinished.reshape(2, episodes).mean(1, dtype=jnp.float32)
    return Evaluation(
        *(reward[0], costs[0], reward[1], costs[1], unfinished[0], unfinished[1], errors)
    )


def play(
    key: jax.Array,
    shared: DeepShared,
    params: Pytree,
    design: Design,
    episodes: int,
    *,
    mode: Array = False,
) -> Episodes:
    """One episode in each of so many environments, played to the end or to `STEPS_AT_MOST`.

    Args:
        key: of these episodes.
        shared: the policy and its moments of observations.
        params: leading axis N; episode e has the dynamics of agent e mod N.
        design: task and networks.
        episodes: static.
        mode: whether to take the most likely action; scalar, or for each episode.
    """
    task = design.task
    key_reset, key_steps = jax.random.split(key)
    agents = jax.tree.leaves(params)[0].shape[0]
    dealt = jax.tree.map(lambda leaf: leaf[jnp.arange(episodes) % agents], params)
    observation, state = jax.vmap(task.environment.reset_env)(
        jax.random.split(key_reset, episodes), dealt
    )
    modes = jnp.broadcast_to(mode, (episodes,))
    kinds = jnp.array([kind == "discounted" for kind in task.kinds], bool)
    factor = jnp.where(kinds, task.cost_discount, 1.0)

    def one_step(now: tuple[Any, ...]) -> tuple[Any, ...]:
        time, observation, state, alive, sums, weight, length = now
        # By the time and not drawn ahead: nobody knows how long the longest episode is.
        key_noise, key_step = jax.random.split(jax.random.fold_in(key_steps, time))
        parameters = design.actor.apply(shared.actor, features_of(design, shared, observation))
        noise = design.distribution.noise(key_noise, (episodes,))
        drawn = design.distribution.sample(parameters, noise)
        likely = design.distribution.mode(parameters)
        action = jnp.where(modes.reshape(-1, *(1,) * (drawn.ndim - 1)), likely, drawn)
        keys = jax.random.split(key_step, episodes)
        observation, state, signals, terminated, truncated = jax.vmap(
            transition, (0, 0, 0, 0, None)
        )(keys, state, action, dealt, design)
        sums = sums + jnp.where(alive[:, None], weight * signals, 0.0)
        weight = weight * jnp.append(1.0, factor)
        length = length + alive
        alive = alive & ~(terminated | truncated)
        return time + 1, observation, state, alive, sums, weight, length

    def several(now: tuple[Any, ...]) -> tuple[Any, ...]:
        # Steps after an episode's end count for nothing, so that a few too many change no figure.
        steps = STEPS_PER_LOOK.get(platform(), STEPS_PER_LOOK_ON_ACCELERATOR)
        if steps == 1:
            return one_step(now)
        after: tuple[Any, ...] = jax.lax.fori_loop(0, steps, lambda _, own: one_step(own), now)
        return after

    def going(now: tuple[Any, ...]) -> jax.Array:
        return now[3].any() & (now[0] < (task.time_limit or STEPS_AT_MOST))

    sums = jnp.zeros((episodes, 1 + task.num_constraints))
    start = (
        jnp.zeros((), jnp.int32),
        jax.vmap(flat)(observation),
        state,
        jnp.ones(episodes, bool),
        sums,
        jnp.ones_like(sums),
        jnp.zeros(episodes, jnp.int32),
    )
    *_, alive, sums, _, length = jax.lax.while_loop(going, several, start)
    per_step = jnp.array([kind == "step" for kind in task.kinds], bool)
    costs = jnp.where(per_step, sums[:, 1:] / jnp.maximum(length, 1)[:, None], sums[:, 1:])
    return Episodes(sums[:, 0], costs, length, alive)
