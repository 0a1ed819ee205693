"""Warm starts cached by the content of their task, policy and settings."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from fedjax_rl.hetero.tasks import TokenTask
from fedjax_rl.hetero.warm_start import Teaching, WarmStart, warm_start
from fedjax_rl.policies.tokens import TokenPolicy
from fedjax_rl.runs.directory import UNREADABLE, npz_bytes, write_atomically
from fedjax_rl.runs.hetero.config import HeteroConfig
from fedjax_rl.runs.solutions import cache_directory

TEACHING = {"table": Teaching(learning_rate=0.05), "transformer": Teaching()}
VERSION = 1
"""Of supervised learning here: another one makes other starts from the same settings."""


def started(config: HeteroConfig, task: TokenTask, policy: TokenPolicy) -> WarmStart:
    """The policy of step 0: from the cache, or taught now.

    All seeds of all losses start at the same policy, so that they compare. A cache that cannot
    be read or written is no obstacle.

    Raises:
        InvalidInput: an accuracy that supervised learning does not reach.
    """
    if config.warm_start == 0:
        return WarmStart(policy.init(jax.random.key(0)), float("nan"), 0)
    entry = cache_directory() / "starts" / f"{digest(config, task)}.npz"
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            found = [arrays[f"leaf_{index}"] for index in range(len(leaves))]
            known = WarmStart(
                jax.tree.unflatten(structure, found),
                float(arrays["accuracy"]),
                int(arrays["steps"]),
            )
        if all(
            a.shape == b.shape and a.dtype == b.dtype for a, b in zip(found, leaves, strict=True)
        ):
            return known
    except (*UNREADABLE, KeyError, TypeError):
        pass
    made = warm_start(jax.random.key(0), task, policy, config.warm_start, TEACHING[config.policy])
    parameters = jax.device_get(made.parameters)
    arrays = {f"leaf_{index}": leaf for index, leaf in enumerate(jax.tree.leaves(parameters))}
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            entry, npz_bytes({**arrays, "accuracy": made.accuracy, "steps": made.steps})
        )
    except OSError:
        pass
    return made._replace(parameters=parameters)


def digest(config: HeteroConfig, task: TokenTask) -> str:
    """SHA-256 of all that a warm start depends on: what the task asks and answers, and how."""
    prompts = jax.vmap(task.prompt)(jax.random.split(jax.random.key(0), 64))
    answers, masks = jax.vmap(task.solution)(prompts)
    network = (config.layers, config.width, config.heads, config.dtype)
    known = (
        VERSION,
        config.policy,
        network if config.policy == "transformer" else (),
        task.name,
        task.vocabulary,
        task.prompt_length,
        task.response_length,
        task.contexts,
        config.warm_start,
        TEACHING[config.policy],
        *(np.asarray(part).tolist() for part in (prompts, answers, masks)),
    )
    return hashlib.sha256(repr(known).encode()).hexdigest()
