"""Rows f: FedPPO of one agent against a PPO with nothing but PPO in it, in turn."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from bench.accelerator_networks import mean_reward
from bench.accelerator_programs import compiled, rate, spread, taking_turns, turns_of
from bench.accelerator_rows import Row
from bench.fedppo import STEPS, on_cartpole
from bench.lean_ppo import lean_ppo

ENVIRONMENTS = (64, 2048)
EQUAL_STEPS = 2**20


def rows(quick: bool) -> list[Row]:
    """Sizes in turn."""
    return [
        Row(f"against a lean PPO: {size} environments", 20.0, partial(against, size, quick))
        for size in ((4,) if quick else ENVIRONMENTS)
    ]


def against(environments: int, quick: bool, done: dict[str, Any]) -> dict[str, Any]:
    """Steps per second of both, taking turns, and the reward of both after equal steps."""
    built, key = on_cartpole(1, environments), jax.random.key(0)
    programs = {
        "fedppo": compiled(built.algorithm, key, built.hparams),
        "lean": compiled(lean_ppo(environments), key, ()),
    }
    clock = taking_turns({name: own.run for name, own in programs.items()}, turns_of(quick))
    steps = environments * STEPS
    rounds = max(1, (2**10 if quick else EQUAL_STEPS) // steps)
    rewards = {name: mean_reward(own.run(rounds)[1]) for name, own in programs.items()}
    over = spread([lean / ours for lean, ours in zip(clock["lean"], clock["fedppo"], strict=True)])
    found = {name: rate(steps, own) for name, own in clock.items()}
    rates = ", ".join(f"{name} {own['median']:,.0f}" for name, own in found.items())
    return {
        "environments": environments,
        "steps_per_second": found,
        "over_lean": over,
        "equal_steps": rounds * steps,
        "rewards": rewards,
        "compile_seconds": {
            name: own.described["compile_seconds"] for name, own in programs.items()
        },
        "say": f"steps/s: {rates}; {over['median']:.2f} times as fast",
    }
