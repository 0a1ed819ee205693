"""Rows c: members per second of sweeps against members at once, until more are no gain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from bench.accelerator_programs import Turns, compiled, rate, spread, taking_turns, turns_of
from bench.accelerator_rows import FAILED, MEASURED, NotNeeded, Row
from bench.fednpg import assembled
from bench.fedppo import STEPS, on_cartpole
from bench.hetero import settings
from bench.sweep_parts import GROWTH
from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.families.stale.assembly import algorithm_of, prepare
from fedjax_rl.hetero.schedule import depth
from fedjax_rl.sources.problems import load_problem
from fedjax_rl.training.loop import keys_of

YARDSTICK = 2048
"""PPO agents at once, the number that the field shows."""


class Swept(NamedTuple):
    """A run whose settings are swept.

    Attributes:
        algorithm: of one member.
        hparams: its traced settings; leaves that members have of their own have a leading axis.
        axes: like ``hparams``: 0 for those leaves, else None.
        rounds: of a whole run.
        steps: of environments, or tokens, in a round of a member; 0 of finite problems.
    """

    algorithm: Algorithm
    hparams: Pytree
    axes: Pytree
    rounds: int
    steps: int


Build = Callable[[int], Swept]
"""From the number of members."""


def rows(quick: bool) -> list[Row]:
    """Counts in turn of every algorithm, from few members to many."""
    sweeps: dict[str, tuple[Build, tuple[int, ...], float]] = {
        "fedppo": (fedppo, (16, 128, 1024), 12.0),
        "fednpg, random 20 × 5": (partial(fednpg, "random-mdp"), (64, 1024, 8192), 5.0),
        "fednpg, icu-sepsis": (partial(fednpg, "icu-sepsis"), (4, 32, 256), 6.0),
        "gepo, table": (gepo, (16, 256, 2048), 7.0),
    }
    if quick:
        sweeps = {name: (sweeps[name][0], (2,), 1.0) for name in ("fedppo", "gepo, table")}
        sweeps["fednpg, random 20 × 5"] = partial(fednpg, "random-mdp"), (2,), 1.0
    made = [
        Row(
            f"{name}: {count} members",
            seconds,
            partial(at_once, name, build, count, counts[:index], turns_of(quick)),
        )
        for name, (build, counts, seconds) in sweeps.items()
        for index, count in enumerate(counts)
    ]
    agents = 2 if quick else YARDSTICK
    many = Row(f"ppo: {agents} at once", 12.0, lambda _: yardstick(agents, turns_of(quick)))
    return [made[0], many, *made[1:]] if quick else [*made[:3], many, *made[3:]]


def at_once(
    name: str,
    build: Build,
    count: int,
    fewer: tuple[int, ...],
    turns: Turns,
    done: dict[str, Any],
) -> dict[str, Any]:
    """Members per second of so many side by side.

    Raises:
        NotNeeded: with fewer members it failed, or had ceased to be faster.
    """
    earlier = [done.get(f"{name}: {each} members") for each in fewer]
    if any(row is not None and row["status"] == FAILED for row in earlier):
        raise NotNeeded("with fewer members it failed")
    known = [
        row["figures"]["members_per_second"]["median"]
        for row in earlier
        if row is not None and row["status"] == MEASURED
    ]
    if len(known) > 1 and known[-1] < GROWTH * known[-2]:
        raise NotNeeded("more members were no gain before")
    swept = build(count)
    algorithm = sweep(swept.algorithm, swept.axes, count)
    return timed(algorithm, count, swept.hparams, swept.rounds, swept.steps, turns)


def timed(
    algorithm: Algorithm, members: int, hparams: Pytree, rounds: int, steps: int, turns: Turns
) -> dict[str, Any]:
    """A compiled sweep: rounds, members and steps per second."""
    program = compiled(algorithm, keys_of(np.arange(members)), hparams)
    seconds = taking_turns({"rounds": program.run}, turns)["rounds"]
    found = rate(members / rounds, seconds)
    say = f"{found['median']:.3g} members/s"
    figures = {
        "members": members,
        "rounds": rounds,
        "members_per_second": found,
        "seconds": spread(seconds),
    }
    if steps:
        figures["steps_per_second"] = rate(members * steps, seconds)
        say += f", {figures['steps_per_second']['median']:,.0f} steps/s"
    return program.described | figures | {"say": say}


def fedppo(members: int) -> Swept:
    """Two agents on CartPole and 200,704 steps of both, as `bench.sweep` has it."""
    built = on_cartpole(2, 16)
    learner = built.hparams.learner
    rates = np.geomspace(1e-4, 1e-2, members).astype(np.float32)
    hparams = built.hparams._replace(learner=learner._replace(learning_rate=rates))
    axes = nowhere(hparams)
    axes = axes._replace(learner=axes.learner._replace(learning_rate=0))
    return Swept(built.algorithm, hparams, axes, 49, 2 * 16 * STEPS)


def fednpg(problem: str, members: int) -> Swept:
    """FedNPG of four agents, values evaluated in every round; members differ in their step."""
    arguments = {"states": 20, "actions": 5} if problem == "random-mdp" else {}
    rounds = 2000
    cmdp = load_problem(problem, agents=4, arguments=arguments).cmdp
    algorithm, hparams, *_ = assembled(cmdp, 0.01, 0.001, rounds)
    federation, steps = hparams.federation, np.geomspace(1e-3, 1e-1, members)
    learner = federation.learner._replace(step_size=steps)
    axes = nowhere(hparams)
    own = axes.federation._replace(learner=axes.federation.learner._replace(step_size=0))
    hparams = hparams._replace(federation=federation._replace(learner=learner))
    return Swept(algorithm, hparams, axes._replace(federation=own), rounds, 0)


def gepo(members: int) -> Swept:
    """GEPO of a table at 24 tokens and window 32; members have schedules and rates of their own."""
    length, steps = 24, 800
    config = settings("table", length, steps)
    prepared = prepare("gepo", config, learning_rates=(0.1, 0.4))
    algorithm = algorithm_of(
        "gepo", config, prepared.task, prepared.policy, depth(prepared.schedules)
    )
    deliveries = jax.tree.map(
        lambda leaf: np.resize(np.asarray(leaf), (members, *leaf.shape[1:])),
        prepared.hparams.deliveries,
    )
    rates = np.geomspace(0.1, 0.4, members).astype(np.float32)
    hparams = prepared.hparams._replace(deliveries=deliveries, learning_rate=rates)
    axes = nowhere(hparams)._replace(deliveries=0, learning_rate=0)
    return Swept(algorithm, hparams, axes, steps, config.prompts * config.group_size * length)


def nowhere(hparams: Any) -> Any:
    """None in place of every leaf."""
    return jax.tree.map(lambda _: None, hparams)


def yardstick(agents: int, turns: Turns) -> dict[str, Any]:
    """Independent PPO agents of four environments each, as one program; 500,000 steps are a run."""
    built, environments = on_cartpole(1, 4), 4
    rounds = 500_000 // (environments * STEPS)
    algorithm = sweep(built.algorithm, None, agents)
    return timed(algorithm, agents, built.hparams, rounds, environments * STEPS, turns)
