"""A point robot that drives to a goal past two hazards, under a speed limit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from fedjax_rl.algorithm import Array, register_environment
from fedjax_rl.envs.costs import budget_as
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Constraint, CostFunction, Task, constrained

STEPS = 200
SPEED_LIMIT = 0.6
"""m/s."""
HAZARD_BUDGET, SPEED_BUDGET = 5.0, 15.0

Zone = tuple[float, float, float, float]
HAZARDS: tuple[Zone, ...] = ((-0.4, 0.0, -0.7, 0.0), (0.1, 0.5, 0.1, 0.8))
"""(left, right, bottom, top) of each hazard, in metres: the way round one leads to the other."""

SCENE = (-1.1, 1.1, -1.1, 1.1)
ROBOT_RADIUS = 0.03


@struct.dataclass
class PointState(EnvState):
    """Position and velocity of the robot.

    Attributes:
        time: steps since the start of the episode.
        position: [2], in metres, within ±1.
        velocity: [2], in metres per second.
    """

    position: jax.Array
    velocity: jax.Array


@struct.dataclass
class PointParams(EnvParams):
    """Parameters of dynamics and reward.

    Attributes:
        max_steps_in_episode: steps after which an episode is cut.
        time_step: seconds.
        acceleration: of a full command in each direction, in m/s².
        top_speed: in m/s; a faster velocity is shortened to it.
        goal_x: of the goal's centre, in metres.
        goal_y: of the goal's centre, in metres.
        goal_radius: in metres.
        goal_bonus: reward per step that ends inside the goal.
        start_low: lowest coordinate, in metres, of the square where episodes start.
        start_high: highest coordinate of that square.
    """

    max_steps_in_episode: int = STEPS
    time_step: float = 0.05
    acceleration: float = 1.0
    top_speed: float = 1.0
    goal_x: float = 0.7
    goal_y: float = 0.7
    goal_radius: float = 0.15
    goal_bonus: float = 0.05
    start_low: float = -0.95
    start_high: float = -0.55


class PointRobot(Environment):
    """A double integrator in the square [−1, 1]², driven by accelerations.

    With Δ the time step and a the command clipped to [−1, 1]²,

        v⁺ = v + Δ · acceleration · a, shortened to the top speed;  x⁺ = x + Δ v⁺,

    stopped at the walls: a coordinate that would leave the square stays on its edge and loses
    its velocity. The reward is the progress towards the goal's centre, |x − g| − |x⁺ − g| in
    metres, plus a bonus if x⁺ is within the goal's radius. Only the time limit ends an episode.
    Starts are uniform in a square at the bottom left, at rest. Observations are position,
    velocity, and goal minus position: float32 [6].
    """

    @property
    def name(self) -> str:
        return "PointRobot-fedjax"

    @property
    def num_actions(self) -> int:
        return 2

    @property
    def default_params(self) -> PointParams:
        return PointParams()

    def reset_env(self, key: Array, params: Any) -> tuple:
        """The first observation and state of an episode."""
        position = jax.random.uniform(
            key, (2,), jnp.float32, minval=params.start_low, maxval=params.start_high
        )
        state = PointState(time=0, position=position, velocity=jnp.zeros(2, jnp.float32))
        return self.observe(key, state, None, params), state

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; the action is a float32 [2] array."""
        push = params.acceleration * jnp.clip(action, -1.0, 1.0)
        velocity = state.velocity + params.time_step * push
        speed = jnp.linalg.norm(velocity)
        velocity *= jnp.minimum(1.0, params.top_speed / jnp.maximum(speed, params.top_speed))
        free = state.position + params.time_step * velocity
        position = jnp.clip(free, -1.0, 1.0)
        after = PointState(
            time=state.time + 1,
            position=position,
            velocity=jnp.where(position == free, velocity, 0.0),
        )
        goal = _goal(params)
        distance = jnp.linalg.norm(position - goal)
        progress = jnp.linalg.norm(state.position - goal) - distance
        reward = progress + params.goal_bonus * (distance <= params.goal_radius)
        return self.observe(key, after, action, params), after, reward, jnp.array(False), {}

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """Position, velocity, and the way to the goal: [6]."""
        return jnp.concatenate([state.position, state.velocity, _goal(params) - state.position])

    def is_terminated(self, state: Any, params: Any) -> Array:
        """False: no state ends an episode, only the time limit does."""
        return jnp.array(False)

    def action_space(self, params: Any = None) -> spaces.Box:
        """Acceleration in units of ``acceleration``."""
        return spaces.Box(-1.0, 1.0, (2,), jnp.float32)

    def observation_space(self, params: Any) -> spaces.Box:
        """Bounds of what `observe` gives, for a goal within the square."""
        bounds = jnp.array([1.0, 1.0, params.top_speed, params.top_speed, 2.0, 2.0], jnp.float32)
        return spaces.Box(-bounds, bounds, (6,), jnp.float32)


def _goal(params: Any) -> Array:
    return jnp.stack([jnp.asarray(params.goal_x), jnp.asarray(params.goal_y)]).astype(jnp.float32)


def point_robot(kind: str = "episode") -> Task:
    """A point robot on its way to a goal, 200 steps, with two hazards and a speed limit.

    The environment is ours: `PointRobot`. Before the step, constraint j of the first two costs 1
    while the robot is inside the closed rectangle ``HAZARDS[j]``, the third while its speed is
    above 0.6 m/s.

    Budgets are 5, 5 and 15 per episode. Measured over 1,000 random starts, and held by the
    tests: a controller that heads straight for the goal has reward 9.7 and pays 10, 12 and 37,
    so that the budgets are 41–49 % of that; one that weaves between the hazards below the speed
    limit has reward 7.4 and pays 0, 0 and 1.4.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    hazards = [
        Constraint(f"hazard-{index}", _inside(zone), budget_as(kind, HAZARD_BUDGET, STEPS), kind)
        for index, zone in enumerate(HAZARDS, start=1)
    ]
    speed = Constraint("speed", _too_fast, budget_as(kind, SPEED_BUDGET, STEPS), kind)
    return constrained("point-robot", PointRobot(), [*hazards, speed], picture=_picture)


def _inside(zone: Zone) -> CostFunction:
    left, right, bottom, top = zone

    def cost(state: Any, action: Array, after: Any) -> Array:
        x, y = state.position[0], state.position[1]
        return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)

    return cost


def _too_fast(state: Any, action: Array, after: Any) -> Array:
    return jnp.linalg.norm(state.velocity) > SPEED_LIMIT


def _picture(state: Any, params: Any) -> Picture:
    """The square, the hazards, the goal and the robot with its velocity over one second."""
    x, y = (float(value) for value in state.position)
    ahead = tuple(float(value) for value in state.position + state.velocity)
    walls = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0))
    goal = (float(params.goal_x), float(params.goal_y))
    return Picture(
        SCENE,
        zones=tuple((*zone, index) for index, zone in enumerate(HAZARDS)),
        lines=(walls, ((x, y), (ahead[0], ahead[1]))),
        circles=((goal, float(params.goal_radius)), ((x, y), ROBOT_RADIUS)),
    )


register_environment("point-robot", point_robot)
