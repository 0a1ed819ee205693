"""A finite CMDP as an environment, so that learners with networks can be held to its LP."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from fedjax_rl.algorithm import Array
from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.successors import gather_successors
from fedjax_rl.envs.task import NO_LIMIT, Constraint, CostFunction, Task, constrained
from fedjax_rl.errors import InvalidInput

LARGEST_DISCOUNT = 0.9999
"""Of a finite problem as an environment: episodes of 10,000 steps on average. Here float32 still
holds the probability 1 − γ of an end, and the sums over an episode, to a thousandth; both get
worse in proportion to the length."""


@struct.dataclass
class FiniteState(EnvState):
    """The current state of a finite problem, and the transition that led to it.

    Attributes:
        time: transitions since the start of the episode.
        position: index of the state s.
        paid: [M], costs of the last transition; zero at the start. Cost functions see states
            and no parameters, so that the state brings them along.
        over: whether the last transition ended the episode.
    """

    position: jax.Array
    paid: jax.Array
    over: jax.Array


@struct.dataclass
class FiniteParams(EnvParams):
    """The problem's arrays, all float32 but for the indices.

    Attributes:
        max_steps_in_episode: there is no time limit.
        discount: γ, the probability that an episode goes on after a transition, at most
            `LARGEST_DISCOUNT`.
        start: [S], cumulative probabilities of the first state; the last is 1.
        successor: [S, B] indices of the states that can follow each state.
        arrival: [S, A, B], cumulative probabilities of those; the last is 1.
        reward: [S, A].
        costs: [S, A, M].
    """

    max_steps_in_episode: int = NO_LIMIT
    discount: Any = None
    start: Any = None
    successor: Any = None
    arrival: Any = None
    reward: Any = None
    costs: Any = None


class FiniteEnvironment(Environment):
    """A walk through S states with A actions; see `finite_task`.

    Args:
        name: of the problem.
        params: its arrays, which `default_params` gives; steps read those they are handed.
    """

    def __init__(self, name: str, params: FiniteParams):
        self._name = name
        self._params = params
        self.num_states, self._num_actions, self.num_constraints = params.costs.shape

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> FiniteParams:
        return self._params

    @property
    def num_actions(self) -> int:
        return self._num_actions

    def reset_env(self, key: Array, params: Any) -> tuple[Array, FiniteState]:
        """The first observation and state of an episode."""
        state = FiniteState(
            time=0,
            position=drawn(jax.random.uniform(key), jnp.asarray(params.start)),
            paid=jnp.zeros(self.num_constraints),
            over=jnp.zeros((), bool),
        )
        return self.observe(key, state, None, params), state

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; its reward and costs are paid before it may end."""
        arrives, lasts = jax.random.bits(key, (2,), jnp.uint32)
        pair = (state.position, action)
        outcome = drawn(as_uniform(arrives), jnp.asarray(params.arrival)[pair])
        after = FiniteState(
            time=state.time + 1,
            position=jnp.asarray(params.successor)[state.position, outcome],
            paid=jnp.asarray(params.costs)[pair],
            # All 32 bits: the 23 of a float32 would round a small 1 − γ by up to a tenth.
            over=lasts >= (jnp.float32(2**32) * params.discount).astype(jnp.uint32),
        )
        reward = jnp.asarray(params.reward)[pair]
        return self.observe(key, after, action, params), after, reward, after.over, {}

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """One-hot of the state, float32 [S]."""
        return jax.nn.one_hot(state.position, self.num_states, dtype=jnp.float32)

    def is_terminated(self, state: Any, params: Any) -> Array:
        """Whether the transition into this state ended the episode."""
        return state.over

    def action_space(self, params: Any = None) -> spaces.Discrete:
        """Discrete actions 0 … A − 1."""
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any) -> spaces.Box:
        """One-hot observations [S]."""
        return spaces.Box(0.0, 1.0, (self.num_states,), jnp.float32)


def finite_task(cmdp: CMDP, name: str) -> Task:
    """A finite CMDP as a task whose expected episode sums are the values of its LP.

    An episode ends with probability 1 − γ after every transition, so that step t is taken with
    probability γᵗ and the expected *undiscounted* sums over an episode are exactly V_r(ρ) and
    V_cj(ρ). Learners use discount 1, and budgets are per episode: the d_j of the CMDP. Nothing
    but the arrays' float32 stands between the two.

    An action without support is taken as a uniformly random one of the state's supported
    actions: its transition, reward and costs are their means. So every policy of the
    environment has the values of one that the CMDP allows, and the optimum is the same.

    Args:
        cmdp: the problem, S states, A actions, M constraints.
        name: of the task.

    Raises:
        InvalidInput: a discount above `LARGEST_DISCOUNT`.

    Examples:
        >>> from fedjax_rl.cmdp import from_arrays
        >>> coin = from_arrays([[[1.0], [1.0]]], [[0.0, 1.0]], [[[0.0, 1.0]]], [0.5], [1.0], 0.5)
        >>> task = finite_task(coin, "coin")
        >>> task.budgets.tolist(), task.kinds, task.discount
        ([0.5], ('episode',), 1.0)
    """
    if float(cmdp.discount) > LARGEST_DISCOUNT:
        raise InvalidInput(
            "--problem",
            f"{name} with discount {float(cmdp.discount)}",
            f"a discount of at most {LARGEST_DISCOUNT}, with networks: they play episodes that end "
            "with probability 1 - discount in float32; fednpg takes any",
        )
    params = _params_of(cmdp)
    constraints = [
        Constraint(constraint, _paid(index), float(budget))
        for index, (constraint, budget) in enumerate(
            zip(cmdp.constraint_names, cmdp.budgets, strict=True)
        )
    ]
    environment = FiniteEnvironment(name, params)
    return constrained(
        name, environment, constraints, discount=1.0, cost_discount=1.0, derive=_checked
    )


def _checked(params: FiniteParams) -> FiniteParams:
    """The same; raises InvalidInput unless every agent's discount can be played in float32."""
    discounts = np.ravel(np.asarray(params.discount, np.float32))
    for discount in discounts[~((discounts >= 0) & (discounts <= LARGEST_DISCOUNT))]:
        raise InvalidInput("--vary", f"discount={discount}", f"0 to {LARGEST_DISCOUNT}")
    return params


def _params_of(cmdp: CMDP) -> FiniteParams:
    taken = cmdp.support / cmdp.support.sum(1, keepdims=True)

    def supported(signal: FloatArray) -> FloatArray:
        """[S, A, …] with every action without support replaced by the mean of the others."""
        mean = np.einsum("sa,sa...->s...", taken, signal)[:, None]
        mask = cmdp.support.reshape(*cmdp.support.shape, *(1,) * (signal.ndim - 2))
        return np.where(mask, signal, mean)

    successor, probability = gather_successors(supported(cmdp.transition))
    return FiniteParams(
        discount=np.asarray(cmdp.discount, np.float32),
        start=_cumulative(cmdp.initial),
        successor=successor.astype(np.int32),
        arrival=_cumulative(probability),
        reward=supported(cmdp.reward).astype(np.float32),
        costs=supported(np.moveaxis(cmdp.costs, 0, -1)).astype(np.float32),
    )


def _paid(index: int) -> CostFunction:
    def cost(state: Any, action: Array, after: Any) -> Array:
        return after.paid[index]

    return cost


def _cumulative(probability: FloatArray) -> np.ndarray:
    sums = np.cumsum(probability, axis=-1)
    return (sums / sums[..., -1:]).astype(np.float32)


def as_uniform(bits: Array) -> Array:
    """A number in [0, 1) from 32 random bits; what `jax.random.uniform` makes of them."""
    return (bits >> 9).astype(jnp.float32) * jnp.float32(2.0**-23)


def drawn(uniform: Array, cumulative: Array) -> Array:
    """Index drawn from cumulative probabilities that end at 1; one of weight zero never is."""
    return jnp.sum(cumulative <= uniform, dtype=jnp.int32)
