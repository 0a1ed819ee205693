"""One episode step by step, for whoever wants to look at it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.batch import features_of
from fedjax_rl.learners.deep.design import Design, flat
from fedjax_rl.learners.deep.rollout import transition
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.precision import precision

STEPS_AT_MOST = 2000
"""Where a film ends that its episode has not ended before."""


class Film(NamedTuple):
    """An episode to be drawn, on the host.

    Attributes:
        states: leading axis [length], before each step.
        signals: [length, 1 + M], reward and costs of each step.
        params: of the dynamics.
        ended: whether the episode did, within `STEPS_AT_MOST` steps.
    """

    states: Pytree
    signals: np.ndarray
    params: Pytree
    ended: bool = True

    @property
    def length(self) -> int:
        return len(self.signals)

    def state(self, step: int) -> Any:
        """The state before a step."""
        return jax.tree.map(lambda leaf: leaf[step], self.states)


@precision(False)
def filmed(key: jax.Array, shared: DeepShared, params: Pytree, design: Design) -> Film:
    """Plays one episode of a policy as it acts and keeps every state.

    Args:
        key: of this episode.
        shared: one policy.
        params: of one environment.
        design: task and networks.
    """
    steps = min(design.task.time_limit or STEPS_AT_MOST, STEPS_AT_MOST)
    states, signals, alive, ended = _played(key, shared, params, design, steps)
    length = int(np.asarray(alive).sum())
    states, signals = jax.tree.map(lambda leaf: np.asarray(leaf)[:length], (states, signals))
    return Film(states, signals, params, bool(ended))


def _played(
    key: jax.Array, shared: DeepShared, params: Pytree, design: Design, steps: int
) -> tuple[Pytree, jax.Array, jax.Array, jax.Array]:
    """So many steps: states before each, signals, whether it was under way; whether it ended."""

    def one_step(now: tuple[Any, ...], key: jax.Array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        observation, state, alive = now
        key_noise, key_step = jax.random.split(key)
        parameters = design.actor.apply(shared.actor, features_of(design, shared, observation))
        action = design.distribution.sample(parameters, design.distribution.noise(key_noise, ()))
        observation, after, signals, terminated, truncated = transition(
            key_step, state, action, params, design
        )
        going = alive & ~(terminated | truncated)
        return (observation, after, going), (state, signals, alive)

    @jax.jit
    def episode(key: jax.Array, params: Pytree) -> tuple[Pytree, jax.Array, jax.Array, jax.Array]:
        key_reset, key_steps = jax.random.split(key)
        observation, state = design.task.environment.reset_env(key_reset, params)
        start = (flat(observation), state, jnp.ones((), bool))
        (*_, going), rows = jax.lax.scan(one_step, start, jax.random.split(key_steps, steps))
        return *rows, ~going

    states, signals, alive, ended = episode(key, params)
    return states, signals, alive, ended
