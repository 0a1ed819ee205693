"""Warm starts cached by the content of their task, policy and settings."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.traces import names_trace, read_trace
from fedjax_rl.hetero.tasks import TokenTask
from fedjax_rl.hetero.warm_start import Teaching, WarmStart, warm_start
from fedjax_rl.policies.tokens import TokenPolicy
from fedjax_rl.precision import precision
from fedjax_rl.records.cache import cached, keep, key_of
from fedjax_rl.records.provenance import surroundings

FOLDER = "starts"
TEACHING = {"table": Teaching(learning_rate=0.05), "transformer": Teaching()}
VERSION = 1
"""Of supervised learning here: another one makes other starts from the same settings."""


@precision(False)
def started(config: HeteroConfig, task: TokenTask, policy: TokenPolicy) -> WarmStart:
    """The policy of step 0: from the cache, or taught now.

    All seeds of all losses start at the same policy, so that they compare.

    Raises:
        InvalidInput: an accuracy that supervised learning does not reach.
    """
    if config.warm_start == 0:
        return WarmStart(policy.init(jax.random.key(0)), float("nan"), 0)
    # What is taught is the same to the last bit where the same program ran on the same device.
    key = key_of(digest(config, task), surroundings())
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    if (known := _read(cached(FOLDER, key), shapes)) is not None:
        return known
    made = warm_start(jax.random.key(0), task, policy, config.warm_start, TEACHING[config.policy])
    parameters = jax.device_get(made.parameters)
    arrays = {f"leaf_{index}": leaf for index, leaf in enumerate(jax.tree.leaves(parameters))}
    keep(FOLDER, key, {**arrays, "accuracy": made.accuracy, "steps": made.steps})
    return made._replace(parameters=parameters)


def _read(arrays: dict[str, np.ndarray] | None, shapes: Pytree) -> WarmStart | None:
    """A start from the cache; None where its arrays are not of these shapes and types."""
    leaves, structure = jax.tree.flatten(shapes)
    names = [f"leaf_{index}" for index in range(len(leaves))]
    if arrays is None or not {"accuracy", "steps", *names} <= arrays.keys():
        return None
    found = [arrays[name] for name in names]
    if any((a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(found, leaves, strict=True)):
        return None
    parameters = jax.tree.unflatten(structure, found)
    return WarmStart(parameters, float(arrays["accuracy"]), int(arrays["steps"]))


def content_digest(config: HeteroConfig, task: TokenTask) -> str:
    """SHA-256 of what a run is about: the task, its start, and the times of a trace."""
    known = digest(config, task)
    if not names_trace(config.latency):
        return known
    return key_of(known, read_trace(Path(config.latency)))


@precision(False)
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
    return key_of(*known)
