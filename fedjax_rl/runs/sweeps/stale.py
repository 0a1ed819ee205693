"""Losses on stale data, as a sweep sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.hetero.schedule import depth
from fedjax_rl.hetero.warm_start import WarmStart
from fedjax_rl.runs.hetero.assembly import HeteroPrepared, learner_of, prepare
from fedjax_rl.runs.hetero.config import HeteroConfig
from fedjax_rl.runs.hetero.starts import digest
from fedjax_rl.runs.hetero.summary import summarise
from fedjax_rl.runs.hetero.training import _cells, columns
from fedjax_rl.runs.sweeps.family import Assembled, Figures, Headline, thinned
from fedjax_rl.settings.fields import PROBLEM, START, names, static_names

CURVES = ("accuracy", "estimation_error", "reward", "kl", "weight_variance", "staleness")


class Stale:
    """The family of `gepo` and all other losses; see `Family`. A warm start is kept once."""

    config: type = HeteroConfig
    headline = Headline("last", True, None)
    problem: tuple[str, ...] = names(HeteroConfig, PROBLEM)

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._starts: dict[Any, WarmStart] = {}

    def resolved(self, config: HeteroConfig) -> HeteroConfig:
        """The settings with an absolute name of a trace of latencies."""
        if Path(config.latency).is_file():
            return dataclasses.replace(config, latency=str(Path(config.latency).resolve()))
        return config

    def assemble(self, config: HeteroConfig) -> Assembled:
        """A member, with a schedule of its own."""
        prepared = prepare(self.algorithm, config)
        content = tuple(getattr(config, name) for name in names(HeteroConfig, START))
        static = static_names(HeteroConfig)  # how deep the ring is comes from a group's schedules
        start = self._starts.setdefault(content, prepared.start)
        hparams = prepared.hparams._replace(start=start.parameters)
        prepared = prepared._replace(start=start, hparams=hparams)
        alone = hparams._replace(
            deliveries=jax.tree.map(lambda leaf: leaf[0], hparams.deliveries),
            learning_rate=hparams.learning_rate[0],
        )
        return Assembled(
            program=(self.algorithm, *(getattr(config, name) for name in static)),
            algorithm=self._learner([prepared]),
            hparams=alone,
            prepared=prepared,
            rounds=config.steps,
            chunk_rounds=prepared.chunk_steps,
        )

    def agents(self, prepared: HeteroPrepared) -> int:
        """There is one learner."""
        return 1

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """A learner that keeps as many past parameters as the stalest member needs."""
        return self._learner([member.prepared for member in members])

    def _learner(self, prepared: Sequence[HeteroPrepared]) -> Algorithm:
        first = prepared[0]
        past = max(depth(one.schedules) for one in prepared)
        return learner_of(self.algorithm, first.config, first.task, first.policy, past)

    def kept(self, state: Pytree) -> Pytree:
        """The learner's parameters."""
        return state.parameters

    def figures(self, prepared: HeteroPrepared, rows: Pytree, kept: Pytree, failed: int) -> Figures:
        """Figures of a member; NaN where it had failed, as in a study."""
        missing = prepared.config.steps + 1 - len(rows.loss)
        rows = jax.tree.map(lambda leaf: _lengthened(leaf, missing)[:, None], rows)
        table = columns(0, rows, np.array([failed]))
        one = jax.tree.map(lambda leaf: leaf[None], kept)
        (cell,) = _cells(prepared, table, np.array([failed]), one)
        at = np.flatnonzero(cell.evaluated)
        at = at[thinned(len(at))]
        curves = {"round": cell.step[at], "virtual_seconds": cell.seconds[0, at]}
        curves |= {name: cell.values[name][0, at] for name in CURVES}
        return Figures(summarise(cell, prepared, {}), curves)

    def digest(self, prepared: HeteroPrepared) -> str:
        """SHA-256 of the task's content."""
        return digest(prepared.config, prepared.task)


def _lengthened(leaf: np.ndarray, missing: int) -> np.ndarray:
    """Rows of steps that were not run, when every member had failed, repeat the last one."""
    return np.concatenate([leaf, np.repeat(leaf[-1:], missing, 0)])
