"""Rows d: tokens per second of the transformer, sampling and learning."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from bench.accelerator_networks import compile_timed
from bench.accelerator_programs import Turns, rate, spread, taking_turns, turns_of
from bench.accelerator_rows import Row
from bench.hetero import settings
from bench.products import products_of
from fedjax_rl.algorithm import Pytree
from fedjax_rl.families.stale.assembly import loss_of, policy_of, task_of
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.hetero.groups import Groups, group_sampler
from fedjax_rl.hetero.learner import adam, log_policy, of_tokens
from fedjax_rl.hetero.losses import default_settings
from fedjax_rl.hetero.losses.contract import Batch
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.precision import precision

LENGTHS = (64, 256)
DTYPES = ("float32", "bfloat16")
SHAPE: dict[str, Any] = {"layers": 4, "width": 256, "heads": 8, "prompts": 64, "group_size": 8}


def rows(quick: bool) -> list[Row]:
    """Both lengths in both types of numbers."""
    if quick:
        return [Row("transformer: 4 tokens, bfloat16", 1.0, partial(_row, 4, "bfloat16", True))]
    return [
        Row(f"transformer: {length} tokens, {dtype}", 12.0, partial(_row, length, dtype, False))
        for length in LENGTHS
        for dtype in DTYPES
    ]


def _row(length: int, dtype: str, quick: bool, done: dict[str, Any]) -> dict[str, Any]:
    shape = {"layers": 1, "width": 8, "heads": 2, "prompts": 2, "group_size": 2} if quick else SHAPE
    config = replace(settings("transformer", length), dtype=dtype, **shape)
    return tokens_per_second(config, turns_of(quick)) | {"shape": shape}


def tokens_per_second(config: HeteroConfig, turns: Turns) -> dict[str, Any]:
    """A batch is written, with the cache of keys and values; and one step of gepo is learned."""
    task = task_of(config)
    policy = policy_of(config, task)
    sample = group_sampler(task, policy, config.prompts, config.group_size)
    logs, loss = log_policy(policy), loss_of("gepo", config)
    given, chosen = default_settings(loss), sampling()

    def write(key: jax.Array, parameters: Pytree, times: jax.Array) -> Groups:
        def again(at: jax.Array, groups: Groups) -> Groups:
            return sample(jax.random.fold_in(key, at), parameters, chosen, np.float32(0.1))

        return jax.lax.fori_loop(1, times, again, again(0, None))  # type: ignore[arg-type]

    def objective(parameters: Pytree, groups: Groups) -> jax.Array:
        log_p = of_tokens(logs(parameters, groups, chosen.temperature), groups.tokens)
        return loss(Batch(log_p, groups.log_q, groups.mask, groups.rewards), given).loss

    def step(parameters: Pytree, optimizer: Pytree, groups: Groups) -> tuple[Pytree, Pytree]:
        gradient = jax.grad(objective)(parameters, groups)
        updates, optimizer = adam.update(gradient, optimizer)
        moved = jax.tree.map(lambda leaf, update: leaf - 1e-3 * update, parameters, updates)
        return moved, optimizer

    def learn(parameters: Pytree, optimizer: Pytree, groups: Groups, times: jax.Array) -> Any:
        carry = parameters, optimizer
        return jax.lax.fori_loop(0, times, lambda _, own: step(*own, groups), carry)

    key, one = jax.random.key(0), np.int32(1)
    with precision(False):
        parameters = jax.jit(policy.init)(key)
        optimizer = adam.init(parameters)
        writer, writer_seconds = compile_timed(jax.jit(write).lower(key, parameters, one))
        groups = writer(key, parameters, one)
        arguments = (parameters, optimizer, groups)
        learner, learner_seconds = compile_timed(jax.jit(learn).lower(*arguments, one))
        written = products_of(lambda *own: sample(*own, chosen, np.float32(0.1)), key, parameters)
        learned = products_of(step, *arguments)

    def writes(times: int) -> None:
        with precision(False):
            jax.block_until_ready(writer(key, parameters, np.int32(times)))

    def learns(times: int) -> None:
        with precision(False):
            jax.block_until_ready(learner(*arguments, np.int32(times)))

    clock = taking_turns({"sampling": writes, "learning": learns}, turns)
    tokens = config.prompts * config.group_size * task.response_length
    parts = {
        name: {
            "tokens_per_second": rate(tokens, clock[name]),
            "seconds": spread(clock[name]),
            "compile_seconds": seconds,
            "bytes": call.memory_analysis().temp_size_in_bytes if call.memory_analysis() else None,
            "flops": work.flops,
            "bytes_moved": work.bytes,
            "precision": config.dtype if config.dtype == "bfloat16" else "float32, highest",
        }
        for name, seconds, call, work in (
            ("sampling", writer_seconds, writer, written),
            ("learning", learner_seconds, learner, learned),
        )
    }
    say = ", ".join(
        f"{name} {own['tokens_per_second']['median']:,.0f} tokens/s" for name, own in parts.items()
    )
    return {"tokens": tokens, "parts": parts, "say": say}
