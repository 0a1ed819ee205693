"""A family out of functions that are written for one seed: the short way to one of your own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.execution.train import Span, to_host
from fedjax_rl.families.protocol import Experiment, Family, Headline, Result
from fedjax_rl.figures.curves import Axes, remaining
from fedjax_rl.records.checkpoint_files import Arrays
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.log import LogSchedule
from fedjax_rl.settings.paths import Files
from fedjax_rl.terminal.live import working
from fedjax_rl.training.loop import OnRows, Work, run_rounds
from fedjax_rl.training.members import Group, Member, grouped
from fedjax_rl.training.protocol import Assembled, MemberResult, thinned
from fedjax_rl.training.rows import RowRecord, row_shapes


class Parts(NamedTuple):
    """The functions that one seed of an experiment is made of.

    Attributes:
        assemble: (algorithm, settings) -> `Assembled`, of one seed; raises InvalidInput for
            settings that cannot be used.
        columns: (prepared, first_round, rows) -> columns [R] of consecutive rounds, ``round``
            the first of them. Rows have a leading axis of rounds.
        summarise: (prepared, columns, outcome) -> figures of a seed, from the columns of all
            rounds and the part of the last state below; numbers, words and mappings.
        outcome: (state) -> the part of the last state that ``policy.npz`` holds.
        digest: (prepared) -> SHA-256 of the problem's content.
        opening: (prepared) -> what is about to run, in words.
        closing: (summary) -> what came out, in words.
        agents: (prepared) -> N.
    """

    assemble: Callable[[str, Any], Assembled]
    columns: Callable[[Any, int, Pytree], Columns]
    summarise: Callable[[Any, Columns, Pytree], dict[str, Any]]
    outcome: Callable[[Pytree], Pytree]
    digest: Callable[[Any], str]
    opening: Callable[[Any], str]
    closing: Callable[[dict[str, Any]], str]
    agents: Callable[[Any], int] = lambda prepared: 1


def seedwise(
    parts: Parts,
    *,
    name: str,
    settings: type,
    algorithms: dict[str, str],
    about: str,
    headline: Headline,
    problem: str,
    files: Files | None = None,
) -> Family:
    """A family whose runs of K seeds are a group of K members.

    Args:
        parts: what one seed is.
        name: of the family.
        settings: a dataclass with at least ``seed``, ``seeds``, ``rounds`` and ``log_every``.
        algorithms: a line on each, by name.
        about: what a run does, for ``--help``.
        headline: what members of a sweep are compared by.
        problem: the setting that names the problem.
        files: settings that may name a file.

    Returns:
        What `register_family` takes. Figures of a run are means over its seeds without those
        that diverged.
    """
    return Family(
        name=name,
        settings=settings,
        algorithms=algorithms,
        about=about,
        headline=headline,
        problem=problem,
        prepare=partial(_prepare, parts),
        assembler=partial(Seeds, parts),
        section="fedjax_rl.report.plain:plain_section",
        files=files or {},
    )


class Seeds:
    """The `Assembler` of such a family."""

    def __init__(self, parts: Parts, algorithm: str) -> None:
        self.algorithm, self._parts = algorithm, parts

    def assemble(self, config: Any) -> Assembled:
        """A member of a sweep from its settings."""
        return self._parts.assemble(self.algorithm, config)

    def agents(self, prepared: Any) -> int:
        """The number of agents N."""
        return self._parts.agents(prepared)

    def at_once(self, prepared: Any, members: int) -> int:
        """All of them."""
        return members

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of any of them."""
        return members[0].algorithm

    def outcome(self, algorithm: Algorithm, state: Pytree) -> Pytree:
        """The part of the state that is kept."""
        return self._parts.outcome(state)

    def result(self, prepared: Any, rows: Pytree, outcome: Pytree, failed: int) -> MemberResult:
        """Figures of a member, from rows up to the round that failed."""
        last = failed if failed >= 0 else len(jax.tree.leaves(rows)[0])
        table = self._parts.columns(prepared, 0, jax.tree.map(lambda leaf: leaf[:last], rows))
        at = thinned(last)
        curves = {name: column[at] for name, column in table.items()}
        return MemberResult(self._parts.summarise(prepared, table, outcome), curves)

    def digest(self, prepared: Any) -> str:
        """SHA-256 of the problem's content."""
        return self._parts.digest(prepared)


def _prepare(parts: Parts, algorithm: str, settings: Any, devices: DeviceSettings) -> Experiment:
    assembler = Seeds(parts, algorithm)
    configs = [
        dataclasses.replace(settings, seed=settings.seed + index, seeds=1)
        for index in range(settings.seeds)
    ]
    members = [
        Member(index, 0, {}, config, assembler.assemble(config))
        for index, config in enumerate(configs)
    ]
    groups = grouped(iter(members), len(members))
    if len(groups) > 1:
        raise InvalidInput("--seeds", settings.seeds, "1: seeds of these settings differ in shape")
    (group,) = groups
    prepared = members[0].assembled.prepared
    first = parts.columns(prepared, 0, _shaped_rows(members[0].assembled))
    return Experiment(
        settings=settings,
        digest=parts.digest(prepared),
        logged=LogSchedule("round", settings.rounds, settings.log_every, settings.seeds),
        opening=parts.opening(prepared),
        header=tuple(first),
        cells=_cells,
        run=partial(_run, parts, assembler, group._replace(size=len(members)), devices),
    )


def _shaped_rows(assembled: Assembled) -> Pytree:
    """One row of ones, to learn the names of the columns; nothing is computed."""
    key = jax.random.key(0)
    row = row_shapes(assembled.algorithm, key, assembled.hparams)
    return jax.tree.map(lambda leaf: np.ones((1, *leaf.shape), leaf.dtype), row)


def _cells(rows: Columns, index: int) -> list[str]:
    return [f"{float(column[index]):.4g}".rjust(10) for column in rows.values()]


class MeanRecord(RowRecord):
    """Rows of all seeds; what it shows are means over those that have not diverged."""

    def __init__(self, shape: Callable[[], Pytree], columns: Callable[[int, Pytree], Columns]):
        super().__init__(shape)
        self._columns = columns

    def open(self, row: Pytree) -> Columns:
        super().open(row)
        return self._columns(0, self.rows())

    def add(self, span: Span) -> Columns:
        super().add(span)
        return self._columns(span.first_round, span.info)

    def restore(self, arrays: Arrays) -> Columns:
        super().restore(arrays)
        return self._columns(0, self.rows())


def _run(
    parts: Parts,
    assembler: Seeds,
    group: Group,
    devices: DeviceSettings,
    on_rows: OnRows,
    checkpointer: Checkpointer,
    span: Callable[[int], int],
) -> Result:
    program = group.program(assembler, devices)
    keys, hparams = group.inputs(group.members)
    prepared = [member.assembled.prepared for member in group.members]

    def columns(first_round: int, rows: Pytree) -> Columns:
        with np.errstate(all="ignore"):  # a seed that diverged may hold anything
            each = [
                parts.columns(one, first_round, _member(rows, index, 1))
                for index, one in enumerate(prepared)
            ]
        return {name: _mean(np.array([table[name] for table in each])) for name in each[0]}

    record = MeanRecord(partial(row_shapes, program, keys, hparams), columns)
    work = Work(program, keys, hparams, group.rounds, span(group.span_rounds))
    state, failed, clock = run_rounds(work, record, on_rows, checkpointer)
    rows, outcome = record.rows(), to_host(parts.outcome(state))
    with np.errstate(all="ignore"):
        found = [
            assembler.result(one, *(_member(rows, at, 1), _member(outcome, at, 0)), int(failed[at]))
            for at, one in enumerate(prepared)
        ]
    alive = [one.summary for one, round in zip(found, failed, strict=True) if round < 0]
    summary = _together(alive or [found[0].summary])
    summary |= {
        "algorithm": assembler.algorithm,
        "seeds": len(found),
        "rounds": group.rounds,
        "failed_seeds": [
            {"seed": group.members[at].config.seed, "round": int(round)}
            for at, round in enumerate(failed)
            if round >= 0
        ],
        "seconds": clock.seconds,
    }
    return Result(
        summary=summary,
        diverged=bool((failed >= 0).any()),
        closing=_closing(parts, summary),
        write=partial(_write, columns(0, rows), outcome),
    )


def _member(tree: Pytree, index: int, axis: int) -> Pytree:
    return jax.tree.map(lambda leaf: np.take(leaf, index, axis), tree)


def _mean(values: np.ndarray) -> np.ndarray:
    """[R], means over seeds [K, R] without what is not finite; NaN where nothing is left."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(0)
    mean: np.ndarray = np.where(finite.any(0), total / np.maximum(finite.sum(0), 1), np.nan)
    return mean


def _together(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of numbers over seeds, and each seed's as ``…_by_seed``; else the first seed's."""
    found: dict[str, Any] = {}
    for name, value in summaries[0].items():
        if isinstance(value, int | float | np.generic) and not isinstance(value, bool | np.bool_):
            each = np.array([summary[name] for summary in summaries], np.float64)
            found |= {name: float(each.mean()), f"{name}_by_seed": each}
        else:
            found[name] = value
    return found


def _closing(parts: Parts, summary: dict[str, Any]) -> str:
    lines = [parts.closing(summary)]
    lines += [
        f"DIVERGED: seed {one['seed']} in round {one['round']}; it is left out of the means."
        for one in summary["failed_seeds"]
    ]
    return "\n".join(lines)


def _write(columns: Columns, outcome: Pytree, directory: RunDirectory) -> None:
    """What was kept of the last state, leading axis of seeds, and a plot of every column."""
    from fedjax_rl.figures import png

    leaves = jax.tree_util.tree_leaves_with_path(outcome)
    arrays = {jax.tree_util.keystr(path) or "kept": np.asarray(leaf) for path, leaf in leaves}
    directory.write_arrays("policy.npz", arrays)
    with working("drawing"):
        axes = Axes(("round",), (columns["round"],))
        png.write(remaining(axes, columns, {"round"}, file="curves.png"), directory.path)
