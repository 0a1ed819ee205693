"""``sweep`` from start to end: plan, run what is not done, show, record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cluster import hosts
from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.errors import Stopped
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.checkpointer import Checkpointer, NoCheckpoints
from fedjax_rl.records.directory import made_with
from fedjax_rl.settings.fields import PROBLEM, names
from fedjax_rl.sweeps import comparison, messages
from fedjax_rl.sweeps.comparison import layout_of
from fedjax_rl.sweeps.estimate import estimate
from fedjax_rl.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.sweeps.objective import Objective
from fedjax_rl.sweeps.plan import (
    assemblers_of,
    check_read,
    content_of,
    members_of,
    nothing_left,
    sensible_members,
)
from fedjax_rl.sweeps.progress import SweepProgress
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.results import SweepDirectory
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import working
from fedjax_rl.training.members import Group, Member, grouped
from fedjax_rl.training.protocol import Assembler


class SweepPlan(NamedTuple):
    """Members that are to run.

    Attributes:
        work: groups of one program each, with what made their members.
        settings: of all members.
        content: digest of the problems' content.
        left_out: why, by what a combination that is left out of a comparison is called.
        repeated: how many combinations of a sweep differ from another one only in settings that
            neither reads.
    """

    work: list[tuple[Assembler, Group]]
    settings: list[Any]
    content: str
    left_out: dict[str, str]
    repeated: int


def sweep_and_record(request: SweepRequest) -> bool:
    """Runs the members that are not done, chunk by chunk, and writes what came out.

    Several processes share the members, and each writes the chunks of its own.

    Returns:
        Whether every member diverged; of a comparison, whether any did.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it; the chunks that are done and the one at work are kept.

    Examples:
        >>> from fedjax_rl.families.tabular.config import FedNPGConfig
        >>> from fedjax_rl.sweeps.request import SweepRequest
        >>> from fedjax_rl.sweeps.space import space_of
        >>> space = space_of(FedNPGConfig, {"step_size": [0.01, 0.1]}, {}, None)
        >>> sweep_and_record(SweepRequest("fednpg", FedNPGConfig(rounds=10), space))
        Sweep of fednpg over step_size (2), 1 seed
        2 members in 1 group, one compilation each; 1 chunk
        ...
        none keeps every budget; closest: step_size 0.1, ...
        Nothing was written; --out DIR keeps the table and the curves.
        False
    """
    request.destination.check()
    request, objective = request.resolved(), request.objective
    with working("preparing every member"):
        plan = plan_of(request)
    every = request.destination.checkpoints.span
    work = [(of, group.share(*hosts.share()).visited(every)) for of, group in plan.work]
    work = [(of, group) for of, group in work if group.members]
    for assembler, group in work:
        group.placement(
            assembler, request.devices
        )  # refuses before an earlier sweep is overwritten
    with opened(request, plan) as directory:
        done = {} if directory is None else directory.done()
        print(messages.plan(request, [group for _, group in work], set(done)), flush=True)
        print(messages.repeated(plan.repeated), end="")
        print("".join(f"Left out: {name}: {why}\n" for name, why in plan.left_out.items()), end="")
        try:
            _run(work, request.devices, directory, done, objective)
        except Stopped as stop:
            if directory is not None and done:
                directory.write(done.values())
            raise stop.of(request.destination.out) from None
        hosts.wait_for_all()
        done = done if directory is None else directory.done()
        rows = [done[member].row for member in sorted(done)]
        layout = layout_of(family_of(request.algorithm), plan.settings, request.feasible_seeds)
        if request.compare:
            print(comparison.text(layout, rows))
        print(messages.closing(rows, None if request.compare else objective), flush=True)
        if directory is None:
            print("Nothing was written; --out DIR keeps the table and the curves.")
        else:
            directory.write(done.values())
            if request.compare:
                import_matplotlib(directory.path)
                with working("drawing"):
                    comparison.write(directory, layout, done, plan.left_out)
            print(f"Written to {directory.path}: {directory.names()}", flush=True)
    diverged = [row["status"] == DIVERGED for row in rows]
    return any(diverged) if request.compare else all(diverged)


def plan_of(request: SweepRequest) -> SweepPlan:
    """Every member, and those that share a program together.

    Raises:
        InvalidInput: a combination cannot be used; of a comparison, none can.

    Examples:
        Step sizes are data and share a program; numbers of local steps shape it.

        >>> from fedjax_rl.families.tabular.config import FedNPGConfig
        >>> from fedjax_rl.sweeps.request import SweepRequest
        >>> from fedjax_rl.sweeps.space import space_of
        >>> grid = {"step_size": [0.01, 0.1], "local_steps": [1, 5]}
        >>> base, space = FedNPGConfig(rounds=10), space_of(FedNPGConfig, grid, {}, None)
        >>> plan = plan_of(SweepRequest("fednpg", base, space))
        >>> [len(group.members) for _, group in plan.work]
        [2, 2]
    """
    family, left_out = family_of(request.algorithm), dict[str, str]()
    assemblers = assemblers_of(request.algorithm, request.space)
    if request.compare:
        family.comparison.check(request.space.grid)
    check_read(assemblers.values(), request.base, request.space)
    work: list[tuple[Assembler, Group]] = []
    for assembler in assemblers.values():
        of = assembler, request.base, request.space
        sensible = sensible_members(*of, family.comparison, left_out)
        members = sensible if request.compare else members_of(*of)
        work += [(assembler, group) for group in grouped(members, request.chunk)]
    everyone = [member for _, group in work for member in group.members]
    if not everyone:
        raise nothing_left(left_out)
    content = content_of(work[0][0], names(family.settings, PROBLEM), everyone)
    settings = [member.config for member in everyone]
    if request.compare:
        work = [(family.comparison.measured(of, settings), group) for of, group in work]
    configurations = len({member.configuration for member in everyone})
    combinations = sum(1 for _ in request.space.combinations(type(request.base)))
    repeated = 0 if request.compare else combinations - configurations
    return SweepPlan(work, settings, content, left_out, repeated)


def opened(request: SweepRequest, plan: SweepPlan) -> AbstractContextManager[SweepDirectory | None]:
    """The directory of a sweep, or None when nothing is written."""
    if request.destination.out is None:
        return nullcontext()
    made = {"made_with": made_with(plan.content)}
    recorded = {"left_out": plan.left_out} if request.compare else {}
    return SweepDirectory(
        request.destination, request.document() | recorded | made, request.identity() | made
    )


def _run(
    work: Sequence[tuple[Assembler, Group]],
    devices: DeviceSettings,
    directory: SweepDirectory | None,
    done: dict[int, Done],
    objective: Objective,
) -> None:
    """Fills ``done``, which holds members by number."""
    waiting = [(assembler, group) for assembler, group in work if group.chunks(done)]
    left = sum(len(group.chunks(done)) for _, group in waiting)
    marks = [time.perf_counter()]
    program = _timed(waiting, devices, done) if waiting else None
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
