"""Finite CMDPs as environments: episode sums are the values of the LP."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.cmdp.model import CMDP, from_arrays
from fedjax_rl.cmdp.problems.windy_cliff import windy_cliff
from fedjax_rl.cmdp.solve import evaluate_policy
from fedjax_rl.envs.finite import LARGEST_DISCOUNT, as_uniform, drawn, finite_task
from fedjax_rl.envs.task import NO_LIMIT, Task, is_discrete, time_left, vary
from fedjax_rl.errors import InvalidInput
from tests.support import random_problem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EPISODES = 20_000
STEPS = 250
"""An episode is longer with probability 0.9²⁵⁰ = 4e-12."""


def some_policy(problem: CMDP, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(problem.num_actions), size=problem.num_states)


def mostly(problem: CMDP, action: int) -> np.ndarray:
    policy = np.full((problem.num_states, problem.num_actions), 0.1 / (problem.num_actions - 1))
    policy[:, action] = 0.9
    return policy


def episode_sums(task: Task, policy: np.ndarray, params: Any = None) -> np.ndarray:
    """[episodes, 1 + M], undiscounted sums of reward and costs up to the end of each episode."""
    log_policy = jnp.log(jnp.asarray(policy, jnp.float32))
    params = task.params if params is None else params

    def play(key: Any, params: Any) -> Any:
        key_reset, key_steps = jax.random.split(key)
        observation, state = task.environment.reset_env(key_reset, params)

        def advance(carry: Any, key: Any) -> Any:
            observation, state, alive, sums = carry
            key_action, key_step = jax.random.split(key)
            action = jax.random.categorical(key_action, observation @ log_policy)
            observation, state, reward, terminated, info = task.environment.step_env(
                key_step, state, action, params
            )
            sums = sums + alive * jnp.append(reward, info["cost"])
            return (observation, state, alive * ~terminated, sums), None

        start = (observation, state, jnp.float32(1), jnp.zeros(1 + task.num_constraints))
        (*_, alive, sums), _ = jax.lax.scan(advance, start, jax.random.split(key_steps, STEPS))
        return alive, sums

    keys = jax.random.split(jax.random.key(0), EPISODES)
    alive, sums = jax.jit(jax.vmap(play, (0, None)))(keys, params)
    assert not alive.any()
    return np.asarray(sums, np.float64)


def assert_mean_is(sums: np.ndarray, expected: np.ndarray) -> None:
    """Within four standard errors, and those small enough for the comparison to mean something."""
    errors = sums.std(0) / np.sqrt(len(sums))
    assert np.all(errors < 0.05 * np.maximum(np.abs(expected), 1))
    np.testing.assert_array_less(np.abs(sums.mean(0) - expected), 4 * errors)


def values_of(problem: CMDP, policy: np.ndarray) -> np.ndarray:
    reward, costs, _ = evaluate_policy(problem, policy)
    return np.append(reward, costs)


@pytest.mark.parametrize("seed", [0, 1])
def test_episode_sums_are_the_values_of_a_random_problem(seed: int) -> None:
    problem = random_problem(seed)
    policy = some_policy(problem)
    sums = episode_sums(finite_task(problem, "random"), policy)
    assert_mean_is(sums, values_of(problem, policy))


def test_episode_sums_are_the_values_of_windy_cliff() -> None:
    problem = windy_cliff()
    policy = mostly(problem, 0)
    sums = episode_sums(finite_task(problem, "windy-cliff"), policy)
    expected = values_of(problem, policy)
    assert np.all(expected > 0.3)
    assert_mean_is(sums, expected)


def test_an_unsupported_action_is_a_random_supported_one() -> None:
    problem = random_problem(2)
    support = np.ones((problem.num_states, problem.num_actions), bool)
    support[0, :2] = support[3, 1:] = False
    problem = dataclasses.replace(problem, support=support)
    policy = some_policy(problem)
    supported = np.where(support, policy, 0.0)
    lost = policy.sum(1, keepdims=True) - supported.sum(1, keepdims=True)
    folded = supported + lost * support / support.sum(1, keepdims=True)
    sums = episode_sums(finite_task(problem, "partly"), policy)
    assert_mean_is(sums, values_of(problem, folded))
    unrestricted = dataclasses.replace(problem, support=np.ones_like(support))
    different = np.abs(values_of(unrestricted, policy) - values_of(problem, folded))
    assert different.max() > 8 * (sums.std(0) / np.sqrt(len(sums))).max()


def test_another_discount_is_another_parameter() -> None:
    """The arrays are read from the parameters handed over, not from the environment."""
    problem = random_problem(3)
    policy = some_policy(problem)
    task = finite_task(problem, "short")
    shorter = dataclasses.replace(problem, discount=np.float64(0.5))
    sums = episode_sums(task, policy, task.params.replace(discount=jnp.float32(0.5)))
    assert_mean_is(sums, values_of(shorter, policy))


def test_the_task_holds_episodes_to_the_budgets_without_discounting() -> None:
    problem = windy_cliff(agents=3)
    task = finite_task(problem, "cliff")
    assert task.name == task.environment.name == "cliff"
    assert task.constraint_names == problem.constraint_names
    assert task.budgets.tolist() == [2.0, 2.0, 2.0]
    assert task.kinds == ("episode",) * 3
    assert task.discount == task.cost_discount == 1.0
    assert task.time_limit is None and task.params.max_steps_in_episode == NO_LIMIT
    assert is_discrete(task) and task.environment.num_actions == 4


def many_steps(task: Task, position: int, action: int, count: int = 40_000) -> Any:
    """The same transition over and over: (observation, state, reward, terminated, info)."""
    _, state = task.environment.reset_env(jax.random.key(0), task.params)
    state = state.replace(position=jnp.int32(position))
    keys = jax.random.split(jax.random.key(5), count)
    step = jax.vmap(task.environment.step_env, (0, None, None, None))
    return jax.jit(step)(keys, state, jnp.int32(action), task.params)


def assert_frequencies(places: Any, probabilities: np.ndarray) -> None:
    count = len(places)
    frequencies = np.bincount(np.asarray(places), minlength=len(probabilities)) / count
    errors = np.sqrt(probabilities * (1 - probabilities) / count)
    assert np.all(np.abs(frequencies - probabilities) <= 4.5 * errors + 1e-6)
    assert np.all(frequencies[probabilities == 0] == 0)


def test_an_episode_ends_with_probability_one_minus_gamma() -> None:
    task = finite_task(windy_cliff(discount=0.7), "cliff")
    _, after, _, terminated, _ = many_steps(task, 0, 0)
    share = float(terminated.mean())
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(terminated))
    np.testing.assert_array_equal(terminated, after.over)
    ends = jax.vmap(task.environment.is_terminated, (0, None))(after, task.params)
    np.testing.assert_array_equal(terminated, ends)


def test_gamma_zero_ends_every_episode_at_once() -> None:
    task = finite_task(windy_cliff(discount=0.0), "cliff")
    assert many_steps(task, 0, 0)[3].all()


def one_state(discount: float) -> CMDP:
    """Reward 1 for ever: V = 1/(1 − γ), the mean length of an episode."""
    return from_arrays([[[1.0]]], [[1.0]], [[[1.0]]], [4.0], [1.0], discount)


@pytest.mark.parametrize("discount", [0.999, LARGEST_DISCOUNT])
def test_long_episodes_end_as_often_as_they_should(discount: float) -> None:
    """A step ends one where 32 random bits lie in a share of 1 − γ of all that there are."""
    task = finite_task(one_state(discount), "long")
    first = int((jnp.float32(2**32) * task.params.discount).astype(jnp.uint32))
    assert (2**32 - first) / 2**32 == pytest.approx(1 - discount, rel=2e-4)


@pytest.mark.parametrize("discount", [0.99995, 0.99999, 0.999999])
def test_what_float32_cannot_hold_is_refused(discount: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        finite_task(one_state(discount), "too-long")
    assert str(discount) in str(caught.value.value) and "0.9999" in caught.value.allowed


@pytest.mark.parametrize("discount", [0.99999, 1.0, -0.1, 1.5])
def test_agents_cannot_have_such_discounts_either(discount: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        vary(finite_task(windy_cliff(), "cliff"), {"discount": [0.9, discount]}, 2)
    assert caught.value.field == "--vary"


def test_uniform_numbers_are_those_of_jax() -> None:
    key = jax.random.key(8)
    bits = jax.random.bits(key, (100,), jnp.uint32)
    np.testing.assert_array_equal(as_uniform(bits), jax.random.uniform(key, (100,)))


@pytest.mark.parametrize("problem", [windy_cliff(), random_problem(0)], ids=["gathered", "dense"])
def test_arrivals_follow_the_transition(problem: CMDP) -> None:
    task = finite_task(problem, "any")
    for position, action in [(0, 0), (3, 1), (problem.num_states - 1, 3)]:
        observation, after, reward, terminated, info = many_steps(task, position, action)
        assert_frequencies(after.position, problem.transition[position, action])
        assert_frequencies(after.position[terminated], problem.transition[position, action])
        expected = np.eye(problem.num_states)[np.asarray(after.position)]
        np.testing.assert_array_equal(observation, expected)
        assert observation.dtype == jnp.float32
        # Paid in full by every transition, also by one that ends the episode.
        np.testing.assert_array_equal(reward, np.float32(problem.reward[position, action]))
        costs = np.float32(problem.costs[:, position, action])
        np.testing.assert_array_equal(info["cost"], np.tile(costs, (len(reward), 1)))


def test_starts_follow_the_initial_distribution() -> None:
    problem = random_problem(4)
    problem = dataclasses.replace(problem, initial=np.array([0.0, 0.5, 0.0, 0.5, 0.0]))
    task = finite_task(problem, "two starts")
    keys = jax.random.split(jax.random.key(6), 10_000)
    _, state = jax.jit(jax.vmap(task.environment.reset_env, (0, None)))(keys, task.params)
    assert_frequencies(state.position, problem.initial)


@pytest.mark.parametrize(("uniform", "index"), [(0.0, 1), (0.49, 1), (0.5, 3), (1 - 2.0**-23, 3)])
def test_what_has_no_probability_is_never_drawn(uniform: float, index: int) -> None:
    cumulative = jnp.array([0.0, 0.5, 0.5, 1.0, 1.0])
    assert drawn(jnp.float32(uniform), cumulative) == index


def test_reset_and_step_have_the_same_types_and_never_run_out_of_time() -> None:
    task = finite_task(windy_cliff(), "cliff")
    key = jax.random.key(0)
    first, state = task.environment.reset_env(key, task.params)
    second, after, reward, _, info = task.environment.step_env(
        key, state, jnp.int32(0), task.params
    )
    kinds = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((first, state))]
    assert kinds == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((second, after))]
    assert info["cost"].dtype == reward.dtype == jnp.float32
    assert first.shape == task.environment.observation_space(task.params).shape == (40,)
    assert float(time_left(after, task.params)) == 1.0
    assert not task.environment.is_truncated(after, task.params)
    assert after.time == 1


def test_the_program_holds_none_of_the_arrays() -> None:
    """They are its arguments: a closed-over transition would be copied into every program."""
    task = finite_task(windy_cliff(), "cliff")
    key = jax.random.key(0)
    _, state = task.environment.reset_env(key, task.params)
    traced = jax.make_jaxpr(task.environment.step_env)(key, state, jnp.int32(0), task.params)
    assert max((np.size(constant) for constant in traced.consts), default=0) < 10


def test_agents_may_have_discounts_of_their_own() -> None:
    task = finite_task(windy_cliff(), "cliff")
    params = vary(task, {"discount": [0.0, 0.95]}, 2)
    _, state = task.environment.reset_env(jax.random.key(0), task.params)
    keys = jax.random.split(jax.random.key(1), 500)
    step = jax.vmap(task.environment.step_env, (0, None, None, None))
    step = jax.jit(jax.vmap(step, (None, None, None, 0)))
    terminated = step(keys, state, jnp.int32(0), params)[3]
    assert terminated[0].all() and 0 < terminated[1].mean() < 0.15
