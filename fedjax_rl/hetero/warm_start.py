"""A supervised start: a policy that is right as often as one asks, before any reward is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.evaluation import accuracy
from fedjax_rl.hetero.rollout import log_probabilities, sampling
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.tasks.task import TokenTask
from fedjax_rl.policies.tokens import TokenPolicy
from fedjax_rl.precision import precision

HALVINGS = 10
"""Of the way between two checkpoints at most."""


class Teaching(NamedTuple):
    """Settings of the supervised warm start.

    Attributes:
        learning_rate: of Adam; 0.003 suits transformers, 0.05 tables.
        prompts: in each step.
        chunk: steps between two measurements.
        most_steps: after which it gives up, rounded up to a chunk.
        measured: N, held-out prompts of a measurement, one response each.
    """

    learning_rate: float = 0.003
    prompts: int = 64
    chunk: int = 20
    most_steps: int = 20_000
    measured: int = 2048


class WarmStart(NamedTuple):
    """A policy of about the wanted accuracy.

    Attributes:
        parameters: of the policy.
        accuracy: measured share of right answers to held-out prompts at temperature 1.
        steps: Adam steps taken, the last of them perhaps only in part.
    """

    parameters: Pytree
    accuracy: float
    steps: int


@precision(False)
def warm_start(
    key: Array,
    task: TokenTask,
    policy: TokenPolicy,
    target: float,
    teaching: Teaching | None = None,
) -> WarmStart:
    """Adam on the cross-entropy of solutions until the policy is right often enough.

    Accuracy is measured every few steps, always on the same held-out prompts with the same
    random numbers. When it has passed the target, the way from the last checkpoint is halved
    until what is measured is as near as its steps of 1/N allow, or nearly so. The policy's own
    accuracy differs from that by the error of the sample, √(a(1 − a)/N).

    Args:
        key: of initial parameters, training prompts and measurements.
        task: whose solutions are taught.
        policy: what is taught.
        target: accuracy in [0, 1); no step is taken if the policy starts at least there.
        teaching: see `Teaching`.

    Raises:
        InvalidInput: a target outside [0, 1), a count below 1, a learning rate that is not
            positive, or a target that is not reached.
    """
    teaching = Teaching() if teaching is None else teaching
    check_teaching(target, teaching)
    key_init, key_train, key_prompts, key_measure = jax.random.split(key, 4)
    sides = split(task)
    prompts = jax.jit(jax.vmap(sides.held_out))(jax.random.split(key_prompts, teaching.measured))
    judge, at_one = jax.jit(accuracy(task, policy)), sampling()

    def measure(parameters: Pytree) -> float:
        return float(judge(key_measure, parameters, prompts, at_one))

    init, chunk = teacher(task, policy, sides.training, teaching)
    state = init(key_init)
    reached, steps = measure(state[0]), 0
    if reached >= target:
        return WarmStart(state[0], reached, steps)
    while steps < teaching.most_steps:
        before, state = state[0], chunk(key_train, steps, state)
        steps += teaching.chunk
        reached = measure(state[0])
        if reached >= target:
            return _halved(before, state[0], target, measure, steps)
    raise InvalidInput(
        "--warm-start", target, f"at most {reached:.3f}, the accuracy after {steps} steps"
    )


def teacher(
    task: TokenTask, policy: TokenPolicy, draw: Callable[[Any], Any], teaching: Teaching
) -> tuple[Callable[[Any], Pytree], Callable[[Any, int, Pytree], Pytree]]:
    """Adam on −Σ log p(solution) / Σ tokens, as two functions.

    Args:
        task: whose solutions are taught.
        policy: what is taught.
        draw: (key) -> prompt.
        teaching: see `Teaching`.

    Returns:
        (key) -> state, and (key, steps taken, state) -> state after a chunk of steps, jitted; a
        state is parameters and Adam's moments.
    """
    optimiser = optax.adam(jnp.float32(teaching.learning_rate))
    log_p = log_probabilities(policy)

    def loss(parameters: Pytree, prompts: Array) -> jax.Array:
        tokens, mask = jax.vmap(task.solution)(prompts)
        logs = jax.vmap(log_p, (None, 0, 0, 0, None))(
            parameters, prompts, tokens, mask, jnp.float32(1)
        )
        return -jnp.sum(logs) / jnp.sum(mask)

    def step(state: Pytree, key: Array) -> tuple[Pytree, None]:
        parameters, moments = state
        prompts = jax.vmap(draw)(jax.random.split(key, teaching.prompts))
        gradient = jax.grad(loss)(parameters, prompts)
        update, moments = optimiser.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, update), moments), None

    def init(key: Array) -> Pytree:
        parameters = policy.init(key)
        return parameters, optimiser.init(parameters)

    @jax.jit
    def chunk(key: Array, steps: int, state: Pytree) -> Pytree:
        # Keys by the number of a step: how many a chunk has changes no bit.
        numbers = steps + jnp.arange(teaching.chunk)
        return jax.lax.scan(step, state, jax.vmap(jax.random.fold_in, (None, 0))(key, numbers))[0]

    return init, chunk


def check_teaching(target: float, teaching: Teaching) -> None:
    """Raises InvalidInput unless these are a target and settings of a supervised start."""
    if not 0 <= target < 1:
        raise InvalidInput("--warm-start", target, "an accuracy in [0, 1)")
    if not 0 < teaching.learning_rate < float("inf"):
        raise InvalidInput("learning_rate", teaching.learning_rate, "a positive number")
    for field in ("prompts", "chunk", "most_steps", "measured"):
        if getattr(teaching, field) < 1:
            raise InvalidInput(field, getattr(teaching, field), "at least 1")


def _halved(
    below: Pytree, above: Pytree, target: float, measure: Callable[[Pytree], float], steps: int
) -> WarmStart:
    """The point on the line between two parameters whose accuracy is nearest to the target."""
    low, high, best = 0.0, 1.0, WarmStart(above, measure(above), steps)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        parameters = optax.incremental_update(above, below, middle)
        reached = measure(parameters)
        if abs(reached - target) < abs(best.accuracy - target):
            best = WarmStart(parameters, reached, steps)
        low, high = (middle, high) if reached < target else (low, middle)
    return best
