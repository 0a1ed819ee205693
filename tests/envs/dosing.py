"""A task of a user's own that no default was chosen on, with an optimum that is a linear program.

Three drugs are given to a patient, step by step. What is left of a drug decays by a tenth, so that
levels follow doses slowly: x' = 0.9 x + 0.1 u with doses u in [0, 1] and x = 0 at first. Effect
and harms are linear in the levels, hence so are their means over an episode in the mean levels,
which are any point of [0, c]³ with c below (constant doses attain them all).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState
from jax import Array
from scipy.optimize import linprog

from fedjax_rl.envs.task import Constraint, Task, constrained

STEPS, KEPT = 100, 0.9
EFFECT = np.array([300.0, 200.0, 100.0])
"""Of a unit of each drug, per step: rewards are hundreds of times as large as other tasks'."""
HARM = 0.01 * np.array(
    [[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 2.0, 2.0], [3.0, 0.0, 1.0], [1.0, 1.0, 1.0]]
)
"""[5, 3], of a unit of each drug, per step: costs are a hundredth."""
BUDGETS = 0.01 * np.array([1.4, 1.3, 1.5, 1.1, 1.2])
"""Mean harm per step; doses of a half, where policies begin, break two of them."""


@struct.dataclass
class DosingState(EnvState):
    """Levels [3] of the drugs, and the time in steps."""

    levels: Array


class Dosing(Environment):
    """Actions in [−1, 1]³ are doses in [0, 1]³."""

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=STEPS)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        """Nothing was given yet."""
        state = DosingState(time=0, levels=jnp.zeros(3))
        return self.observe(key, state, None, params), state

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """A dose of each drug, and what its level is worth after it."""
        doses = (jnp.clip(action, -1.0, 1.0) + 1.0) / 2.0
        levels = KEPT * state.levels + (1.0 - KEPT) * doses
        after = DosingState(time=state.time + 1, levels=levels)
        reward = levels @ jnp.asarray(EFFECT, jnp.float32)
        return self.observe(key, after, action, params), after, reward, jnp.array(False), {}

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """The levels [3]."""
        return jnp.asarray(state.levels, jnp.float32)

    def is_terminated(self, state: Any, params: Any) -> Array:
        """False: the time limit alone ends an episode."""
        return jnp.array(False)

    def action_space(self, params: Any = None) -> spaces.Box:
        """Three numbers between −1 and 1."""
        return spaces.Box(-1.0, 1.0, (3,), jnp.float32)

    def observation_space(self, params: Any) -> spaces.Box:
        """Three levels."""
        return spaces.Box(0.0, 1.0, (3,), jnp.float32)


def dosing() -> Task:
    """Five harms per step, for five agents."""
    harms = [
        Constraint(f"harm-{index}", _harm(row), float(budget), "step")
        for index, (row, budget) in enumerate(zip(HARM, BUDGETS, strict=True), start=1)
    ]
    return constrained("dosing", Dosing(), harms)


def optimum() -> float:
    """The largest reward of an episode within the budgets, by a linear program."""
    # The mean over t = 1 … T of x_t = 1 − 0.9ᵗ, levels of the constant dose 1.
    most = float(np.mean(1.0 - KEPT ** np.arange(1, STEPS + 1)))
    found = linprog(-EFFECT, HARM, BUDGETS, bounds=(0.0, most))
    return -STEPS * float(found.fun)


def _harm(row: np.ndarray) -> Any:
    weights = jnp.asarray(row, jnp.float32)
    return lambda state, action, after: after.levels @ weights
