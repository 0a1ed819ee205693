"""By which method `bench.attainable` controls each task, and how it was searched for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.controllers import Policy, network, two_sided
from bench.planning import Axis, Grid
from fedjax_rl.envs.task import Task


class Search(NamedTuple):
    """How a population moves.

    Attributes:
        generations: how many.
        pairs: members come in pairs mean ± noise.
        episodes: of each member; all members of a generation play the same starts.
        candidates: random policies, the best of which is where it begins.
        first: their deviation, in the policy's spread.
        noise: standard deviation at first; it falls to a fifth.
        step: Adam's at first; it falls to a fifth.
        penalty: of a budget exceeded by itself, at the end of growing, in units of reward.
        growing: share of the generations after which the penalty has grown.
        aim: share of a budget above which it is penalised.
        every: generations between two that are kept for the mixture.
    """

    generations: int = 400
    pairs: int = 64
    episodes: int = 32
    candidates: int = 1024
    first: float = 1.0
    noise: float = 0.2
    step: float = 0.05
    penalty: float = 300.0
    growing: float = 0.5
    aim: float = 0.97
    every: int = 10


class Method(NamedTuple):
    """How a task is controlled.

    Attributes:
        says: in words.
        kind: a grid to plan on, or (task) -> the policy that evolves.
        bound: no policy has more reward.
        because: why.
        searches: of an evolving policy; all that any of them passes is mixed.
        prices: of a grid; plans for each are mixed.
        aim: share of every budget that the mixture may take of the episodes it is chosen by;
            less where the mixed plans differ much, for the mean of fresh ones varies.
    """

    says: str
    kind: Grid | Callable[[Task], Policy]
    bound: float
    because: str
    searches: tuple[Search, ...] = ()
    prices: tuple[tuple[float, ...], ...] = ()
    aim: float = 0.97


def coarse(kind: Grid | Callable[[Task], Policy]) -> Grid | Callable[[Task], Policy]:
    """A grid with a quarter of the points along each axis, swept ten times."""
    if not isinstance(kind, Grid):
        return kind
    axes = tuple(axis._replace(points=axis.points // 4) for axis in kind.axes)
    return kind._replace(axes=axes, sweeps=10)


ANGLES, INNER, OUTER = 41, 25, 31
ACROBOT = Grid(
    axes=(
        Axis("joint_angle1", -math.pi, math.pi, ANGLES, periodic=True),
        Axis("joint_angle2", -math.pi, math.pi, ANGLES, periodic=True),
        Axis("velocity_1", -4 * math.pi, 4 * math.pi, INNER, bend=2.0),
        Axis("velocity_2", -9 * math.pi, 9 * math.pi, OUTER, bend=2.0),
    ),
    actions=np.arange(3, dtype=np.int32),
    discount=0.995,
    sweeps=350,
)
PENDULUM = Grid(
    axes=(
        Axis("theta", -math.pi, math.pi, 181, periodic=True),
        Axis("theta_dot", -8.0, 8.0, 145),
    ),
    actions=np.linspace(-2.0, 2.0, 17, dtype=np.float32)[:, None],
    discount=0.99,
    sweeps=300,
)
POINT_ROBOT = Grid(
    axes=(
        Axis("position", -1.0, 1.0, 41, entry=0),
        Axis("position", -1.0, 1.0, 41, entry=1),
        Axis("velocity", -1.0, 1.0, 17, entry=0),
        Axis("velocity", -1.0, 1.0, 17, entry=1),
    ),
    actions=np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=2)), np.float32),
    discount=0.995,
    sweeps=160,
)
MOUNTAIN_CAR = Grid(
    axes=(Axis("position", -1.2, 0.6, 301), Axis("velocity", -0.07, 0.07, 241)),
    actions=np.linspace(-1.0, 1.0, 21, dtype=np.float32)[:, None],
    discount=0.9999,
    sweeps=800,
)
PLANNED = "value iteration on a grid with a price on every cost, plans for several prices mixed"
EVOLVED = "evolution strategies, what was passed on the way mixed"
ALL_STEPS = "the reward of a step is at most 1"

# Gains that a random search found to reach the gap at 0.7 m: where evolution begins.
LINEAR_START = np.array([[2.15, 0.47, 3.38, 3.32, -1.40]]).T / 3
TWO_SIDED_START = np.array([2.17, 6.86, 1.83, 2.40, 0.724, 0.988, 0.637, 1.71, 0.514, -0.0516])


def cartpole(task: Task) -> Policy:
    """Eight hidden units."""
    return network(task, [1.0, 1.0, 0.2, 1.0], hidden=8)


def inverted_pendulum(task: Task) -> Policy:
    """A linear feedback, clipped."""
    scale = [1.0, 0.05, 2.0, 2.0]
    return network(task, scale, hidden=0, start=LINEAR_START.ravel())


def cartpole_force(task: Task) -> Policy:
    """To the gap on the side to which it leans."""
    return two_sided(TWO_SIDED_START)


AS_GIVEN = Search(candidates=1, first=0.0, noise=0.05, step=0.02, growing=0.1)
METHODS = {
    "cartpole-pos2": Method(
        EVOLVED, cartpole, 200.0, ALL_STEPS, (Search(generations=100, first=1.0),)
    ),
    "acrobot-theta1-2": Method(
        PLANNED,
        ACROBOT,
        500.0,
        ALL_STEPS,
        prices=((0.1, 0.1), (0.12, 0.12)),
    ),
    "acrobot-easier-empty-left-bottom": Method(
        PLANNED,
        ACROBOT,
        500.0,
        ALL_STEPS,
        prices=((0.05, 0.05), (0.15, 0.15)),
    ),
    "inverted-pendulum-adj3": Method(
        EVOLVED,
        inverted_pendulum,
        500.0,
        ALL_STEPS,
        (AS_GIVEN._replace(generations=100),),
    ),
    "cartpole-force-adj3": Method(
        EVOLVED,
        cartpole_force,
        500.0,
        ALL_STEPS,
        tuple(
            AS_GIVEN._replace(
                generations=250, pairs=64, episodes=256, noise=0.03, penalty=penalty, aim=0.96
            )
            for penalty in (250.0, 600.0)
        ),
    ),
    "pendulum": Method(
        PLANNED,
        PENDULUM,
        0.0,
        "every step costs reward",
        prices=((0.0, 0.0), (3.0, 0.5), (3.0, 1.0), (5.0, 1.0), (8.0, 1.0), (10.0, 3.0)),
    ),
    "mountain-car-continuous": Method(
        PLANNED,
        MOUNTAIN_CAR,
        100.0,
        "the goal's reward",
        prices=((0.0, 0.0), (0.01, 0.01), (0.03, 0.03), (0.1, 0.1)),
    ),
    "point-robot": Method(
        PLANNED,
        POINT_ROBOT,
        9.85,
        "from the start straight to the goal at full acceleration, then at its centre",
        prices=(
            (0.02, 0.02, 0.02),
            (0.02, 0.02, 0.04),
            (0.01, 0.055, 0.03),
            (0.01, 0.055, 0.045),
            (0.05, 0.05, 0.05),
        ),
        aim=0.94,
    ),
}
