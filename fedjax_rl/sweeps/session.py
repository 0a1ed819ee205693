"""``sweep`` from start to end: plan, run what is not done, show, record."""

from __future__ import annotations

import signal
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cluster import hosts
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.errors import Stopped
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.records.directory import made_with
from fedjax_rl.records.output import Destination
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.sweeps import comparison, messages
from fedjax_rl.sweeps.comparison import layout_of
from fedjax_rl.sweeps.estimate import Estimate, estimate
from fedjax_rl.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.sweeps.objective import Objective
from fedjax_rl.sweeps.plan import SweepPlan, plan_of
from fedjax_rl.sweeps.pool import Pool
from fedjax_rl.sweeps.progress import SweepProgress
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.sweeps.sharing import OneAfterAll, asked_for, run_shared
from fedjax_rl.sweeps.workers import Crew, check_workers, crew_of
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import working
from fedjax_rl.training.members import Group, Member
from fedjax_rl.training.protocol import Assembler


def sweep_and_record(request: SweepRequest) -> bool:
    """Runs the members that are not done, chunk by chunk, and writes what came out.

    Several processes share the members, and each writes the chunks of its own: those of a team,
    which all call this, or workers, which this one starts.

    Returns:
        Whether every member diverged; of a comparison, whether any did.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it; the chunks that are done and those at work are kept.
        ChildProcessError: a worker has ended; likewise.

    Examples:
        >>> from fedjax_rl.families.tabular.config import FedNPGConfig
        >>> from fedjax_rl.sweeps.request import SweepRequest
        >>> from fedjax_rl.sweeps.space import space_of
        >>> space = space_of(FedNPGConfig, {"step_size": [0.01, 0.1]}, {}, None)
        >>> sweep_and_record(SweepRequest("fednpg", FedNPGConfig(rounds=10), space))
        Sweep of fednpg over step_size (2), 1 seed
        2 members in 1 group, one compilation each; ...
        ...
        none keeps every budget; closest: step_size 0.1, ...
        Nothing was written; --out DIR keeps the table and the curves.
        False
    """
    request.destination.check()
    check_workers(request.workers)
    request, objective = request.resolved(), request.objective
    with working("preparing every member"):
        plan = plan_of(request)
    every = request.destination.checkpoints.span
    work = [(of, group.share(*hosts.share()).visited(every)) for of, group in plan.work]
    work = [(of, group) for of, group in work if group.members]
    for assembler, group in work:  # refuses before an earlier sweep is overwritten
        group.placement(assembler, request.devices)
    with opened(request, plan) as directory:
        done = {} if directory is None else directory.done()
        groups = [group for _, group in work]
        crew = _crew(request, groups, done)
        print(messages.plan(request, groups, set(done), crew), flush=True)
        print(messages.repeated(plan.repeated), end="")
        print("".join(f"Left out: {name}: {why}\n" for name, why in plan.left_out.items()), end="")
        try:
            if crew.processes > 1:
                with suppress(OneAfterAll):
                    _shared(request, plan, groups, crew.processes, directory, done)
            # Of what workers have done nothing is left to run.
            _run(work, request.devices, directory, done, objective)
        except Stopped as stop:
            if directory is None:
                signal.raise_signal(stop.number)
            elif done := directory.done():
                directory.write(done.values())
            raise stop.of(request.destination.out) from None
        hosts.wait_for_all()
        done = done if directory is None else directory.done()
        _conclude(request, plan, directory, done, objective)
    diverged = [one.row["status"] == DIVERGED for one in done.values()]
    return any(diverged) if request.compare else all(diverged)


def _crew(request: SweepRequest, groups: Sequence[Group], done: Container[int]) -> Crew:
    """Who runs the chunks that are not done."""
    left = [(group, group.chunks(done)) for group in groups]
    return crew_of(
        request.workers,
        sum(len(chunks) for _, chunks in left),
        sum(group.needs.operations * sum(map(len, chunks)) for group, chunks in left),
        max((group.bytes for group in groups), default=0),
    )


def _conclude(
    request: SweepRequest,
    plan: SweepPlan,
    directory: SweepDirectory | None,
    done: Mapping[int, Done],
    objective: Objective,
) -> None:
    """Says what came out, and writes tables and figures."""
    rows = [done[member].row for member in sorted(done)]
    layout = layout_of(family_of(request.algorithm), plan.settings, request.feasible_seeds)
    if request.compare:
        print(comparison.text(layout, rows))
    print(messages.closing(rows, None if request.compare else objective), flush=True)
    if directory is None:
        print("Nothing was written; --out DIR keeps the table and the curves.")
        return
    directory.write(done.values())
    if request.compare:
        import_matplotlib(directory.path)
        with working("drawing"):
            comparison.write(directory, layout, done, plan.left_out)
    print(f"Written to {directory.path}: {directory.names()}", flush=True)


def opened(
    request: SweepRequest, plan: SweepPlan, owner: bool | None = None
) -> AbstractContextManager[SweepDirectory | None]:
    """The directory of a sweep, or None when nothing is written; see `SweepDirectory`."""
    if request.destination.out is None:
        return nullcontext()
    made = {"made_with": made_with(plan.content)}
    recorded = {"left_out": plan.left_out} if request.compare else {}
    documents = request.document() | recorded | made, request.identity() | made
    return SweepDirectory(request.destination, *documents, owner)


def _run(
    work: Sequence[tuple[Assembler, Group]],
    devices: DeviceSettings,
    directory: SweepDirectory | None,
    done: dict[int, Done],
    objective: Objective,
) -> None:
    """Fills ``done``, which holds members by number."""
    waiting = [(assembler, group) for assembler, group in work if group.chunks(done)]
    if not waiting:
        return
    left = sum(len(group.chunks(done)) for _, group in waiting)
    marks = [time.perf_counter()]
    program: Algorithm | None = _timed(waiting, devices, done)
    with SweepProgress(left) as progress:
        for assembler, group in waiting:
            program = program or group.program(assembler, devices)
            for members in group.chunks(done):
                progress.chunk(group.rounds)
                with saving(directory, members) as checkpointer:
                    finished = run_chunk(
                        assembler, group, program, members, progress.round, checkpointer
                    )
                if directory is None:
                    done |= {one.member: one for one in finished}
                else:
                    done |= directory.add(finished)
                    directory.write_table(done.values())
                marks.append(time.perf_counter())
                best = messages.best([one.row for one in done.values()], objective)
                progress.chunk_done(messages.passed(marks, left), best)
            program = None


def _shared(
    request: SweepRequest,
    plan: SweepPlan,
    groups: Sequence[Group],
    count: int,
    directory: SweepDirectory | None,
    done: dict[int, Done],
) -> None:
    """Fills ``done`` as `_run` does, by so many workers.

    Raises:
        OneAfterAll: they cannot.
    """
    with ExitStack() as stack:
        place = directory
        if place is None:  # workers put their chunks somewhere in any case
            folder = Path(stack.enter_context(TemporaryDirectory())) / "sweep"
            nowhere = Destination(folder, checkpoints=CheckpointSettings(keep_checkpoints=0))
            place = stack.enter_context(opened(request._replace(destination=nowhere), plan))
        assert place is not None
        stack.enter_context(asked_for(request.workers))
        pool = stack.enter_context(Pool(count, place.path))
        left, marks = sum(len(group.chunks(done)) for group in groups), [time.perf_counter()]
        progress = stack.enter_context(SweepProgress(left))

        def told(timed: Estimate) -> None:
            print(messages.duration(timed, groups, done, count), flush=True)

        for _ in run_shared(pool, groups, place, done, progress, told):
            marks.append(time.perf_counter())
            best = messages.best([one.row for one in done.values()], request.objective)
            progress.chunk_done(messages.passed(marks, left, at_once=count), best)


def _timed(
    work: Sequence[tuple[Assembler, Group]], devices: DeviceSettings, done: dict[int, Done]
) -> Algorithm:
    """Says how long groups will take; the first one's program, compiled on the way."""
    assembler, first = work[0]
    program = first.program(assembler, devices)
    with working("compiling the first group"):
        estimated = estimate(first, program)
    print(messages.duration(estimated, [group for _, group in work], done), flush=True)
    return program


@contextmanager
def saving(directory: SweepDirectory | None, members: Sequence[Member]) -> Iterator[Checkpointer]:
    """The checkpointer of a chunk."""
    checkpointer = None if directory is None else directory.checkpointer(members)
    if checkpointer is None:
        yield NoCheckpoints()
        return
    with checkpointer:
        yield checkpointer
