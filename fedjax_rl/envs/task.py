"""The cost contract: a gymnax environment whose ``info["cost"]`` is float32 [M]."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces
from gymnax.environments.environment import Environment

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.envs.picture import Picture
from fedjax_rl.errors import InvalidInput

CostFunction = Callable[[Any, Any, Any], Any]
"""(state before the step, action, state after it) -> scalar cost of one transition."""

KINDS = ("episode", "step", "discounted")
NO_LIMIT = np.iinfo(np.int32).max
"""``max_steps_in_episode`` of an environment whose episodes have no time limit."""


class Constraint(NamedTuple):
    """A cost function with its budget.

    Attributes:
        name: column name, such as ``position-1``.
        cost: the cost of one transition.
        budget: d, in the unit that ``kind`` says.
        kind: what is held to the budget: ``episode``, the undiscounted sum over an episode;
            ``step``, the mean per step; ``discounted``, the discounted sum from an episode's
            start, which is bootstrapped where a time limit cuts it.
    """

    name: str
    cost: CostFunction
    budget: float
    kind: str = "episode"


class ConstrainedEnvironment(Environment):
    """A gymnax environment with costs; everything else is the inner environment's.

    ``step`` has gymnax's six results, with float32 [M] costs in ``info["cost"]``: functions of
    the state before the step, the action, and the state after it (before any reset).
    Observations and states have the same strong types after a reset and after a step, int32
    and float32, so that a scan can carry them.

    Args:
        inner: the environment.
        costs: M cost functions of one transition.
    """

    def __init__(self, inner: Environment, costs: Sequence[CostFunction]):
        self.inner = inner
        self.costs = tuple(costs)

    @property
    def name(self) -> str:
        return str(self.inner.name)

    @property
    def default_params(self) -> Any:
        return self.inner.default_params

    @property
    def num_actions(self) -> int:
        return int(self.inner.num_actions)

    def step_env(self, key, state, action, params):  # type: ignore[no-untyped-def]
        """One transition, without reset; see the class."""
        observation, after, reward, terminated, info = self.inner.step_env(
            key, state, action, params
        )
        observation, after = _strongly_typed((observation, after))
        reward = jnp.asarray(reward, jnp.float32)
        costs = [jnp.asarray(cost(state, action, after), jnp.float32) for cost in self.costs]
        stacked = jnp.stack([cost.reshape(()) for cost in costs]) if costs else jnp.zeros(0)
        return observation, after, reward, terminated, {**info, "cost": stacked}

    def reset_env(self, key, params):  # type: ignore[no-untyped-def]
        """The first observation and state of an episode."""
        return _strongly_typed(self.inner.reset_env(key, params))

    def is_terminated(self, state, params):  # type: ignore[no-untyped-def]
        """Whether the state ends the episode by itself."""
        return self.inner.is_terminated(state, params)

    def is_truncated(self, state, params):  # type: ignore[no-untyped-def]
        """Whether the time limit ends the episode in this state."""
        return self.inner.is_truncated(state, params)

    def observe(self, key, state, action, params):  # type: ignore[no-untyped-def]
        """The observation of a state."""
        return self.inner.observe(key, state, action, params)

    def action_space(self, params: Any = None) -> Any:
        """The inner environment's space of actions."""
        return self.inner.action_space(self.default_params if params is None else params)

    def observation_space(self, params: Any) -> Any:
        """The inner environment's space of observations."""
        return self.inner.observation_space(params)


class Task(NamedTuple):
    """An environment with costs and their budgets.

    Attributes:
        name: as it was registered.
        environment: a gymnax environment with ``info["cost"]``.
        params: its parameters; ``max_steps_in_episode`` is the time limit.
        constraint_names: M names.
        budgets: [M], in the units of ``kinds``.
        kinds: M entries of `KINDS`.
        discount: γ of the reward (1 where episodes end by themselves soon enough).
        cost_discount: γ of discounted costs, and of the advantages of costs per step.
        derive: params -> params with what depends on others recomputed; see `vary`.
        picture: (state, params) -> `Picture` of a state on the host, where it has one.
    """

    name: str
    environment: ConstrainedEnvironment
    params: Pytree
    constraint_names: tuple[str, ...]
    budgets: np.ndarray
    kinds: tuple[str, ...]
    discount: float = 0.99
    cost_discount: float = 0.99
    derive: Callable[[Any], Any] = lambda params: params
    picture: Callable[[Any, Any], Picture] | None = None

    @property
    def num_constraints(self) -> int:
        return len(self.constraint_names)

    @property
    def time_limit(self) -> int | None:
        """Steps after which an episode is cut, or None."""
        limit = int(np.max(self.params.max_steps_in_episode))
        return None if limit >= NO_LIMIT else limit


def constrained(
    name: str,
    environment: Environment,
    constraints: Sequence[Constraint],
    *,
    params: Pytree = None,
    discount: float = 0.99,
    cost_discount: float | None = None,
    derive: Callable[[Any], Any] = lambda params: params,
    picture: Callable[[Any, Any], Picture] | None = None,
) -> Task:
    """Turns any gymnax environment plus cost functions into a task.

    Args:
        name: of the task.
        environment: a gymnax ≥ 1.0 environment.
        constraints: at least one.
        params: of the environment; its defaults unless given.
        discount: γ of the reward.
        cost_discount: γ of costs; that of the reward unless given.
        derive: recomputes the parameters that depend on others.
        picture: draws a state.

    Raises:
        InvalidInput: no constraint, a name twice, a kind, budget or discount that is not one.

    Examples:
        >>> from gymnax.environments.classic_control.pendulum import Pendulum
        >>> fast = lambda state, action, after: abs(after.theta_dot) > 4.0
        >>> task = constrained("slow-pendulum", Pendulum(), [Constraint("speed", fast, 10.0)])
        >>> task.constraint_names, task.budgets.tolist(), task.time_limit
        (('speed',), [10.0], 200)
    """
    if not constraints:
        raise InvalidInput("constraints", "none", "at least one")
    names = tuple(constraint.name for constraint in constraints)
    if len(set(names)) < len(names):
        raise InvalidInput("constraints", ", ".join(names), "every name once")
    for constraint in constraints:
        if constraint.kind not in KINDS:
            raise InvalidInput("kind", repr(constraint.kind), f"one of {', '.join(KINDS)}")
        if not math.isfinite(constraint.budget):
            raise InvalidInput("budget", constraint.budget, "a finite number")
    cost_discount = discount if cost_discount is None else cost_discount
    for field, value in (("discount", discount), ("cost_discount", cost_discount)):
        if not 0 <= value <= 1:
            raise InvalidInput(field, value, "a number in [0, 1]")
    return Task(
        name=name,
        environment=ConstrainedEnvironment(
            environment, [constraint.cost for constraint in constraints]
        ),
        params=environment.default_params if params is None else params,
        constraint_names=names,
        budgets=np.array([constraint.budget for constraint in constraints], np.float32),
        kinds=tuple(constraint.kind for constraint in constraints),
        discount=discount,
        cost_discount=cost_discount,
        derive=derive,
        picture=picture,
    )


def vary(task: Task, values: Mapping[str, Sequence[float]], num_agents: int) -> Pytree:
    """Each agent's parameters of the dynamics: the task's, with some of them its own.

    Args:
        task: whose parameters are varied.
        values: for each varied parameter, one number per agent; ``{"length": [0.5, 0.7]}``.
        num_agents: N.

    Returns:
        Parameters with a leading axis N on every leaf, derived ones recomputed.

    Raises:
        InvalidInput: a parameter that the environment does not have or that is derived or not
            one number, or not N finite values of it.

    Examples:
        >>> from fedjax_rl.envs.cartpole import cartpole_pos2
        >>> vary(cartpole_pos2(), {"length": [0.5, 0.75]}, num_agents=2).length.tolist()
        [0.5, 0.75]
    """
    stacked = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (num_agents, *np.shape(leaf))), task.params
    )
    # A time limit shapes rollouts, so it is the same for all.
    scalars = [
        name
        for name, leaf in vars(task.params).items()
        if np.ndim(leaf) == 0 and name != "max_steps_in_episode"
    ]
    for name, numbers in values.items():
        if name not in scalars:
            raise InvalidInput("--vary", repr(name), f"one of {', '.join(scalars)}")
        if len(numbers) != num_agents or not np.all(np.isfinite(numbers)):
            raise InvalidInput(
                "--vary", f"{name}={list(numbers)}", f"one number for each of {num_agents} agents"
            )
        kind = np.asarray(getattr(task.params, name)).dtype
        if np.issubdtype(kind, np.floating):
            kind = np.dtype(np.float32)
        stacked = stacked.replace(**{name: np.asarray(numbers, kind)})
    derived = task.derive(stacked)
    for name in values:
        if not np.array_equal(getattr(derived, name), np.asarray(getattr(stacked, name))):
            raise InvalidInput("--vary", repr(name), "a parameter that is not derived from others")
    return derived


def _strongly_typed(tree: Pytree) -> Pytree:
    """The tree with signed integers as int32 and real numbers as float32.

    gymnax's resets give Python integers and weakly typed zeros where its steps give arrays.
    """

    def settle(leaf: Any) -> Array:
        array = jnp.asarray(leaf)
        for kind, dtype in ((jnp.signedinteger, jnp.int32), (jnp.floating, jnp.float32)):
            if jnp.issubdtype(array.dtype, kind):
                return array.astype(dtype)
        return array

    return jax.tree.map(settle, tree)


def time_left(state: Any, params: Any) -> Array:
    """1 at an episode's start and 0 at its time limit; 1 throughout where there is none."""
    return 1.0 - jnp.asarray(state.time, jnp.float32) / params.max_steps_in_episode


def is_discrete(task: Task) -> bool:
    """Whether actions are 0 … n − 1 and not vectors of numbers.

    Raises:
        InvalidInput: actions are neither.
    """
    space = task.environment.action_space(task.params)
    if isinstance(space, spaces.Discrete):
        return True
    if isinstance(space, spaces.Box):
        return False
    raise InvalidInput("--problem", task.name, "discrete actions or a box of them")
