"""MuJoCo's InvertedPendulum in closed form, with forbidden bands along a longer rail."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState

from fedjax_rl.algorithm import Array, Pytree, register_environment
from fedjax_rl.envs.cartpole import picture_of, position_constraints
from fedjax_rl.envs.costs import Interval, budget_as
from fedjax_rl.envs.task import Task, constrained

STEPS = 500
SUBSTEPS = 2
"""Runge–Kutta steps per action: Gymnasium's ``frame_skip``."""
START = 0.01
"""Episodes start uniformly within ± this in all four coordinates (m, rad, m/s, rad/s)."""

ADJ3: tuple[tuple[Interval, ...], ...] = (
    ((-2.4, -1.7), (-0.2, 0.0), (0.8, 1.2)),
    ((-1.6, -1.2), (-0.6, -0.2), (0.2, 0.6), (1.2, 1.6)),
    ((-1.2, -0.8), (0.0, 0.2), (1.7, 2.4)),
)
"""Closed intervals of the cart's position, in metres, for each constraint (arXiv 2405.03236)."""
ADJ3_BUDGET = 15.0

DENSITY = 1000.0
"""kg/m³, MuJoCo's own; the other sizes are those of Gymnasium's ``inverted_pendulum.xml``."""
CART_RADIUS, CART_LENGTH = 0.1, 0.2
POLE_RADIUS, POLE_TIP = 0.049, (0.001, 0.6)
"""The pole's axis leads from the hinge to (x, z) = ``POLE_TIP``: it leans by 1/600."""


def capsule_mass(radius: float, length: float) -> float:
    """Mass in kg of a uniform cylinder of `DENSITY` with a half ball on both ends.

    Args:
        radius: in metres.
        length: of the cylinder, in metres.
    """
    return DENSITY * math.pi * radius**2 * (length + 4 / 3 * radius)


def capsule_inertia(mass: Any, radius: Any, length: Any) -> Any:
    """Moment of inertia in kg m² of a uniform capsule about an axis across, at its centre.

    The cylinder's is m_c (3r² + l²)/12, both half balls' m_b (2r²/5 + l²/4 + 3lr/8), as the
    centre of a half ball lies 3r/8 beyond its flat side.

    Args:
        mass: of all of it, in kg.
        radius: r, in metres.
        length: l of the cylinder, in metres.
    """
    balls = mass * 4 * radius / (4 * radius + 3 * length)
    across = (mass - balls) * (3 * radius**2 + length**2) / 12
    return across + balls * (2 * radius**2 / 5 + length**2 / 4 + 3 * length * radius / 8)


POLE_LENGTH = math.hypot(*POLE_TIP)
POLE_MASS = capsule_mass(POLE_RADIUS, POLE_LENGTH)


class Motion(NamedTuple):
    """Where cart and pole are and how they move; scalars.

    Attributes:
        x: position of the cart, in metres.
        theta: angle of the hinge, in rad; above zero the pole leans towards growing x.
        x_dot: m/s.
        theta_dot: rad/s.
    """

    x: Array
    theta: Array
    x_dot: Array
    theta_dot: Array


@struct.dataclass
class PendulumState(EnvState):
    """A motion within an episode; scalars.

    Attributes:
        time: steps since the start of the episode.
        x: position of the cart, in metres.
        theta: angle of the hinge, in rad.
        x_dot: m/s.
        theta_dot: rad/s.
    """

    x: jax.Array
    theta: jax.Array
    x_dot: jax.Array
    theta_dot: jax.Array


@struct.dataclass
class PendulumParams(EnvParams):
    """Parameters of the dynamics; names are those of CartPole where they mean the same.

    Attributes:
        max_steps_in_episode: steps after which an episode is cut.
        gravity: m/s².
        masscart: kg.
        masspole: kg.
        length: from the hinge to the pole's centre of mass, half its length, in metres.
        pole_radius: metres.
        pole_inertia: kg m², across the pole at its centre; derived.
        lean: of the pole's axis where the hinge is at 0, in rad.
        damping: of both joints, in N s/m and N m s/rad.
        gear: newtons per unit of control.
        most_control: largest size of the control.
        tau: seconds of a Runge–Kutta step.
        theta_threshold_radians: angles beyond end an episode.
        x_threshold: metres; positions beyond end an episode.
    """

    max_steps_in_episode: int = STEPS
    gravity: float = 9.81
    masscart: float = capsule_mass(CART_RADIUS, CART_LENGTH)
    masspole: float = POLE_MASS
    length: float = POLE_LENGTH / 2
    pole_radius: float = POLE_RADIUS
    pole_inertia: float = capsule_inertia(POLE_MASS, POLE_RADIUS, POLE_LENGTH)
    lean: float = math.atan2(*POLE_TIP)
    damping: float = 1.0
    gear: float = 100.0
    most_control: float = 3.0
    tau: float = 0.02
    theta_threshold_radians: float = 0.2
    x_threshold: float = 2.4


def derive(params: Pytree) -> Pytree:
    """Parameters with the pole's moment of inertia (kg m²) of its mass, length and radius."""
    inertia = capsule_inertia(params.masspole, params.pole_radius, 2 * params.length)
    return params.replace(pole_inertia=inertia)


def velocity_of(motion: Motion, force: Array, params: Any) -> Motion:
    """The time derivative of a motion under a force on the cart, in SI units.

    With φ = θ + lean, l = ``length``, M and m the masses and b the damping,

        (M + m) ẍ + m l cos φ θ̈ = F − b ẋ + m l sin φ θ̇²
        m l cos φ ẍ + (I + m l²) θ̈ = m g l sin φ − b θ̇.

    Args:
        motion: of cart and pole.
        force: F, in newtons.
        params: `PendulumParams`.
    """
    angle = motion.theta + params.lean
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    moment = params.masspole * params.length
    both = params.masscart + params.masspole
    inertia = params.pole_inertia + moment * params.length
    coupling = moment * cosine
    push = force - params.damping * motion.x_dot + moment * sine * motion.theta_dot**2
    torque = params.gravity * moment * sine - params.damping * motion.theta_dot
    determinant = both * inertia - coupling**2
    return Motion(
        x=motion.x_dot,
        theta=motion.theta_dot,
        x_dot=(inertia * push - coupling * torque) / determinant,
        theta_dot=(both * torque - coupling * push) / determinant,
    )


def advance(motion: Motion, control: Array, params: Any) -> Motion:
    """The motion after one action: `SUBSTEPS` classical Runge–Kutta steps of order 4.

    The control is held and clipped. Number types are those of the arguments.

    Args:
        motion: of cart and pole.
        control: in units of ``gear`` newtons, a scalar.
        params: `PendulumParams`.
    """
    force = params.gear * jnp.clip(control, -params.most_control, params.most_control)

    def moved(start: Motion, velocity: Motion, seconds: Array) -> Motion:
        return Motion(*(p + seconds * v for p, v in zip(start, velocity, strict=True)))

    for _ in range(SUBSTEPS):
        first = velocity_of(motion, force, params)
        second = velocity_of(moved(motion, first, params.tau / 2), force, params)
        third = velocity_of(moved(motion, second, params.tau / 2), force, params)
        fourth = velocity_of(moved(motion, third, params.tau), force, params)
        mean = (
            (a + 2 * b + 2 * c + d) / 6
            for a, b, c, d in zip(first, second, third, fourth, strict=True)
        )
        motion = moved(motion, Motion(*mean), params.tau)
    return motion


class InvertedPendulum(Environment):
    """MuJoCo's InvertedPendulum, in closed form and with a rail of ±2.4 m.

    Bodies, joints, motor and integrator are those of Gymnasium's ``inverted_pendulum.xml``:
    a force of 100·a newtons for a clipped to [−3, 3], 0.04 s per action, starts uniform within
    ±0.01 in all four coordinates, observations (x, θ, ẋ, θ̇), an end at |θ| > 0.2 rad. As in
    the experiments of arXiv 2405.03236, |x| > 2.4 ends the episode, too, and 500 steps cut it.
    The reward is 1 for a step (InvertedPendulum-v2 pays it for the last one, too, and v5 does
    not), or −1 for one after which |x| > 2.4, whatever the angle.

    MuJoCo stops the cart at the slider's range (±1 m in the file) by soft forces within it;
    there are none here. A range of ±3.1 m or more has none either: the centre of mass
    x + m l sin φ/(M + m) is pushed by at most 300 N and a little friction, so that over the
    rail's 4.8 m it gains at most 14.1 m/s; the hinge turns by at most 9 rad/s between ±0.2 rad,
    which adds 0.9 m/s; so one action leads at most 0.04 · 15 + 0.02 m beyond ±2.4 m, where the
    episode ends. The hinge's own range of ±π/2 is as far away.
    """

    @property
    def name(self) -> str:
        return "InvertedPendulum-closed-form"

    @property
    def num_actions(self) -> int:
        return 1

    @property
    def default_params(self) -> PendulumParams:
        return PendulumParams()

    def reset_env(self, key: Array, params: Any) -> tuple:
        """The first observation and state of an episode."""
        start = jax.random.uniform(key, (4,), minval=-START, maxval=START)
        state = PendulumState(0, *start)
        return self.observe(key, state, None, params), state

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """One transition, without reset; the action is a float32 [1] array, or a scalar."""
        motion = Motion(state.x, state.theta, state.x_dot, state.theta_dot)
        after = PendulumState(state.time + 1, *advance(motion, jnp.reshape(action, ()), params))
        reward = jnp.where(jnp.abs(after.x) > params.x_threshold, -1.0, 1.0)
        ended = self.is_terminated(after, params)
        return self.observe(key, after, action, params), after, reward, ended, {}

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> Array:
        """Positions of cart and hinge, then their velocities: [4]."""
        return jnp.stack([state.x, state.theta, state.x_dot, state.theta_dot])

    def is_terminated(self, state: Any, params: Any) -> Array:
        """Whether the cart has left the rail or the pole has fallen."""
        fallen = jnp.abs(state.theta) > params.theta_threshold_radians
        return fallen | (jnp.abs(state.x) > params.x_threshold)

    def action_space(self, params: Any = None) -> spaces.Box:
        """The control, in units of ``gear`` newtons."""
        most = self.default_params.most_control if params is None else params.most_control
        return spaces.Box(-most, most, (1,), jnp.float32)

    def observation_space(self, params: Any) -> spaces.Box:
        """Unbounded, as in Gymnasium."""
        return spaces.Box(-jnp.inf, jnp.inf, (4,), jnp.float32)


def inverted_pendulum_adj3(kind: str = "episode") -> Task:
    """MuJoCo's InvertedPendulum on a rail of ±2.4 m, 500 steps, three adjacent position costs.

    A step costs 1 of constraint j while the cart is in one of the closed bands ``ADJ3[j]``
    before the step; budgets are 15 per episode (arXiv 2405.03236, ADJ3). `InvertedPendulum`
    says what is MuJoCo's.

    Args:
        kind: what is held to the budgets; they are converted at equal cost per step.
    """
    return constrained(
        "inverted-pendulum-adj3",
        InvertedPendulum(),
        position_constraints(ADJ3, budget_as(kind, ADJ3_BUDGET, STEPS), kind),
        derive=derive,
        picture=picture_of(ADJ3),
    )


register_environment("inverted-pendulum-adj3", inverted_pendulum_adj3)
