"""Small deterministic controllers and the episodes they play, in the tasks themselves."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fedjax_rl.envs.task import Task, is_discrete
from fedjax_rl.policies.distributions import categorical, diagonal_gaussian

FILE = pathlib.Path(__file__).parent / "controllers.json"


class Mixture(NamedTuple):
    """Policies of one kind: each episode draws one of them and keeps it.

    Attributes:
        weights: [K], their probabilities.
        parameters: [K, D].
    """

    weights: np.ndarray
    parameters: np.ndarray


class Policy(NamedTuple):
    """A deterministic policy with some real numbers to be found.

    Attributes:
        act: (parameters [D], observation [F]) -> action.
        start: [D], where a search begins; random numbers of deviation ``spread`` are added.
        spread: [D], by how much parameters differ that behave differently.
    """

    act: Callable[[Any, Any], Any]
    start: np.ndarray
    spread: np.ndarray


def affine(matrix: Any, vector: Any) -> Any:
    """The last row of a matrix [n + 1, m] plus the other rows weighed by a vector [n]."""
    # Written out: calls for products this small take longer than the products.
    return matrix[-1] + sum(vector[i] * matrix[i] for i in range(len(matrix) - 1))


def network(task: Task, scale: Any, hidden: int, start: Any = None) -> Policy:
    """Observations / scale [F], one hidden layer of tanh (none if ``hidden`` is 0), an action.

    A discrete action is the preferred one, a vector is clipped to the task's box.
    """
    space = task.environment.action_space(task.params)
    discrete = is_discrete(task)
    outputs = int(space.n) if discrete else int(np.prod(space.shape))
    inner_size = hidden or len(scale)
    cut = (len(scale) + 1) * hidden

    def act(parameters: Any, observation: Any) -> Any:
        inner = observation / np.asarray(scale, np.float32)
        if hidden:
            inner = jnp.tanh(affine(parameters[:cut].reshape(-1, hidden), inner))
        wanted = affine(parameters[cut:].reshape(-1, outputs), inner)
        if discrete:
            return jnp.argmax(wanted).astype(jnp.int32)
        return space.high * jnp.clip(wanted, -1.0, 1.0)

    size = cut + (inner_size + 1) * outputs
    return Policy(act, np.zeros(size) if start is None else np.asarray(start), np.ones(size))


def two_sided(start: Any) -> Policy:
    """A cart-pole that goes to a place on the side to which it happens to lean.

    With s = tanh((x + aẋ + bθ + cθ̇)/0.01), the side, the control is

        k tanh((x − s x₀)/w) + k_v ẋ + k_θ θ + k_ω θ̇ + f s, clipped to ±1.

    Parameters are k, k_θ, k_v, k_ω, x₀, w, a, b, c, f; observations (x, ẋ, θ, θ̇).
    """

    def act(parameters: Any, observation: Any) -> Any:
        k, k_angle, k_speed, k_turn, place, width, a, b, c, push = parameters
        x, x_dot, theta, theta_dot = observation
        side = jnp.tanh((x + a * x_dot + b * theta + c * theta_dot) / 0.01)
        pull = k * jnp.tanh((x - side * place) / width) + push * side
        balance = k_angle * theta + k_speed * x_dot + k_turn * theta_dot
        return jnp.clip(pull + balance, -1.0, 1.0)[None]

    return Policy(act, np.asarray(start), 0.5 * np.abs(start) + 0.01)


def played(
    task: Task,
    act: Callable[[Any, Any, Any, Any], Any],
    noise: Callable[[Any], Any] = lambda key: None,
) -> Callable[[Any, Any], Any]:
    """(parameters, key) -> reward and costs [M] of one whole episode.

    Args:
        task: in whose environment it is played.
        act: (parameters, state, observation [F], the step's noise) -> action.
        noise: (key) -> what is drawn for every step [T, ...], or nothing.
    """

    def episode(parameters: Any, key: Any) -> Any:
        key_reset, key_step, key_noise = jax.random.split(key, 3)
        observation, state = task.environment.reset_env(key_reset, task.params)

        def advance(carry: Any, drawn: Any) -> Any:
            observation, state, alive, reward, costs = carry
            # No task here draws random numbers after the start, so one key serves all steps.
            observation, state, gained, terminated, info = task.environment.step_env(
                key_step, state, act(parameters, state, observation, drawn), task.params
            )
            reward += alive * gained
            costs += alive * info["cost"]
            alive *= 1.0 - terminated
            return (observation, state, alive, reward, costs), None

        nothing = jnp.zeros(task.num_constraints)
        start = (observation, state, jnp.float32(1), jnp.float32(0), nothing)
        (*_, reward, costs), _ = lax.scan(advance, start, noise(key_noise), task.time_limit)
        return reward, costs

    return episode


def playing(task: Task, policy: Policy) -> Callable[[Any, Any], Any]:
    """(parameters [D], key) -> reward and costs [M] of one whole episode of a policy."""
    return played(
        task, lambda parameters, state, observation, _: policy.act(parameters, observation)
    )


def first_policy(task: Task) -> Callable[[Any], Any]:
    """(key) -> reward and costs [M] of an episode of a network whose last layer is 0.

    That is what training starts from: any discrete action with the same probability, or
    independent standard normal entries.
    """
    space = task.environment.action_space(task.params)
    if is_discrete(task):
        distribution = categorical(int(space.n))
    else:
        distribution = diagonal_gaussian(int(np.prod(space.shape)))
    nothing = jnp.zeros(distribution.num_parameters)
    episode = played(
        task,
        lambda parameters, state, observation, drawn: distribution.sample(nothing, drawn),
        lambda key: distribution.noise(key, (task.time_limit,)),
    )
    return lambda key: episode(None, key)


def read(name: str) -> Mixture:
    """The mixture that was found for a task."""
    found = json.loads(FILE.read_text(encoding="utf-8"))[name]
    return Mixture(np.array(found["weights"]), np.array(found["parameters"], np.float32))


def write(name: str, mixture: Mixture) -> None:
    """Keeps the mixture of a task, in six digits, beside those of the others."""
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    found[name] = {
        "weights": [round(float(weight), 6) for weight in mixture.weights],
        "parameters": [[float(f"{x:.6g}") for x in row] for row in mixture.parameters],
    }
    text = json.dumps(dict(sorted(found.items())), indent=1)
    # One controller a line: its numbers say nothing by themselves.
    flat = re.sub(r"\[[^\[\]]*\]", lambda row: re.sub(r"\s+", " ", row.group()), text)
    FILE.write_text(flat + "\n", encoding="utf-8")
