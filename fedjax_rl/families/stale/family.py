"""Losses on stale data: runs, members of sweeps, messages, files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.columns import of_table
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.families.protocol import Experiment, Family, Headline, Result
from fedjax_rl.families.stale import messages
from fedjax_rl.families.stale.assembly import HeteroPrepared, algorithm_of, prepare
from fedjax_rl.families.stale.cells import Cell, cells_of, columns, means
from fedjax_rl.families.stale.comparison import COMPARISON
from fedjax_rl.families.stale.config import NAMED, HeteroConfig, own_settings, unread
from fedjax_rl.families.stale.evaluations import parameter_arrays, to_rows
from fedjax_rl.families.stale.figures import figures_of
from fedjax_rl.families.stale.starts import content_digest
from fedjax_rl.families.stale.summary import summarise
from fedjax_rl.families.stale.traces import names_trace
from fedjax_rl.families.stale.training import run
from fedjax_rl.hetero.losses import losses
from fedjax_rl.hetero.schedule import depth
from fedjax_rl.hetero.warm_start import WarmStart
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.directory import RunDirectory, plain
from fedjax_rl.records.sinks.log import LogSchedule
from fedjax_rl.settings.fields import START, names, static_names
from fedjax_rl.terminal.live import working
from fedjax_rl.training.loop import OnRows
from fedjax_rl.training.protocol import Assembled, MemberResult, thinned

CURVES = ("accuracy", "estimation_error", "reward", "kl", "weight_variance", "staleness")


def _prepare(algorithm: str, settings: HeteroConfig, devices: DeviceSettings) -> Experiment:
    prepared = prepare(algorithm, settings, devices=devices)
    config = prepared.config
    return Experiment(
        settings=config,
        digest=content_digest(config, prepared.task),
        logged=LogSchedule("step", config.steps, config.log_every, config.seeds),
        opening=messages.opening(prepared),
        header=messages.HEADER,
        cells=messages.cells,
        run=partial(_run, prepared),
    )


def _run(
    prepared: HeteroPrepared,
    on_rows: OnRows,
    checkpointer: Checkpointer,
    span: Callable[[int], int],
) -> Result:
    prepared = prepared._replace(span_steps=span(prepared.span_steps))
    result = run(prepared, on_rows, checkpointer)
    (cell,) = result.cells
    write = partial(_write, cell, prepared.config.seed, result.summary)
    return Result(
        summary=result.summary,
        diverged=bool((cell.failed >= 0).any()),
        closing=messages.closing(result),
        write=write,
        own=result,
    )


def _write(cell: Cell, first_seed: int, summary: dict[str, Any], directory: RunDirectory) -> None:
    """Evaluations, policies and plots."""
    from fedjax_rl.figures import png

    header, rows = to_rows(cell, first_seed)
    directory.append_rows("evaluations.csv", header, rows)
    directory.write_arrays("policy.npz", parameter_arrays(cell))
    with working("drawing"):
        figures = figures_of(means(cell), of_table(header, rows), plain(summary))
        png.write(figures, directory.path, f"{cell.loss}, W = {cell.window}")


class Stale:
    """The `Assembler` of ``gepo`` and all other losses. A warm start is kept once."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._starts: dict[Any, WarmStart] = {}

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
            span_rounds=prepared.span_steps,
        )

    def agents(self, prepared: HeteroPrepared) -> int:
        """One: there is a single learner."""
        return 1

    def at_once(self, prepared: HeteroPrepared, members: int) -> int:
        """All of them."""
        return members

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """A learner that keeps as many past parameters as the stalest member needs."""
        return self._learner([member.prepared for member in members])

    def _learner(self, prepared: Sequence[HeteroPrepared]) -> Algorithm:
        first = prepared[0]
        past = max(depth(one.schedules) for one in prepared)
        return algorithm_of(self.algorithm, first.config, first.task, first.policy, past)

    def outcome(self, algorithm: Algorithm, state: Pytree) -> Pytree:
        """The learner's parameters."""
        return state.parameters

    def result(
        self, prepared: HeteroPrepared, rows: Pytree, outcome: Pytree, failed: int
    ) -> MemberResult:
        """Figures of a member; NaN where it had failed, as in a study."""
        missing = prepared.config.steps + 1 - len(rows.loss)
        rows = jax.tree.map(lambda leaf: _lengthened(leaf, missing)[:, None], rows)
        table = columns(0, rows, np.array([failed]))
        one = jax.tree.map(lambda leaf: leaf[None], outcome)
        (cell,) = cells_of(prepared, table, np.array([failed]), one)
        at = np.flatnonzero(cell.evaluated)
        at = at[thinned(len(at))]
        curves = {"round": cell.step[at], "virtual_seconds": cell.seconds[0, at]}
        curves |= {name: cell.values[name][0, at] for name in CURVES}
        return MemberResult(summarise(cell, prepared, {}), curves)

    def digest(self, prepared: HeteroPrepared) -> str:
        """SHA-256 of the content of the task and of a trace."""
        return content_digest(prepared.config, prepared.task)


def _lengthened(leaf: np.ndarray, missing: int) -> np.ndarray:
    """Rows of steps that were not run, when every member had failed, repeat the last one."""
    return np.concatenate([leaf, np.repeat(leaf[-1:], missing, 0)])


FAMILY = Family(
    name="stale data",
    settings=HeteroConfig,
    algorithms={name: losses.describe(name) for name in losses},
    about="""Train a policy over tokens on groups of responses that samplers drew long ago.

One learner, several samplers, nobody waits: a sampler keeps its parameters until its sync interval
has run out, and the learner takes the freshest batch that arrived. The algorithm's name is that of
the loss. A virtual clock decides how stale every batch is; with --window 0 everybody waits for
everybody. The table shows staleness, the learner's distance from the sampler, what it does to the
importance weights, and accuracy on held-out prompts.""",
    headline=Headline("last", True),
    problem="task",
    named=NAMED,
    own=own_settings,
    unread=unread,
    files={"latency": names_trace},
    prepare=_prepare,
    assembler=Stale,
    section="fedjax_rl.report.stale:stale_section",
    evaluate="fedjax_rl.families.stale.evaluation:evaluate_and_record",
    comparison=COMPARISON,
)
