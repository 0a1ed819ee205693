"""What reward the constrained tasks allow within their budgets, by other means than learning.

For every task a mixture of controllers, found by planning on a grid or by evolution strategies
(`python -m bench.attainable_search TASK`), plays fresh episodes of the task. What they attain is
attained: an optimum is at least that. Each episode draws one controller, since budgets hold in
the mean over episodes; a single policy of state and time has the same means, namely that of the
mixture's averaged occupancy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fedjax_rl.envs  # noqa: F401  registers the tasks
from bench import controllers
from bench.attainable_tasks import METHODS, Method, coarse
from bench.controllers import Mixture, first_policy
from bench.planning import Grid, greedy, planned
from fedjax_rl.algorithm import environments
from fedjax_rl.envs.task import Task

EPISODES, SEED = 1000, 2405
QUICK = ("cartpole-pos2", "pendulum")


def measure(quick: bool) -> dict[str, Any]:
    """Plays every task's mixture, and the policy that training starts from."""
    figures: dict[str, Any] = {}
    for name in QUICK if quick else METHODS:
        task, method = environments.make(name), METHODS[name]
        method = method._replace(kind=coarse(method.kind)) if quick else method
        figures[name] = row(task, method, controllers.read(name), 50 if quick else EPISODES)
        print(line(name, figures[name]), flush=True)
        assert quick or figures[name]["within_every_budget"]
    return {"tasks": figures}


def row(task: Task, method: Method, mixture: Mixture, episodes: int) -> dict[str, Any]:
    """Means over episodes with 95 % intervals, of the mixture and of the first policy."""
    keys = jax.random.split(jax.random.key(SEED), episodes)
    rewards, costs = mixed_episodes(task, method, mixture, keys)
    key_first = jax.random.split(jax.random.key(SEED + 1), episodes)
    first_rewards, first_costs = (
        np.asarray(of) for of in jax.jit(jax.vmap(first_policy(task)))(key_first)
    )
    named = dict(zip(task.constraint_names, task.budgets.tolist(), strict=True))
    return {
        "method": method.says,
        "planned": isinstance(method.kind, Grid),
        "controllers": len(mixture.weights),
        "episodes": episodes,
        "reward": interval(rewards),
        "costs": {name: interval(costs[:, index]) for index, name in enumerate(named)},
        "budgets": named,
        "within_every_budget": bool(np.all(costs.mean(0) <= task.budgets)),
        "first_reward": interval(first_rewards),
        "first_costs": {name: interval(first_costs[:, index]) for index, name in enumerate(named)},
        "upper_bound": method.bound,
        "upper_bound_because": method.because,
    }


def mixed_episodes(
    task: Task, method: Method, mixture: Mixture, keys: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [E] and costs [E, M] of episodes that each draw a controller."""
    drawn = np.random.default_rng(SEED).choice(len(mixture.weights), len(keys), p=mixture.weights)
    play = jax.jit(jax.vmap(episode_of(task, method), (None, 0)))
    rewards = np.zeros(len(keys))
    costs = np.zeros((len(keys), task.num_constraints))
    for index, parameters in enumerate(mixture.parameters):
        mine = drawn == index
        # All play all starts, so that one program serves them; what was not drawn is dropped.
        reward, cost = play(known(task, method, parameters), keys)
        rewards[mine], costs[mine] = np.asarray(reward)[mine], np.asarray(cost)[mine]
    return rewards, costs


def episode_of(task: Task, method: Method) -> Any:
    """(what is `known`, key) -> reward and costs [M] of one episode."""
    if isinstance(method.kind, Grid):
        act = greedy(task, method.kind)
        return controllers.played(task, lambda plan, state, *_: act(*plan, state))
    return controllers.playing(task, method.kind(task))


def known(task: Task, method: Method, parameters: Any) -> Any:
    """What a controller acts by: its parameters, or a table of values and the prices behind it."""
    if isinstance(method.kind, Grid):
        return planned(task, method.kind, parameters), jnp.asarray(parameters, jnp.float32)
    return jnp.asarray(parameters, jnp.float32)


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean over episodes with its 95 % interval."""
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}


def line(name: str, figures: dict[str, Any]) -> str:
    """One task in words."""
    reward, first = figures["reward"], figures["first_reward"]["mean"]
    costs = ", ".join(
        f"{cost['mean']:.1f} of {figures['budgets'][constraint]:g}"
        for constraint, cost in figures["costs"].items()
    )
    return (
        f"{name}: {reward['mean']:.1f} [{reward['low']:.1f}, {reward['high']:.1f}] at {costs}; "
        f"first policy {first:.1f}; at most {figures['upper_bound']:g}"
    )
