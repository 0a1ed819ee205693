"""How far the programs are from what the machine can do: operations and bytes against its peaks."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.counting import Work, work_of
from bench.fednpg import assembled
from bench.fedppo import Ours
from bench.harness import interleaved
from bench.hetero import settings
from bench.sweep import studies
from bench.sweep_parts import Planned
from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.train import start
from fedjax_rl.families.stale.assembly import prepare
from fedjax_rl.precision import precision
from fedjax_rl.sources.problems import load_problem
from fedjax_rl.training.loop import keys_of

FOOTPRINTS = (2**16, 2**18, 2**20, 2**22, 2**24, 2**28)
"""Bytes that are streamed over and over: from a core's cache to main memory."""


class Measured(NamedTuple):
    """A program of rounds.

    Attributes:
        algorithm: what a round is.
        key: of the run, or [B] of the members.
        hparams: traced settings.
        rounds: in a call.
    """

    algorithm: Algorithm
    key: Any
    hparams: Pytree
    rounds: int


def measure(quick: bool) -> dict[str, Any]:
    """The machine's peaks, and every program against them."""
    repeats = 2 if quick else 7
    limits = peaks(quick, repeats)
    said = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in limits["per_second"].items())
    print(f"peaks, 10⁹ per second: {said}")
    found = {}
    for name, build in programs(quick).items():
        found[name] = against(build(), limits, repeats)
        program = found[name]
        print(
            f"{name}: {1e6 * program['seconds']:.1f} µs a round, {100 * program['share']:.0f} % of "
            f"the limit, which is {program['bound']}; {program['flops']:.3g} flops, "
            f"{program['transcendentals']:.3g} transcendentals, {program['bytes']:.3g} bytes"
        )
    return {"peaks": limits, "programs": found}


def peaks(quick: bool, repeats: int) -> dict[str, Any]:
    """Operations and bytes per second of compiled programs that do nothing else."""
    size, footprints = (256, FOOTPRINTS[:2]) if quick else (2048, FOOTPRINTS)
    per_second = {}
    for name, dtype in (("float32", jnp.float32), ("float64", jnp.float64)):
        with precision(dtype is jnp.float64):
            matrix = jnp.ones((size, size), dtype)
            per_second[name] = best(_product, (matrix,), 2.0 * size**3, repeats)
            per_second[f"tanh {name}"] = max(
                tangents_per_second(dtype, power, quick, repeats) for power in (12, 14, 16, 20)
            )
    bandwidth = {}
    for footprint in footprints:
        one = jnp.ones(footprint // 8, jnp.float32)  # two arrays
        count = max(1, (2**20 if quick else 2**30) // footprint)
        moved = 1.5 * footprint * count  # one is read and written, the other read
        bandwidth[str(footprint)] = best(_stream(count), (one, 1e-9 * one), moved, repeats)
    return {"per_second": per_second, "bandwidth": bandwidth}


def tangents_per_second(dtype: Any, power: int, quick: bool, repeats: int) -> float:
    """Hyperbolic tangents of 2^power numbers, over and over."""
    numbers = jnp.linspace(-1.0, 1.0, 2**power, dtype=dtype)
    count = max(1, 2 ** (16 if quick else 24) // numbers.size)
    return best(_tangents(count), (numbers,), count * numbers.size, repeats)


def best(program: Callable[..., Any], arguments: tuple[Any, ...], units: float, n: int) -> float:
    """Units per second, median over n turns."""
    clock = interleaved({"it": lambda: jax.block_until_ready(program(*arguments))}, n)["it"]
    return units / statistics.median(clock)


@jax.jit
def _product(matrix: jax.Array) -> jax.Array:
    return matrix @ matrix


def _tangents(count: int) -> Callable[..., Any]:
    return jax.jit(lambda x: lax.fori_loop(0, count, lambda _, x: jnp.tanh(x), x))


def _stream(count: int) -> Callable[..., Any]:
    return jax.jit(lambda x, y: lax.fori_loop(0, count, lambda _, x: 0.5 * x + y, x))


def programs(quick: bool) -> dict[str, Callable[[], Measured]]:
    """By name, what builds them; building compiles nothing that is measured."""
    if quick:
        return {"fednpg, windy-cliff": lambda: finite("windy-cliff", 5)}
    return {
        "fednpg, windy-cliff": lambda: finite("windy-cliff", 2000),
        "fednpg, windy-cliff, 64 members of a sweep": lambda: sweep(20),
        "fednpg, icu-sepsis": lambda: finite("icu-sepsis", 3),
        "fedppo, 4 environments": lambda: networks(1, 4, 8),
        "fedppo, 64 environments": lambda: networks(1, 64, 4),
        "fedppo, 64 environments, 4 agents": lambda: networks(4, 64, 2),
        "fedppo, 1024 environments": lambda: networks(1, 1024, 1),
        "gepo, table, 24 tokens": lambda: stale("table", 24, 100),
        "gepo, transformer, 64 tokens": lambda: stale("transformer", 64, 3),
    }


def finite(name: str, rounds: int) -> Measured:
    """FedNPG on a named problem, four agents."""
    algorithm, hparams, *_ = assembled(load_problem(name, agents=4).cmdp, 0.01, 0.001, rounds)
    return Measured(algorithm, jax.random.key(0), hparams, rounds)


def sweep(rounds: int) -> Measured:
    """A span of the finite sweep of `bench.sweep`."""
    planned = Planned(studies(quick=False)[0])
    keys, hparams = planned.group.inputs(planned.group.spans()[0])
    return Measured(planned.program, keys, hparams, rounds)


def networks(agents: int, environments: int, rounds: int) -> Measured:
    """FedPPO on CartPole, as `bench.fedppo` times it."""
    ours = Ours(agents, environments, 0.01)
    return Measured(ours.algorithm, ours.key, ours.hparams, rounds)


def stale(policy: str, length: int, rounds: int) -> Measured:
    """GEPO at window 32, as `bench.hetero` times it."""
    prepared = prepare("gepo", settings(policy, length))
    return Measured(
        prepared.algorithm,
        keys_of(np.array([member.seed for member in prepared.members])),
        prepared.hparams,
        rounds,
    )


def against(measured: Measured, limits: dict[str, Any], repeats: int) -> dict[str, Any]:
    """A program's round: what it does, how long it takes, how long it would have to."""
    algorithm, key, hparams, rounds = measured
    with precision(algorithm.float64):
        state, _ = start(algorithm, key, hparams)
        hparams = jax.device_put(hparams)
        several = rounds_of(algorithm, rounds)
        counted = work_of(several, key, state, hparams).scaled(1 / rounds)
        compiled = jax.jit(several).lower(key, state, hparams).compile()
        memory = compiled.memory_analysis()
        clock = interleaved(
            {"rounds": lambda: jax.block_until_ready(compiled(key, state, hparams))}, repeats
        )["rounds"]
    footprint = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    seconds = statistics.median(clock) / rounds
    dtype = "float64" if algorithm.float64 else "float32"
    needed = least_seconds(counted, dtype, limits)
    bound = max(needed, key=lambda name: needed[name])
    return {
        **counted._asdict(),
        "footprint": footprint,
        "seconds": seconds,
        "spread": [min(clock) / rounds, max(clock) / rounds],
        "needed": needed,
        "bound": bound,
        "share": needed[bound] / seconds,
    }


def rounds_of(algorithm: Algorithm, rounds: int) -> Callable[..., Any]:
    """(key, state, hparams) -> the state and rows of so many rounds, a bare scan."""

    def key_of(key: Any, round: Any) -> Any:
        if algorithm.members is None:
            return jax.random.fold_in(key, round)
        return jax.vmap(jax.random.fold_in, (0, None))(key, round)

    def several(key: Any, state: Pytree, hparams: Pytree) -> Any:
        def step(state: Pytree, round: Any) -> tuple[Pytree, Pytree]:
            return algorithm.step(key_of(key, round), round, state, hparams)

        return lax.scan(step, state, jnp.arange(1, rounds + 1))

    return several


def least_seconds(counted: Work, dtype: str, limits: dict[str, Any]) -> dict[str, float]:
    """What a round needs at the machine's peaks, for its arithmetic and for its bytes.

    Sums, products and transcendentals want the same units, so their times add up; bytes move
    meanwhile. Where they come from cannot be told from a program, so they are taken to come from
    the fastest cache: what is found is a lower bound.
    """
    rate = limits["per_second"]
    arithmetic = counted.flops / rate[dtype] + counted.transcendentals / rate[f"tanh {dtype}"]
    return {"arithmetic": arithmetic, "bytes": counted.bytes / max(limits["bandwidth"].values())}
