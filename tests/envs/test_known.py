"""Closed-form optima, checked by playing every sequence of actions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from fedjax_rl.algorithm import environments
from fedjax_rl.envs.known import (
    Known,
    chain,
    constant_reward,
    constrained_bandit,
    known_chain,
    known_constant_reward,
    known_constrained_bandit,
)
from fedjax_rl.envs.task import Task
from fedjax_rl.errors import InvalidInput
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)


def played(task: Task, length: int) -> dict[tuple[int, ...], tuple[list[bytes], np.ndarray]]:
    """For every sequence of actions: what was observed, and the sums of reward and costs.

    The tasks are deterministic, so that these are all there is. The episode must end after
    ``length`` steps and not before.
    """
    sequences = np.array(list(itertools.product(range(2), repeat=length)), np.int32)

    def play(actions: Any) -> Any:
        def advance(carry: Any, action: Any) -> Any:
            observation, state = carry
            following, after, reward, terminated, info = task.environment.step_env(
                jax.random.key(1), state, action, task.params
            )
            ended = terminated | task.environment.is_truncated(after, task.params)
            return (following, after), (observation, jnp.append(reward, info["cost"]), ended)

        return jax.lax.scan(
            advance, task.environment.reset_env(jax.random.key(0), task.params), actions
        )[1]

    observations, signals, ended = jax.jit(jax.vmap(play))(sequences)
    assert ended[:, -1].all() and not ended[:, :-1].any()
    sums = np.asarray(signals.sum(1), np.float64)
    return {
        tuple(int(action) for action in actions): (
            [np.asarray(one).tobytes() for one in seen],
            total,
        )
        for actions, seen, total in zip(sequences, observations, sums, strict=True)
    }


def deterministic_policies(task: Task, length: int) -> np.ndarray:
    """[policies, 1 + M], (J_r, J_c) of every map from observations to actions."""
    outcomes = played(task, length)
    views = sorted({view for seen, _ in outcomes.values() for view in seen})
    points = []
    for choice in itertools.product(range(2), repeat=len(views)):
        acts = dict(zip(views, choice, strict=True))
        followed = [
            total
            for actions, (seen, total) in outcomes.items()
            if all(acts[view] == action for view, action in zip(seen, actions, strict=True))
        ]
        (total,) = followed
        points.append(total)
    return np.array(points)


def best_mixture(points: np.ndarray, budgets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Optimum over mixtures of policies: reward, costs, multipliers; a linear program."""
    count = len(points)
    done = linprog(
        -points[:, 0],
        A_ub=points[:, 1:].T,
        b_ub=budgets,
        A_eq=np.ones((1, count)),
        b_eq=[1.0],
        method="highs",
    )
    return -done.fun, points[:, 1:].T @ done.x, -done.ineqlin.marginals


@pytest.mark.parametrize(
    ("known", "length"),
    [
        (known_constant_reward(3), 3),
        (known_constrained_bandit(), 1),
        (known_constrained_bandit(0.9), 1),
        (known_chain(1), 1),
        (known_chain(2), 2),
        (known_chain(3), 3),
    ],
    ids=lambda value: value.task.name if isinstance(value, Known) else str(value),
)
def test_the_optimum_is_that_of_all_mixtures(known: Known, length: int) -> None:
    points = deterministic_policies(known.task, length)
    reward, costs, multipliers = best_mixture(points, known.task.budgets.astype(np.float64))
    assert reward == pytest.approx(known.optimal_reward, abs=1e-6)
    np.testing.assert_allclose(costs, known.optimal_costs, atol=1e-6)
    np.testing.assert_allclose(multipliers, known.optimal_multipliers, atol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_one_policy_of_the_chain_attains_the_optimum(length: int) -> None:
    """Set out with probability d/L and then keep going: it depends on what is observed alone."""
    known = known_chain(length)
    chance = float(known.task.budgets[0]) / length
    outcomes = played(known.task, length)
    start, others = outcomes[(1,) * length][0][0], outcomes[(1,) * length][0][1:]

    def right(view: bytes) -> float:
        return chance if view == start else float(view in others)

    mean = np.zeros(2)
    for actions, (seen, total) in outcomes.items():
        ways = [
            right(view) if action else 1 - right(view)
            for view, action in zip(seen, actions, strict=True)
        ]
        mean += np.prod(ways) * total
    np.testing.assert_allclose(mean, [known.optimal_reward, known.optimal_costs[0]], atol=1e-7)


@pytest.mark.parametrize("budget", [0.1, 0.5, 0.9])
def test_the_multiplier_of_the_bandit_is_the_only_minimum_of_the_dual(budget: float) -> None:
    known = known_constrained_bandit(budget)
    arms = deterministic_policies(known.task, 1)
    np.testing.assert_array_equal(sorted(map(tuple, arms)), [(0, 0), (1, 1)])

    def dual(multiplier: float) -> float:
        return float(np.max(arms[:, 0] - multiplier * (arms[:, 1] - budget)))

    (optimal,) = known.optimal_multipliers
    assert dual(optimal) == pytest.approx(known.optimal_reward)
    assert min(dual(optimal - 0.1), dual(optimal + 0.1)) > known.optimal_reward + 0.009


def test_nothing_one_does_changes_a_constant_reward() -> None:
    totals = {tuple(total) for _, total in played(constant_reward(4), 4).values()}
    assert totals == {(4.0, 2.0)}


def test_how_episodes_end() -> None:
    """Constant rewards are cut by a time limit; the other two end by themselves."""
    assert constant_reward(7).time_limit == 7
    for task, length in ((constrained_bandit(), 1), (chain(3), 3)):
        assert task.time_limit is None and task.discount == 1.0
        _, state = task.environment.reset_env(jax.random.key(0), task.params)
        for time in range(length + 1):
            over = task.environment.is_terminated(state.replace(time=jnp.int32(time)), task.params)
            assert bool(over) == (time == length)
    cut = constant_reward(7)
    _, state = cut.environment.reset_env(jax.random.key(0), cut.params)
    *_, terminated, truncated, _ = cut.environment.step(
        jax.random.key(0), state.replace(time=jnp.int32(6)), jnp.int32(0), cut.params
    )
    assert truncated and not terminated


@pytest.mark.parametrize("name", ["constant-reward", "constrained-bandit", "chain"])
def test_the_registered_tasks(name: str) -> None:
    task = environments.make(name)
    assert task.name == name and task.kinds == ("episode",)
    assert environments.describe(name).endswith(".")
    key = jax.random.key(0)
    first, state = task.environment.reset_env(key, task.params)
    second, after, reward, _, info = task.environment.step_env(
        key, state, jnp.int32(1), task.params
    )
    kinds = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((first, state))]
    assert kinds == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((second, after))]
    assert first.shape == task.environment.observation_space(task.params).shape
    assert reward.dtype == info["cost"].dtype == jnp.float32 and info["cost"].shape == (1,)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: constant_reward(0), "length"),
        (lambda: chain(0), "length"),
        (lambda: constrained_bandit(0.0), "budget"),
        (lambda: constrained_bandit(1.0), "budget"),
        (lambda: constrained_bandit(float("nan")), "budget"),
    ],
)
def test_a_task_without_a_known_optimum(make: Callable[[], Task], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field
