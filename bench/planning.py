"""Planning in a task: value iteration on a grid, with a price on every cost.

Episodes draw nothing after their start, so one step from a point of the grid leads to one other
state, whose value is interpolated between the corners of its cell. What is found is only as good
as the grid; what it attains is measured in episodes of the task itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fedjax_rl.envs.task import Task

BATCH = 200_000


class Axis(NamedTuple):
    """Points along one coordinate of the state.

    Attributes:
        field: of the environment's state.
        low: first point.
        high: last point; of an angle, the one that is the first again.
        points: how many.
        periodic: whether it is an angle.
        bend: 0 for evenly spaced points; above, they lie denser in the middle, as sinh does.
        entry: which number of the field, if that is a vector.
    """

    field: str
    low: float
    high: float
    points: int
    periodic: bool = False
    bend: float = 0.0
    entry: int | None = None

    @property
    def nodes(self) -> int:
        """Points and, of an angle, the first one again behind the last."""
        return self.points + self.periodic

    def place(self) -> np.ndarray:
        """Coordinates of the points."""
        even = np.linspace(-1.0, 1.0, self.nodes)[: self.points]
        bent = np.sinh(self.bend * even) / math.sinh(self.bend) if self.bend else even
        return ((self.high + self.low + (self.high - self.low) * bent) / 2).astype(np.float32)

    def locate(self, value: Any) -> tuple[Any, Any]:
        """The point before a value, and how far it is on the way to the next."""
        share = (2 * value - self.high - self.low) / (self.high - self.low)
        if self.periodic:
            share = (share + 1.0) % 2.0 - 1.0
        if self.bend:
            share = jnp.arcsinh(share * math.sinh(self.bend)) / self.bend
        exact = (share + 1.0) / 2.0 * (self.nodes - 1)
        before = jnp.clip(jnp.floor(exact), 0, self.nodes - 2)
        return before.astype(jnp.int32), jnp.clip(exact - before, 0.0, 1.0)


class Grid(NamedTuple):
    """How a task is planned in.

    Attributes:
        axes: one for each coordinate of the state.
        actions: [A] or [A, D], among which the plan chooses.
        discount: γ of reward and costs.
        sweeps: of value iteration.
    """

    axes: tuple[Axis, ...]
    actions: np.ndarray
    discount: float
    sweeps: int

    @property
    def strides(self) -> tuple[int, ...]:
        """Distance in a flat table between neighbours along each axis."""
        nodes = [axis.nodes for axis in self.axes]
        return tuple(math.prod(nodes[index + 1 :]) for index in range(len(nodes)))


def value_on(axis: Axis, state: Any) -> Any:
    """The coordinate of a state."""
    field = getattr(state, axis.field)
    return field if axis.entry is None else field[axis.entry]


def moved(axis: Axis, state: Any, value: Any) -> Any:
    """The state with another coordinate."""
    if axis.entry is not None:
        value = getattr(state, axis.field).at[axis.entry].set(value)
    return state.replace(**{axis.field: value})


def located(grid: Grid, state: Any) -> tuple[Any, Any]:
    """The corner of a state's cell in a flat table, and the state's shares on the way [axes]."""
    found = [axis.locate(value_on(axis, state)) for axis in grid.axes]
    corner = sum(before * stride for (before, _), stride in zip(found, grid.strides, strict=True))
    return corner, jnp.stack([share for _, share in found])


def interpolated(grid: Grid, table: Any, corner: Any, shares: Any) -> Any:
    """The table's value in a cell, linear along every axis; ``shares`` is [axes, ...]."""
    value = 0.0
    for sides in itertools.product((0, 1), repeat=len(grid.axes)):
        weight = math.prod(
            share if side else 1.0 - share for side, share in zip(sides, shares, strict=True)
        )
        offset = sum(side * stride for side, stride in zip(sides, grid.strides, strict=True))
        value += weight * table[corner + offset]
    return value


def transition(task: Task, grid: Grid, prices: Any) -> Callable[[Any, Any], tuple]:
    """(state, action) -> reward − prices · costs, whether it goes on, corner and shares."""
    key = jax.random.key(0)

    def one(state: Any, action: Any) -> tuple:
        _, after, reward, ended, info = task.environment.step_env(key, state, action, task.params)
        corner, shares = located(grid, after)
        return reward - info["cost"] @ prices, 1.0 - ended, corner, shares

    return one


def planned(task: Task, grid: Grid, prices: Any) -> jax.Array:
    """The table of values, flat, the first points of angles repeated at their ends."""
    prices = jnp.asarray(prices, jnp.float32)
    one = transition(task, grid, prices)
    _, example = task.environment.reset_env(jax.random.key(0), task.params)
    mesh = np.meshgrid(*(axis.place() for axis in grid.axes), indexing="ij")
    columns = [np.ravel(of_axis) for of_axis in mesh]

    @jax.jit
    def steps(coordinates: Any, action: Any) -> tuple:
        def at(*values: Any) -> Any:
            state = example
            for axis, value in zip(grid.axes, values, strict=True):
                state = moved(axis, state, value)
            return state

        states = jax.vmap(at)(*coordinates)
        gains, going_on, corners, shares = jax.vmap(one, (0, None))(states, action)
        return gains, going_on, corners, shares.T

    def of_action(action: Any) -> tuple:
        parts = [
            steps([column[first : first + BATCH] for column in columns], action)
            for first in range(0, len(columns[0]), BATCH)
        ]
        return tuple(jnp.concatenate(part, axis=-1) for part in zip(*parts, strict=True))

    known = [of_action(action) for action in grid.actions]

    @jax.jit
    def iterated(known: Any) -> Any:
        def sweep(_: Any, table: Any) -> Any:
            worth = [
                gains + grid.discount * going_on * interpolated(grid, table, corners, shares)
                for gains, going_on, corners, shares in known
            ]
            best = worth[0]
            for other in worth[1:]:
                best = jnp.maximum(best, other)
            return closed(grid, best)

        size = math.prod(axis.nodes for axis in grid.axes)
        return lax.fori_loop(0, grid.sweeps, sweep, jnp.zeros(size, jnp.float32))

    return iterated(known)


def closed(grid: Grid, values: Any) -> Any:
    """A flat table, from the values at the points."""
    table = values.reshape([axis.points for axis in grid.axes])
    for index, axis in enumerate(grid.axes):
        if axis.periodic:
            table = jnp.concatenate([table, lax.slice_in_dim(table, 0, 1, axis=index)], axis=index)
    return table.reshape(-1)


def greedy(task: Task, grid: Grid) -> Callable[[Any, Any, Any], Any]:
    """(table, prices, state) -> the action that is best by one step in the task and the table."""
    actions = jnp.asarray(grid.actions)

    def act(table: Any, prices: Any, state: Any) -> Any:
        one = transition(task, grid, prices)

        def worth(action: Any) -> Any:
            gain, goes_on, corner, shares = one(state, action)
            return gain + grid.discount * goes_on * interpolated(grid, table, corner, shares)

        return actions[jnp.argmax(jax.vmap(worth)(actions))]

    return act
