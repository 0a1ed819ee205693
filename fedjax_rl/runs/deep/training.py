"""A run of networks: train, hand rows to whoever looks on, sum up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.train import Chunk, start, to_host, train
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.runs.deep.assembly import DeepPrepared, prepare
from fedjax_rl.runs.deep.config import DeepConfig
from fedjax_rl.runs.deep.history import (
    Columns,
    Evaluations,
    columns,
    evaluations_of,
    joined,
    shaped,
)
from fedjax_rl.runs.deep.one_shot import evaluated_at_the_end, merged_at_the_end

OnRows = Callable[[Columns], None]


@dataclasses.dataclass(frozen=True)
class DeepResult:
    """A finished (or diverged) run.

    Attributes:
        prepared: what was run.
        history: one array over rounds 0 … T for each column of ``metrics.csv``.
        evaluations: of the merged policy of every seed, or of every agent's.
        policy: `DeepShared` after the last round, on the host, leading axes [K, P]; P is 1 but
            for agents that never communicate.
        summary: what ``summary.json`` holds.
        failed_seeds: for each of the K seeds the round that was not finite, or −1.
    """

    prepared: DeepPrepared
    history: Columns
    evaluations: Evaluations
    policy: DeepShared
    summary: dict[str, Any]
    failed_seeds: np.ndarray


def fedppo(problem: str = "cartpole-pos2", **settings: Any) -> DeepResult:
    """Runs FedPPO (arXiv 2405.03236) on a constrained task.

    Args:
        problem: any name the command line takes.
        **settings: other fields of `DeepConfig`.

    Raises:
        InvalidInput: a setting or the task cannot be used.
    """
    return run(prepare("fedppo", _config(problem, settings)))


def fednatural(problem: str = "cartpole-pos2", **settings: Any) -> DeepResult:
    """Runs federated natural policy gradients with networks; arguments as of `fedppo`."""
    return run(prepare("fednatural", _config(problem, settings)))


def _config(problem: str, settings: dict[str, Any]) -> DeepConfig:
    known = {field.name for field in dataclasses.fields(DeepConfig)} - {"problem"}
    for name in settings:
        if name not in known:
            raise InvalidInput("settings", name, f"known: {', '.join(sorted(known))}")
    return DeepConfig(problem=problem, **settings)


def run(prepared: DeepPrepared, on_rows: OnRows = lambda rows: None) -> DeepResult:
    """Trains, hands the columns of every chunk to ``on_rows``, and sums up.

    A seed that diverged stops where it was and is left out of the means from there on.
    """
    from fedjax_rl.runs.deep.summary import summarise

    config = prepared.config
    key: Any = jax.random.key(config.seed)
    if config.seeds > 1:
        key = jax.vmap(jax.random.key)(config.seed + np.arange(config.seeds))
    begun = time.perf_counter()
    state, row = start(prepared.algorithm, key, prepared.hparams)
    rows = shaped(jax.tree.map(lambda leaf: np.asarray(leaf)[None], row), prepared)
    everyone = np.ones((1, config.seeds), bool)
    table, steps = columns(0, rows, 0, prepared, everyone)
    on_rows(table)
    history = [table]
    evaluations = [evaluations_of(0, rows, table["environment_steps"], everyone)]
    failed = np.full(config.seeds, -1)
    marks = [(0, time.perf_counter())]

    for chunk in train(
        prepared.algorithm,
        key,
        state,
        prepared.hparams,
        rounds=config.rounds,
        chunk_rounds=prepared.chunk_rounds,
    ):
        state, failed = chunk.state, _failed(chunk, config.seeds)
        count = len(jax.tree.leaves(chunk.info)[0])
        if count == 0:
            break
        rounds = chunk.first_round + np.arange(count)
        alive = (failed < 0) | (rounds[:, None] < failed)
        rows = shaped(chunk.info, prepared)
        table, steps = columns(chunk.first_round, rows, steps, prepared, alive)
        history.append(table)
        evaluations.append(
            evaluations_of(chunk.first_round, rows, table["environment_steps"], alive)
        )
        on_rows(table)
        marks.append((int(rounds[-1]), time.perf_counter()))

    whole = {name: np.concatenate([part[name] for part in history]) for name in table}
    policy, evaluated = _policies(state, prepared), joined(evaluations)
    if config.reference == "one-shot":
        policy = merged_at_the_end(policy)
        evaluated = evaluated_at_the_end(policy, evaluated, prepared)
    result = DeepResult(
        prepared=prepared,
        history=whole,
        evaluations=evaluated,
        policy=policy,
        summary={},
        failed_seeds=failed,
    )
    return dataclasses.replace(
        result, summary=summarise(result, _timing(begun, marks, whole, config.seeds))
    )


def _failed(chunk: Chunk, seeds: int) -> np.ndarray:
    if chunk.failed_members is not None:
        return chunk.failed_members
    return np.full(seeds, -1 if chunk.failed_round is None else chunk.failed_round)


def _policies(state: Pytree, prepared: DeepPrepared) -> DeepShared:
    """The shared part with leading axes of seeds and policies, on the host."""
    seeds, policies = prepared.config.seeds, prepared.policies
    members = prepared.member_axes
    shared: DeepShared = jax.tree.map(
        lambda leaf: leaf.reshape(seeds, policies, *leaf.shape[members:]),
        to_host(state.shared),
    )
    return shared


def _timing(
    begun: float, marks: list[tuple[int, float]], history: Columns, seeds: int
) -> dict[str, float]:
    """Seconds in all, of compilation, and the steady rate behind it, of all agents and seeds.

    The first chunk is one round and compiles; what it took beyond a later round, and what the
    initial state took, is counted as compilation.
    """
    steps, seconds = seeds * history["environment_steps"], marks[-1][1] - begun
    if len(marks) < 3:
        rate = steps[-1] / max(seconds, 1e-9)
        return {"seconds": seconds, "compile_seconds": seconds, "steps_per_second": float(rate)}
    (first, began), (last, ended) = marks[1], marks[-1]
    each = (ended - began) / (last - first)
    return {
        "seconds": seconds,
        "compile_seconds": max(0.0, began - begun - each),
        "steps_per_second": float((steps[last] - steps[first]) / max(ended - began, 1e-9)),
    }
