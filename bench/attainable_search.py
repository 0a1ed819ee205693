"""``python -m bench.attainable_search TASK``: looks for the controllers of `bench.attainable`.

Evolution strategies, with no gradient and nothing of the learners: members of a population are
judged by whole episodes of the task, as reward minus a penalty on what is above a budget. The
penalty grows from 0, so that what is passed on the way spans from careless to careful. A linear
program then mixes what was passed into the best mixture that keeps every budget.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import linprog

from bench import controllers
from bench.attainable import episode_of, known
from bench.attainable_tasks import METHODS, Method, Search
from bench.controllers import Mixture, Policy, playing
from bench.planning import Grid
from fedjax_rl.algorithm import environments
from fedjax_rl.envs.task import Task

EPISODES, JUDGED = 4000, 999


class Found(NamedTuple):
    """What was passed on the way.

    Attributes:
        parameters: [L, D].
        rewards: [L], means over episodes.
        costs: [L, M].
    """

    parameters: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray


def evolve(task: Task, policy: Policy, search: Search, seed: int) -> np.ndarray:
    """Means of the population every few generations [L, D]."""
    optimizer = optax.adam(1.0)
    episodes = jax.vmap(jax.vmap(playing(task, policy), (None, 0)), (0, None))

    def generation(carry: Any, inputs: Any) -> Any:
        mean, moments = carry
        key, share = inputs
        key_noise, key_episodes = jax.random.split(key)
        shrinking = 0.2**share
        noise = jax.random.normal(key_noise, (search.pairs, len(policy.start)))
        deviation = search.noise * shrinking
        members = mean + deviation * policy.spread * jnp.concatenate([noise, -noise])
        rewards, costs = episodes(members, jax.random.split(key_episodes, search.episodes))
        excess = jnp.maximum(costs.mean(1) / task.budgets - search.aim, 0).sum(-1)
        price = search.penalty * jnp.minimum(1.0, share / search.growing)
        worth = rewards.mean(1) - price * excess
        ranks = jnp.argsort(jnp.argsort(worth)) / (2 * search.pairs - 1) - 0.5
        gradient = (ranks[: search.pairs] - ranks[search.pairs :]) @ noise / search.pairs
        update, moments = optimizer.update(-gradient, moments)
        mean += search.step * shrinking * policy.spread * update
        return (mean, moments), (mean, rewards.mean(), costs.mean((0, 1)))

    advance = jax.jit(lambda carry, inputs: jax.lax.scan(generation, carry, inputs))
    key_start, key_run = jax.random.split(jax.random.key(seed))
    first = jax.random.normal(key_start, (search.candidates, len(policy.start)))
    candidates = policy.start + search.first * policy.spread * first
    rewards, _ = jax.jit(episodes)(candidates, jax.random.split(key_start, 8))
    mean = candidates[jnp.argmax(rewards.mean(1))]
    carry, kept = (mean, optimizer.init(mean)), [np.asarray(mean)]
    keys = jax.random.split(key_run, search.generations)
    begun = time.monotonic()
    for begin in range(0, search.generations, search.every):
        now = jnp.arange(begin, begin + search.every)
        carry, (means, rewards, costs) = advance(
            carry, (keys[now], now.astype(jnp.float32) / search.generations)
        )
        kept.append(np.asarray(means[-1]))
        if begin // search.every % 5 == 4:
            print(
                f"  {begin + search.every}: population {float(rewards[-1]):.1f}, "
                f"{np.array2string(np.asarray(costs[-1]), precision=1)}, "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return np.array(kept)


def judged(task: Task, method: Method, parameters: Any, episodes: int = EPISODES) -> Found:
    """Means of every controller over the same fresh episodes."""
    play = jax.jit(jax.vmap(episode_of(task, method), (None, 0)))
    keys = jax.random.split(jax.random.key(JUDGED), episodes)
    means = []
    for of_one in parameters:
        rewards, costs = play(known(task, method, of_one), keys)
        means.append((float(rewards.mean()), np.asarray(costs.mean(0))))
    rewards, costs = zip(*means, strict=True)
    return Found(np.asarray(parameters), np.array(rewards), np.array(costs))


def mixed(found: Found, budgets: Any, aim: float) -> Mixture:
    """max Σ w_k R_k with Σ w_k C_kj ≤ aim · d_j, w on the simplex: at most M + 1 are used.

    Raises:
        ValueError: no mixture keeps the budgets.
    """
    count = len(found.rewards)
    # Of mixtures of the same reward, the one that pays least.
    shares = found.costs / np.asarray(budgets, float)
    solved = linprog(
        -found.rewards + 1e-4 * shares.sum(1),
        A_ub=found.costs.T,
        b_ub=aim * np.asarray(budgets, float),
        A_eq=np.ones((1, count)),
        b_eq=[1.0],
    )
    if solved.x is None:
        raise ValueError(f"no mixture of {count} controllers keeps the budgets")
    # A plan for these prices shows whether more plans would help: it is what to try next.
    print(f"  prices of the budgets: {np.round(-solved.ineqlin.marginals, 4)}")
    used = np.flatnonzero(solved.x > 1e-3)
    weights = solved.x[used] / solved.x[used].sum()
    return Mixture(weights, found.parameters[used])


def search(name: str) -> Mixture:
    """Everything that is passed on the way of a task's searches, judged, and mixed."""
    task, method = environments.make(name), METHODS[name]
    if isinstance(method.kind, Grid):
        found = judged(task, method, method.prices)
    else:
        policy = method.kind(task)
        passed = [evolve(task, policy, search, seed) for seed, search in enumerate(method.searches)]
        found = judged(task, method, np.concatenate(passed))
    mixture = mixed(found, task.budgets, method.aim)
    for index in np.argsort(found.rewards)[:: -max(1, len(found.rewards) // 20)]:
        print(f"  {found.rewards[index]:.2f} at {np.round(found.costs[index], 2)}")
    print(f"{name}: weights {np.round(mixture.weights, 3)}")
    return mixture


def main() -> int:
    """Searches for the tasks that are named and keeps what is found."""
    for name in sys.argv[1:]:
        controllers.write(name, search(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
