"""Rows b: environment steps per second of FedPPO against environments and agents."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.accelerator_programs import Turns, compiled, rate, spread, taking_turns, turns_of
from bench.accelerator_rows import Row
from bench.fedppo import STEPS, on_cartpole
from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.rollout import Environments, begin, transition
from fedjax_rl.ops.select import where
from fedjax_rl.precision import precision

ENVIRONMENTS = (1024, 8192, 65536)
"""In all, dealt evenly among the agents."""
AGENTS = (1, 32, 1024)
EQUAL_STEPS = 2**22
"""After which rewards are compared, where a round is not more than that."""
SECONDS_AT_MOST = 8.0
"""For the rounds to that many steps."""


def rows(quick: bool) -> list[Row]:
    """Environments × agents, from the middle outwards to what may not fit."""
    if quick:
        return [Row("fedppo: 8 environments, 2 agents", 1.0, partial(_both, 8, 2, quick))]
    pairs = [(64, 1), *((size, agents) for agents in AGENTS for size in ENVIRONMENTS)]
    return [
        Row(
            f"fedppo: {size} environments, {agents} agents",
            12.0,
            partial(_both, size, agents, quick),
        )
        for size, agents in pairs
    ]


def _both(environments: int, agents: int, quick: bool, done: dict[str, Any]) -> dict[str, Any]:
    return federated(environments, agents, turns_of(quick), 2**11 if quick else EQUAL_STEPS)


def federated(environments: int, agents: int, turns: Turns, equal_steps: int) -> dict[str, Any]:
    """FedPPO and its environments alone, in turn; and the reward after equal steps.

    Args:
        environments: in all.
        agents: N, a divisor of them.
        turns: of the clock.
        equal_steps: of all agents.
    """
    built = on_cartpole(agents, environments // agents)
    program = compiled(built.algorithm, jax.random.key(0), built.hparams)
    alone, compile_seconds = environments_alone(built.design, environments)
    clock = taking_turns({"fedppo": program.run, "environment": alone}, turns)
    steps = environments * STEPS
    found = rate(steps, clock["fedppo"])
    ceiling = rate(steps, clock["environment"])
    pairs = zip(clock["environment"], clock["fedppo"], strict=True)
    say = f"{found['median']:,.0f} steps/s, environment alone {ceiling['median']:,.0f}"
    figures = {
        "environments": environments,
        "agents": agents,
        "steps_per_second": found,
        "environment_steps_per_second": ceiling,
        "environment_compile_seconds": compile_seconds,
        "share_of_environment": spread([alone / all_ for alone, all_ in pairs]),
        "seconds": spread(clock["fedppo"]),
    }
    rounds = equal_steps // steps
    if rounds and rounds * figures["seconds"]["median"] < SECONDS_AT_MOST:
        _, row = program.run(rounds)
        reward = mean_reward(row)
        figures |= {"equal_steps": rounds * steps, "reward": reward}
        say += "" if reward is None else f", reward {reward:.0f}"
    return program.described | figures | {"say": say}


def mean_reward(row: Pytree) -> float | None:
    """Of the episodes that ended in a round; None where none did."""
    episodes = float(np.sum(row.episodes))
    return float(np.sum(row.episode_sums[..., 0])) / episodes if episodes else None


def environments_alone(design: Design, count: int) -> tuple[Callable[[int], object], float]:
    """Rollouts of random actions in so many environments, and the seconds to compile them.

    What no learner on these environments can be faster than: transitions, costs and resets, with
    nothing kept but sums.
    """
    params = design.task.params
    design = design._replace(choices=design.choices._replace(envs=count))

    def rollouts(key: jax.Array, start: Environments, times: jax.Array) -> Any:
        def step(at: jax.Array, carry: Any) -> Any:
            state, sums = carry
            key_action, key_step, key_reset = jax.random.split(jax.random.fold_in(key, at), 3)
            actions = jax.random.randint(key_action, (count,), 0, 2)
            keys = jax.random.split(key_step, count)
            _, after, signals, terminated, truncated = jax.vmap(transition, (0, 0, 0, None, None))(
                keys, state, actions, params, design
            )
            reset = jax.vmap(design.task.environment.reset_env, (0, None))
            _, fresh = reset(jax.random.split(key_reset, count), params)
            return where(terminated | truncated, fresh, after), sums + signals.sum(0)

        carry = start.state, jnp.zeros(1 + design.task.num_constraints)
        return jax.lax.fori_loop(0, STEPS * times, step, carry)

    key = jax.random.key(0)
    with precision(False):
        start = jax.jit(lambda key: begin(key, params, design))(key)
        lowered = jax.jit(rollouts).lower(key, start, np.int32(1))
        call, seconds = compile_timed(lowered)

    def work(times: int) -> object:
        with precision(False):
            return jax.block_until_ready(call(key, start, np.int32(times)))

    return work, seconds


def compile_timed(lowered: Any) -> tuple[Any, float]:
    """A compiled program and the seconds that took."""
    begun = time.perf_counter()
    call = lowered.compile()
    return call, time.perf_counter() - begun
