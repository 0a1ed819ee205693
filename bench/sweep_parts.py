"""A sweep's program within this process: bare, with what surrounds it, and member by member."""

from __future__ import annotations

import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from bench.harness import interleaved
from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.execution.train import start, to_host, train
from fedjax_rl.families.registry import family_of
from fedjax_rl.precision import precision
from fedjax_rl.records.output import Destination
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.sweeps.execution import Done, run_chunk
from fedjax_rl.sweeps.plan import members_of, plan_of
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.sweeps.session import opened
from fedjax_rl.sweeps.space import space_of
from fedjax_rl.training.members import Group, Member, grouped
from fedjax_rl.training.protocol import Assembler

GROWTH = 1.05
"""Of the rate, below which more members at once are no gain."""


class Study(NamedTuple):
    """A sweep to measure.

    Attributes:
        algorithm: its name.
        settings: of all members.
        grid: of the members.
    """

    algorithm: str
    settings: dict[str, Any]
    grid: dict[str, list[float]]

    @property
    def members(self) -> int:
        return len(list(itertools.product(*self.grid.values())))

    def options(self) -> list[str]:
        """The settings on the command line."""
        flags: list[str] = []
        for name, value in self.settings.items():
            values = value if isinstance(value, tuple) else (value,)
            flags += [f"--{name.replace('_', '-')}", *map(str, values)]
        return flags

    def sweep(self) -> list[str]:
        """Arguments of ``fedjax-rl`` that run all members."""
        grids = [f"{name}={','.join(map(repr, values))}" for name, values in self.grid.items()]
        flags = [word for grid in grids for word in ("--grid", grid)]
        return ["sweep", self.algorithm, *self.options(), *flags]

    def run(self, member: int) -> list[str]:
        """Arguments of ``fedjax-rl`` that run one of them."""
        values = list(itertools.product(*self.grid.values()))[member]
        own = zip(self.grid, values, strict=True)
        flags = [
            word for name, value in own for word in (f"--{name.replace('_', '-')}", f"{value}")
        ]
        return ["run", self.algorithm, *self.options(), *flags]


class Planned:
    """The one group of a study, compiled when it first runs.

    Args:
        study: what is swept.
        devices: over which it is spread.
        chunk: members side by side; None for as many as a sweep chooses.
    """

    def __init__(self, study: Study, devices: DeviceSettings = ONE, chunk: int | None = None):
        self.kind: Assembler = family_of(study.algorithm).assembler(study.algorithm)
        settings: Any = family_of(study.algorithm).settings
        base = settings(**study.settings)
        space = space_of(settings, study.grid, {}, None)
        self.request = SweepRequest(study.algorithm, base, space, chunk)
        (group,) = grouped(members_of(self.kind, base, self.request.space), chunk)
        self.group: Group = group
        self.program: Algorithm = group.program(self.kind, devices)

    def run(self) -> list[Done]:
        """All members, written nowhere."""
        done: list[Done] = []
        for members in self.group.chunks():
            done += run_chunk(self.kind, self.group, self.program, members)
        return done

    def written(self, out: pathlib.Path, saving: CheckpointSettings) -> None:
        """All members as ``fedjax-rl sweep --out`` runs them."""
        request = self.request._replace(destination=Destination(out, True, saving))
        done: dict[int, Done] = {}
        with opened(request, plan_of(request)) as directory:
            assert directory is not None
            for members in self.group.chunks():
                done |= self._saved(directory, members)
                directory.write_table(done.values())
            directory.write(directory.done().values())

    def _saved(self, directory: SweepDirectory, members: Sequence[Member]) -> dict[int, Done]:
        checkpointer = directory.checkpointer(members)
        if checkpointer is None:
            return directory.add(run_chunk(self.kind, self.group, self.program, members))
        with checkpointer:
            done = run_chunk(
                self.kind, self.group, self.program, members, checkpointer=checkpointer
            )
        return directory.add(done)

    def trained(self, span_rounds: int, guarded: bool = False) -> None:
        """All members' states and rows, the latter taken to the host.

        Args:
            span_rounds: rounds between two visits of the host.
            guarded: guard every round, as if a member had failed.
        """
        failed = np.full(self.group.size, -1)
        if guarded:
            failed[0] = 0
        for members in self.group.chunks():
            keys, hparams = self.group.inputs(members)
            state, _ = start(self.program, keys, hparams)
            chunks = train(
                self.program,
                keys,
                state,
                hparams,
                rounds=self.group.rounds,
                span_rounds=span_rounds,
                failed=failed if guarded else None,
            )
            for chunk in chunks:
                jax.block_until_ready(chunk.state)

    def bare(self, loop: Callable[..., Pytree]) -> None:
        """All members by a loop of `bare_loop`, one call for each chunk."""
        for members in self.group.chunks():
            keys, hparams = self.group.inputs(members)
            with precision(self.program.float64):
                jax.block_until_ready(loop(keys, jax.device_put(hparams), self.group.rounds))


def bare_loop(program: Algorithm, rows: bool) -> Callable[..., Pytree]:
    """(keys, hparams, rounds) -> the last state, all of it one compiled call.

    Args:
        program: of a chunk.
        rows: whether the rows of rounds 0 and T are results too. Without, XLA leaves out
            whatever only rows need, such as evaluations; and with, it cannot.
    """

    def loop(keys: jax.Array, hparams: Pytree, rounds: jax.Array) -> Pytree:
        def key_of(round: jax.Array | int) -> jax.Array:
            return jax.vmap(jax.random.fold_in, (0, None))(keys, round)

        def one_round(round: jax.Array, carry: Pytree) -> Pytree:
            state, info = program.step(key_of(round), round, carry[0], hparams)
            return state, info if rows else None

        state = program.init(key_of(0), hparams)
        first = program.observe(state, hparams) if rows else None
        return jax.lax.fori_loop(1, rounds + 1, one_round, (state, first)), first

    return jax.jit(loop)


class OneByOne:
    """A Python loop over members that reuses the program of one of them."""

    def __init__(self, planned: Planned, count: int):
        self._planned = planned
        self._members = planned.group.members[:count]
        self._algorithm = self._members[0].assembled.algorithm

    def run(self) -> None:
        """Trains every member as a run does, its figures included."""
        for member in self._members:
            assembled = member.assembled
            key = jax.random.key(member.config.seed)
            state, row = start(self._algorithm, key, assembled.hparams)
            parts = [jax.tree.map(lambda leaf: np.asarray(leaf)[None], row)]
            for chunk in train(
                self._algorithm,
                key,
                state,
                assembled.hparams,
                rounds=assembled.rounds,
                span_rounds=assembled.span_rounds,
            ):
                state = chunk.state
                parts.append(chunk.info)
            rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
            kind = self._planned.kind
            kind.result(assembled.prepared, rows, to_host(kind.outcome(self._algorithm, state)), -1)


def inside(study: Study, loop_members: int, repeats: int) -> dict[str, Any]:
    """Seconds of everything that needs no other process, interleaved, after compilation."""
    planned = Planned(study)
    state_loop, computed_loop = (bare_loop(planned.program, rows) for rows in (False, True))
    one_by_one = OneByOne(planned, min(loop_members, study.members))
    group = planned.group
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "sweep"
        competitors: dict[str, Callable[[], object]] = {
            "state": partial(planned.bare, state_loop),
            "computed": partial(planned.bare, computed_loop),
            "rows": partial(planned.trained, group.rounds),
            "visits": partial(planned.trained, group.span_rounds),
            "guarded": partial(planned.trained, group.span_rounds, guarded=True),
            "figures": planned.run,
            "files": partial(planned.written, out, CheckpointSettings(keep_checkpoints=0)),
            "whole": partial(planned.written, out, CheckpointSettings()),
            "saved_at_every_visit": partial(
                planned.written, out, CheckpointSettings(checkpoint_seconds=0.0)
            ),
            "one_by_one": one_by_one.run,
        }
        first = {name: _seconds(competitors[name]) for name in ("figures", "one_by_one")}
        clock = interleaved(competitors, repeats)
    loop_members = min(loop_members, study.members)
    compiled = {name: max(0.0, first[name] - statistics.median(clock[name])) for name in first}
    return {
        "members": study.members,
        "side_by_side": group.size,
        "rounds": group.rounds,
        "rounds_between_visits": group.span_rounds,
        "loop_members": loop_members,
        "compile_seconds": {"program": compiled["figures"], "one_by_one": compiled["one_by_one"]},
        "seconds": clock,
        "diverged": sum(one.row["status"] != "finished" for one in planned.run()),
    }


def saturation(study: Study, counts: Sequence[int], repeats: int) -> dict[str, Any]:
    """Members per second of so many members in one chunk, until more are no gain."""
    found: dict[str, Any] = {}
    best = 0.0
    for count in counts:
        name = next(reversed(study.grid))
        values = study.grid[name]
        many = [float(x) for x in np.geomspace(min(values), max(values), count)]
        fixed = {other: study.grid[other][:1] for other in study.grid if other != name}
        planned = Planned(study._replace(grid={**fixed, name: many}), chunk=count)
        first = _seconds(planned.run)
        times = [_seconds(planned.run) for _ in range(repeats)]
        rates = sorted(count / seconds for seconds in times)
        rate = statistics.median(rates)
        found[str(count)] = {
            "members_per_second": {"median": rate, "least": rates[0], "most": rates[-1]},
            "compile_seconds": max(0.0, first - statistics.median(times)),
        }
        print(f"{study.algorithm}: {count} members at once, {rate:.2f} members/s")
        if rate < GROWTH * best:
            break
        best = max(best, rate)
    return found


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
