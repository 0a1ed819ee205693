"""Speed of the asynchronous simulator: learner steps, tokens, caches, and a whole table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.harness import interleaved, rates, ratio
from fedjax_rl.execution.train import start, train
from fedjax_rl.families.stale.assembly import policy_of, prepare, task_of
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.training import run
from fedjax_rl.hetero.groups import responder
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.policies.tokens import without_memory
from fedjax_rl.training.loop import keys_of

LENGTHS = (8, 64, 256)


def measure(quick: bool) -> dict[str, Any]:
    """All questions, a line for each."""
    return {
        "steps": {
            policy: {str(length): steps_per_second(policy, length, quick) for length in lengths}
            for policy, lengths in (
                ("table", (8,) if quick else (8, 24, 256)),
                ("transformer", (8,) if quick else LENGTHS),
            )
        },
        "cache": {
            str(n): cache_against_recomputation(n, quick) for n in LENGTHS[: 1 if quick else None]
        },
        "table": whole_table(quick),
        "ring": {policy: ring_bytes(policy) for policy in ("table", "transformer")},
    }


def settings(policy: str, length: int, steps: int = 10_000) -> HeteroConfig:
    """One run of the default shape without a warm start, for at most so many steps."""
    return HeteroConfig(
        policy=policy,  # type: ignore[arg-type]
        task_args=(f"length={length}",),
        warm_start=0.0,
        steps=steps,
        evaluate_every=steps,
        held_out=8,
        on_policy=1,
    )


def steps_per_second(policy: str, length: int, quick: bool) -> dict[str, float]:
    """Learner steps per second, sampling and diagnostics included, at window 32."""
    prepared = prepare("gepo", settings(policy, length, 10 if quick else 10_000))
    keys = keys_of(np.array([member.seed for member in prepared.members]))
    begun = time.perf_counter()
    state, _ = start(prepared.algorithm, keys, prepared.hparams)
    for span in train(prepared.algorithm, keys, state, prepared.hparams, rounds=2, span_rounds=100):
        jax.block_until_ready(span.state)
    compiled = time.perf_counter() - begun
    steps = 3 if quick else 400 if policy == "table" else 30 if length < 256 else 8
    work: dict[str, Callable[[], object]] = {
        "steps": lambda: [
            jax.block_until_ready(span.state)
            for span in train(
                prepared.algorithm, keys, state, prepared.hparams, rounds=steps, span_rounds=100
            )
        ]
    }
    clock = interleaved(work, 2 if quick else 5)
    rate = rates(clock, {"steps": steps})["steps"]["median"]
    tokens = prepared.config.prompts * prepared.config.group_size * length
    print(f"{policy}, length {length}: {rate:.1f} steps/s, {rate * tokens:,.0f} tokens/s")
    return {
        "steps_per_second": rate,
        "tokens_per_second": rate * tokens,
        "compile_seconds": compiled,
    }


def cache_against_recomputation(length: int, quick: bool) -> dict[str, Any]:
    """Tokens per second of sampling with the key/value cache and without."""
    config = settings("transformer", length)
    task = task_of(config)
    cached = policy_of(config, task)
    parameters = cached.init(jax.random.key(0))
    prompts = jax.vmap(task.prompt)(jax.random.split(jax.random.key(1), config.prompts))

    def writer(policy: Any) -> Callable[[], object]:
        answers = responder(task, policy)

        @jax.jit
        def write(parameters: Any, prompts: jax.Array) -> jax.Array:
            key = jax.random.key(2)
            given, _ = answers(key, parameters, prompts, config.group_size, sampling())
            tokens: jax.Array = given.tokens
            return tokens

        def turn() -> None:
            written[policy] = jax.block_until_ready(write(parameters, prompts))

        return turn

    written: dict[Any, jax.Array] = {}
    slow = without_memory(cached)
    work = {"cached": writer(cached), "recomputed": writer(slow)}
    tokens = float(config.prompts * config.group_size * length)
    units = dict.fromkeys(work, tokens)
    clock = interleaved(work, 1 if length > 64 or quick else 5)
    same = bool(jnp.array_equal(written[cached], written[slow]))
    over = ratio(clock, units, "cached", "recomputed")
    print(f"cache at length {length}: {over:.1f} times full recomputation, same tokens: {same}")
    return {"tokens_per_second": rates(clock, units), "ratio": over, "same_tokens": same}


def whole_table(quick: bool) -> dict[str, Any]:
    """Seconds of 3 windows × 3 losses × 8 seeds on the table policy, compilation included."""
    config = HeteroConfig(seeds=2 if quick else 8, steps=10 if quick else 800)
    if quick:
        config = replace(config, task_args=("length=3",), warm_start=0.0)
    losses = ("gepo",) if quick else ("gepo", "gspo", "grpo")
    prepare("gepo", replace(config, steps=1, seeds=1))  # the warm start is cached by then
    begun = time.perf_counter()
    compiled = 0.0
    for loss in losses:
        result = run(prepare(loss, config, windows=(0, 4, 32)))
        compiled += result.timing["compile_seconds"]
    seconds = time.perf_counter() - begun
    print(f"{len(losses)} losses × 3 windows × {config.seeds} seeds: {seconds:.1f} s")
    return {"seconds": seconds, "compile_seconds": compiled, "steps": config.steps}


def ring_bytes(policy: str) -> dict[str, int]:
    """Memory of the past parameters at W = 64: staleness of at most 128, and of one more."""
    config = settings(policy, 64)
    parameters = jax.eval_shape(policy_of(config, task_of(config)).init, jax.random.key(0))
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(parameters))
    print(f"ring of a {policy} at W = 64: at most {129 * each / 2**20:.1f} MiB")
    return {"parameters": each, "at_most": 129 * each}
