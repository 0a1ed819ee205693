"""Tasks so small that their optimum is known in closed form, to hold learners against."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.task import NO_LIMIT, Constraint, Task, constrained
from fedjax_rl.errors import InvalidInput

REST, RIGHT = 0, 1
"""Actions of the chain."""


class Known(NamedTuple):
    """A task and its solution.

    Attributes:
        task: M constraints per episode.
        optimal_reward: largest expected sum of rewards over an episode within the budgets.
        optimal_costs: [M], expected sums over an episode of every policy that attains it.
        optimal_multipliers: λ* [M] of J_r − Σ_j λ_j (J_cj − d_j), in reward per cost; unique.
    """

    task: Task
    optimal_reward: float
    optimal_costs: np.ndarray
    optimal_multipliers: np.ndarray


class TwoActions(Environment):
    """Two actions and a constant observation; a subclass says what a step does."""

    @property
    def num_actions(self) -> int:
        return 2

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        """The initial state, which is the same in every episode."""
        state = EnvState(time=0)
        return self.observe(key, state, None, params), state

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """A constant observation [1]."""
        return jnp.ones(1)

    def action_space(self, params: Any = None) -> spaces.Discrete:
        """Discrete actions 0 and 1."""
        return spaces.Discrete(2)

    def observation_space(self, params: Any) -> spaces.Box:
        """Observations [1]."""
        return spaces.Box(0.0, 1.0, (1,), jnp.float32)


class ConstantReward(TwoActions):
    """Reward 1 for every step, until the time limit."""

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One step nearer the time limit."""
        after = state.replace(time=state.time + 1)
        return self.observe(key, after, action, params), after, 1.0, jnp.array(False), {}

    def is_terminated(self, state: Any, params: Any) -> Array:
        """False: no state ends an episode, only the time limit does."""
        return jnp.array(False)


class Bandit(TwoActions):
    """One pull of one of two arms: arm 1 has reward 1, arm 0 none."""

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=NO_LIMIT)

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """The pull, which ends the episode."""
        after = state.replace(time=state.time + 1)
        reward = jnp.asarray(action, jnp.float32)
        return self.observe(key, after, action, params), after, reward, jnp.array(True), {}

    def is_terminated(self, state: Any, params: Any) -> Array:
        """Whether the arm was pulled, which ends the episode."""
        return jnp.asarray(state.time > 0)


@struct.dataclass
class ChainState(EnvState):
    """The position of the walk and the time.

    Attributes:
        time: steps taken, 0 … L.
        position: steps to the right taken, 0 … L.
    """

    position: jax.Array


class Chain(TwoActions):
    """L steps, of which each goes right or rests; reward 1 on arriving at place L.

    The episode ends by itself after L steps, so that nothing is bootstrapped after it.

    Args:
        length: L.
    """

    def __init__(self, length: int):
        self.length = length

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=NO_LIMIT)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        """The walk at position 0."""
        state = ChainState(time=0, position=jnp.zeros((), jnp.int32))
        return self.observe(key, state, None, params), state

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One step to the right, or a rest."""
        after = ChainState(time=state.time + 1, position=state.position + (action == RIGHT))
        reward = jnp.asarray(after.position == self.length, jnp.float32)
        over = self.is_terminated(after, params)
        return self.observe(key, after, action, params), after, reward, over, {}

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """One-hot of the place beside one-hot of the time: [2 (L + 1)]."""
        both = jnp.stack([jnp.asarray(state.position), jnp.asarray(state.time)])
        return jax.nn.one_hot(both, self.length + 1, dtype=jnp.float32).ravel()

    def is_terminated(self, state: Any, params: Any) -> Array:
        """Whether L steps were taken."""
        return jnp.asarray(state.time >= self.length)

    def observation_space(self, params: Any) -> spaces.Box:
        """Two unit vectors [2 (L + 1)]."""
        return spaces.Box(0.0, 1.0, (2 * (self.length + 1),), jnp.float32)


def constant_reward(length: int = 10) -> Task:
    """Reward 1 and cost 1/2 for every step, whatever one does, until a time limit.

    Every policy has J_r = T and J_c = T/2. The budget 3T/4 is slack, so that λ* = 0. With
    discount γ = 0.99 and bootstrapping at the time limit the reward's value is 1/(1 − γ) = 100
    in every state, while the cost's is half of the steps that are left.

    Args:
        length: T, the time limit, at least 1.

    Raises:
        InvalidInput: a time limit below 1.
    """
    _check_length(length)
    half = Constraint("half", lambda state, action, after: 0.5, 0.75 * length)
    params = EnvParams(max_steps_in_episode=length)
    return constrained("constant-reward", ConstantReward(), [half], params=params)


def constrained_bandit(budget: float = 0.3) -> Task:
    """One pull of two arms with rewards (0, 1) and costs (0, 1), and a budget between.

    With probability p of arm 1, J_r = J_c = p, so that the best within the budget is p = d with
    J_r = d. The dual function max_p p − λ (p − d) is 1 − λ (1 − d) for λ ≤ 1 and λ d beyond;
    its minimum d is at λ* = 1 alone.

    Args:
        budget: d, strictly between 0 and 1.

    Raises:
        InvalidInput: a budget that does not bind or that only one policy keeps.
    """
    if not 0 < budget < 1:
        raise InvalidInput("budget", budget, "a number strictly between 0 and 1")
    pull = Constraint("pull", lambda state, action, after: action == 1, budget)
    return constrained("constrained-bandit", Bandit(), [pull], discount=1.0)


def chain(length: int = 3) -> Task:
    """A walk of L places in L steps: reward 1 at the end, and every step right costs 1.

    Only a walk without rest arrives, and it costs L. So J_r = P(arrive) and J_c ≥ L P(arrive):
    J_r ≤ J_c / L ≤ d / L for every policy within the budget d. It is attained by setting out
    with probability d / L, then walking on without rest, and resting for good otherwise, which
    costs d. With λ = 1/L the Lagrangian J_r − λ (J_c − d) is at most d / L for every policy, so
    that λ* = 1/L is optimal; it is unique because both always walking, (J_r, J_c) = (1, L), and
    never walking, (0, 0), would beat d / L with a smaller and a larger multiplier respectively
    (0 < d < L). The budget is d = L / 2, and the optimum 1/2.

    Args:
        length: L, at least 1.

    Raises:
        InvalidInput: a length below 1.
    """
    _check_length(length)
    steps = Constraint("steps", lambda state, action, after: action == RIGHT, length / 2)
    return constrained("chain", Chain(length), [steps], discount=1.0)


def known_constant_reward(length: int = 10) -> Known:
    """`constant_reward` with its solution: T, [T/2] and [0]."""
    return _known(constant_reward(length), float(length), length / 2, 0.0)


def known_constrained_bandit(budget: float = 0.3) -> Known:
    """`constrained_bandit` with its solution: d, [d] and [1]."""
    return _known(constrained_bandit(budget), budget, budget, 1.0)


def known_chain(length: int = 3) -> Known:
    """`chain` with its solution: 1/2, [L/2] and [1/L]."""
    return _known(chain(length), 0.5, length / 2, 1.0 / length)


def _known(task: Task, reward: float, cost: float, multiplier: float) -> Known:
    return Known(task, reward, np.array([cost]), np.array([multiplier]))


def _check_length(length: int) -> None:
    if length < 1:
        raise InvalidInput("length", length, "at least 1 step")


register_environment("constant-reward", constant_reward)
register_environment("constrained-bandit", constrained_bandit)
register_environment("chain", chain)
