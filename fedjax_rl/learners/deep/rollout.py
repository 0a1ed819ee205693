"""An agent acts for T steps in each of its B environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.envs.task import Task, time_left
from fedjax_rl.learners.deep.design import Design, flat
from fedjax_rl.ops.select import where

Act = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(observations [B, D], noise [B, …]) -> (parameters [B, P], actions [B, …])."""


class Environments(NamedTuple):
    """B environments between two steps; they stay with their agent.

    Attributes:
        observation: [B, D].
        state: of the environments, leading axis B.
        episode_sums: [B, 1 + M], reward and costs so far of the episodes under way.
        weight: [B, 1 + M], factor on what the next step adds to these sums; None where nothing
            is discounted.
    """

    observation: jax.Array
    state: Pytree
    episode_sums: jax.Array
    weight: jax.Array | None


class Rollout(NamedTuple):
    """T steps of B environments: observations, actions, rewards and costs, ends.

    Attributes:
        observations: [T, B, D], before each step.
        parameters: [T, B, P], of the distribution the action was drawn from.
        actions: [T, B, …].
        signals: [T, B, 1 + M], reward and all costs of each step.
        terminated: [T, B] booleans.
        truncated: [T, B] booleans, time limits reached and not terminated.
        time_left: [T + 1, B], 1 at an episode's start, 0 at its time limit.
        last: [B, D], after the last step.
        final: [L, B, D], in which a time limit cut an episode.
        episodes: scalar, finished ones.
        episode_sums: [1 + M], reward and costs summed over them; of costs with a discounted
            budget, their discounted sums.
    """

    observations: jax.Array
    parameters: jax.Array
    actions: jax.Array
    signals: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    time_left: jax.Array
    last: jax.Array
    final: jax.Array
    episodes: jax.Array
    episode_sums: jax.Array


def begin(key: jax.Array, params: Pytree, design: Design) -> Environments:
    """B environments at the start of an episode.

    Args:
        key: of these states.
        params: of the environment's dynamics.
        design: task, and B.

    Returns:
        Observations [B, D], states, and sums [B, 1 + M] of zero.
    """
    batch, signals = design.choices.envs, 1 + design.task.num_constraints
    reset = jax.vmap(design.task.environment.reset_env, (0, None))
    observation, state = reset(jax.random.split(key, batch), params)
    observation = jax.vmap(flat)(observation)
    weight = jnp.ones((batch, signals)) if "discounted" in design.task.kinds else None
    return Environments(observation, state, jnp.zeros((batch, signals)), weight)


def collect(
    key: jax.Array, act: Act, environments: Environments, params: Pytree, design: Design
) -> tuple[Rollout, Environments]:
    """T steps of B environments; an episode that ends is followed by the next one.

    Everything random is drawn before the loop, in a few large calls: the actions' noise and the
    states in which episodes would begin, one for each step.

    Args:
        key: of this rollout.
        act: the policy.
        environments: where they are.
        params: of the environment's dynamics.
        design: static choices.

    Returns:
        What happened, [T, B, …], and the environments after it.
    """
    chex.assert_rank(environments.observation, 2)
    task, steps, batch = design.task, design.choices.rollout, design.choices.envs
    key_noise, key_steps, key_resets = jax.random.split(key, 3)
    # Noise of its own key and shape: it is the same for every policy, so that two policies that
    # are compared meet the same luck.
    noise = design.distribution.noise(key_noise, (steps, batch))
    keys = jax.random.split(key_steps, (steps, batch))
    reset = jax.vmap(jax.vmap(task.environment.reset_env, (0, None)), (0, None))
    fresh_observation, fresh_state = reset(jax.random.split(key_resets, (steps, batch)), params)
    fresh_observation = jax.vmap(jax.vmap(flat))(fresh_observation)
    factor = jnp.array([1.0, *_factors(task)], jnp.float32)

    def one_step(carry: tuple, now: tuple) -> tuple:
        before, final, cuts, episodes, ended_sums = carry
        noise, keys, fresh_observation, fresh_state = now
        parameters, actions = act(before.observation, noise)
        outcome = jax.vmap(transition, (0, 0, 0, None, None))(
            keys, before.state, actions, params, design
        )
        observation, state, signals, terminated, truncated = outcome
        ended = terminated | truncated
        episode_sums, weight = before.episode_sums + signals, None
        if before.weight is not None:
            episode_sums = before.episode_sums + before.weight * signals
            weight = jnp.where(ended[:, None], 1.0, before.weight * factor)
        ended_sums = ended_sums + jnp.where(ended[:, None], episode_sums, 0.0)
        episodes = episodes + ended
        final, cuts = _stored_final(final, cuts, observation, truncated)
        # Selected and not reset on condition: environments are mapped over, and of a mapped
        # condition both sides are computed.
        after = Environments(
            observation=where(ended, fresh_observation, observation),
            state=where(ended, fresh_state, state),
            episode_sums=jnp.where(ended[:, None], 0.0, episode_sums),
            weight=weight,
        )
        # Before the step, like the observation: what critics know when the action is chosen.
        left = jax.vmap(time_left, (0, None))(before.state, params)
        row = (before.observation, parameters, actions, signals, terminated, truncated, left)
        return (after, final, cuts, episodes, ended_sums), row

    final = jnp.zeros((design.cuts, batch, design.features))
    counts = jnp.zeros(batch, jnp.int32)
    carry = (environments, final, counts, counts, jnp.zeros_like(environments.episode_sums))
    rows: Any
    carry, rows = jax.lax.scan(one_step, carry, (noise, keys, fresh_observation, fresh_state))
    after, final, _, episodes, ended_sums = carry
    observations, parameters, actions, signals, terminated, truncated, left = rows
    left_after = jax.vmap(time_left, (0, None))(after.state, params)
    rollout = Rollout(
        observations=observations,
        parameters=parameters,
        actions=actions,
        signals=signals,
        terminated=terminated,
        truncated=truncated,
        time_left=jnp.concatenate([left, left_after[None]]),
        last=after.observation,
        final=final,
        episodes=episodes.sum(),
        episode_sums=ended_sums.sum(0),
    )
    return rollout, after


def transition(
    key: jax.Array, state: Pytree, action: jax.Array, params: Pytree, design: Design
) -> tuple[jax.Array, Pytree, jax.Array, jax.Array, jax.Array]:
    """A step of one environment, without reset.

    Args:
        key: of the step's own randomness.
        state: of the environment.
        action: an index, or a vector, which is clipped to its bounds.
        params: of the environment's dynamics.
        design: task and bounds.

    Returns:
        Observation [D], state, signals [1 + M], terminated, and truncated, which is false where
        the episode terminated in the same step.
    """
    environment = design.task.environment
    if action.ndim:
        action = jnp.clip(action, design.low, design.high)
    observation, after, reward, terminated, info = environment.step_env(key, state, action, params)
    truncated = environment.is_truncated(after, params) & ~terminated
    signals = jnp.concatenate([jnp.float32(reward).reshape(1), info["cost"]])
    return flat(observation), after, signals, terminated, truncated


def _factors(task: Task) -> list[float]:
    return [task.cost_discount if kind == "discounted" else 1.0 for kind in task.kinds]


def _stored_final(
    final: jax.Array, cuts: jax.Array, observation: jax.Array, truncated: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Keeps the observations in which episodes were cut, each in the next free slot."""
    if len(final) == 0:
        return final, cuts
    # Selected and not written by index: indices that differ between environments are a scatter.
    slots = jnp.arange(len(final))[:, None]
    free = (slots == cuts) & truncated
    return jnp.where(free[..., None], observation, final), cuts + truncated
