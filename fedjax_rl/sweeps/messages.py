"""Texts that a sweep or a search prints: its plan, its progress, its best configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedjax_rl.cluster.cores import cores
from fedjax_rl.figures.numbers import in_bytes
from fedjax_rl.ranking import seeds_clause
from fedjax_rl.sweeps.best import candidates, ordered
from fedjax_rl.sweeps.estimate import Estimate
from fedjax_rl.sweeps.execution import DIVERGED
from fedjax_rl.sweeps.objective import Objective
from fedjax_rl.sweeps.space import ALGORITHM, Space
from fedjax_rl.training.members import Group
from fedjax_rl.training.memory import PROCESS_BYTES, free_bytes
from fedjax_rl.training.rows import Row

if TYPE_CHECKING:
    from fedjax_rl.sweeps.request import SweepRequest
    from fedjax_rl.sweeps.search_request import Search
    from fedjax_rl.sweeps.study import Trial
    from fedjax_rl.sweeps.workers import Crew

GROUPS_LISTED = 12
NOBODY = "No configuration has a figure to compare."


def plan(request: SweepRequest, groups: Sequence[Group], done: Container[int], crew: Crew) -> str:
    """The plan of a sweep: members, groups and chunks, and the memory they need."""
    space, seeds = request.space, request.base.seeds
    algorithms = " and ".join(space.grid.get(ALGORITHM, (request.algorithm,)))
    members = sum(len(group.members) for group in groups)
    swept = [f"{name} ({len(values)})" for name, values in space.grid.items()]
    swept += [f"{name} ({law})" for name, law in space.random.items()]
    drawn = f", {space.samples} samples" if space.random else ""
    chunks = sum(len(group.chunks()) for group in groups)
    lines = [
        f"{'Comparison' if request.compare else 'Sweep'} of {algorithms} over {', '.join(swept)}"
        f"{drawn}, {seeds} seed{'s' * (seeds > 1)}",
        f"{_counted(members, 'member')} in {_counted(len(groups), 'group')}, one compilation each; "
        f"{_counted(chunks, 'chunk')}",
    ]
    for number, group in enumerate(groups[:GROUPS_LISTED], 1):
        lines.append(
            f"  group {number}{_common(group, space, groups)}: "
            f"{_counted(len(group.members), 'member')}, {group.size} side by side, "
            f"{group.rounds} rounds, about {in_bytes(group.bytes)}"
        )
    if len(groups) > GROUPS_LISTED:
        lines.append(f"  and {len(groups) - GROUPS_LISTED} more groups")
    lines += staffed(crew, groups)
    finished = sum(member.number in done for group in groups for member in group.members)
    if finished:
        lines.append(f"going on: {finished} of {members} members are done")
    return "\n".join(lines)


def staffed(crew: Crew, groups: Sequence[Group]) -> list[str]:
    """Lines on who runs the chunks, and on the memory that this takes."""
    most = max((group.bytes for group in groups), default=0)
    about, free = f"about {in_bytes(most)}", f"{in_bytes(free_bytes())} are free"
    why = f" ({crew.why})" if crew.why else ""
    if crew.processes == 1:
        return [
            f"workers: 1{why}",
            f"memory: {about} at once, from the sizes of a member's arrays; {free}",
        ]
    placed = ", one to a core" if crew.processes == cores() else ""
    return [
        f"workers: {crew.processes} processes{placed}{why}",
        f"memory: {about} in each of them, from the sizes of a member's arrays, and "
        f"{in_bytes(PROCESS_BYTES)} for the process; {free}",
    ]


def repeated(count: int) -> str:
    """A line on combinations that repeat another and are run once; empty where there are none."""
    if not count:
        return ""
    many = "" if count > 1 else "s"
    return f"{_counted(count, 'combination')} repeat{many} another in all that it reads: run once\n"


def duration(
    estimated: Estimate, groups: Sequence[Group], done: Container[int], workers: int = 1
) -> str:
    """A line on how long a sweep may take, from an estimate."""
    total, several = in_time(estimated.total(groups, done, workers)), len(groups) > 1
    return (
        f"time: about {total}, from a few rounds{' of the first group' * several}; "
        f"{in_time(estimated.compiling)} of it to compile{' each group' * several}"
    )


def search(request: Search, groups: Sequence[Group], trials: Sequence[Trial], crew: Crew) -> str:
    """The plan of a search: laws, objective, batches, and how many trials are finished."""
    space, seeds, objective = request.request.space, request.request.base.seeds, request.objective
    laws = ", ".join(f"{name} ({law})" for name, law in space.random.items())
    conditions = [f"{c.metric}{c.relation}{c.bound:g}" for c in objective.conditions]
    if objective.feasible:
        conditions.append(f"every budget kept{seeds_clause(objective.feasible_seeds, seeds)}")
    lines = [
        f"Search of {request.request.algorithm} over {laws}, {seeds} seed{'s' * (seeds > 1)}",
        f"for the {'largest' if objective.maximize else 'smallest'} {objective.metric}"
        f"{', subject to ' * bool(conditions)}{' and '.join(conditions)}",
        f"{_counted(request.trials, 'trial')} by {request.sampler}, {request.batch} at a time; "
        f"{_counted(len(groups), 'group')}, one compilation each",
    ]
    for number, group in enumerate(groups[:GROUPS_LISTED], 1):
        lines.append(
            f"  group {number}{_common(group, space, groups)}: {group.size} side by side, "
            f"{group.rounds} rounds, about {in_bytes(group.bytes)}"
        )
    if len(groups) > GROUPS_LISTED:
        lines.append(f"  and {len(groups) - GROUPS_LISTED} more groups")
    lines += staffed(crew, groups)
    if trials:
        finished = sum(trial.finished for trial in trials)
        lines.append(f"going on: {finished} of {request.trials} trials are told")
    return "\n".join(lines)


def passed(marks: Sequence[float], chunks: int, what: str = "chunk", at_once: int = 1) -> str:
    """A line of progress: chunks done, time taken and time left.

    Args:
        marks: seconds, at the start and at the end of every chunk so far.
        chunks: how many there are to be.
        what: a chunk is called.
        at_once: how many are under way.
    """
    done, taken = len(marks) - 1, marks[-1] - marks[0]
    if done == chunks:
        return f"{what} {done} of {chunks}: all in {in_time(taken)}"
    # The first chunks compiled; from the next on, those after them say more.
    later = done - at_once
    each = taken / at_once if later <= 0 else (marks[-1] - marks[at_once]) / later
    left = in_time(each * (chunks - done))
    return f"{what} {done} of {chunks}: {in_time(taken)}, about {left} to go"


def closing(rows: Sequence[Row], objective: Objective | None) -> str:
    """The text after a sweep: members that diverged, and the best configuration."""
    diverged = sum(row["status"] == DIVERGED for row in rows)
    line = f"{len(rows)} members, {diverged} diverged (marked; the others are whole)."
    return line if objective is None else f"{line}\n{best(rows, objective) or NOBODY}"


def best(
    rows: Sequence[Row],
    objective: Objective,
    label: Callable[[Mapping[str, Any]], str] | None = None,
) -> str:
    """The best configuration of the rows, in one line; empty when there is none.

    Where none keeps every budget, the line says so and names the one that is closest.

    Args:
        rows: of the table.
        objective: what is best.
        label: what a configuration is called; by its settings unless given.
    """
    found = ordered(candidates(rows), objective)
    if not found:
        return ""
    value, one = found[0]
    settings = (label or _short)(one.combination)
    seeds, excess = len(one.rows), one.standing(objective).excess
    among = f" (mean of {seeds} seeds)" if seeds > 1 else ""
    figure = f"{objective.metric} {value:.6g}{among}"
    share = f"{sum(one.feasible(objective))} of {_counted(seeds, 'seed')} feasible"
    if excess == 0:
        budgets = f"; {share}" if objective.feasible else ""
        return f"best {figure} with {settings}{budgets}"
    far = f"relative violation {excess:.4g}" if excess < math.inf else "by how much is not known"
    everywhere = seeds_clause(objective.feasible_seeds, seeds)
    return f"none keeps every budget{everywhere}; closest: {settings}, {far}; {figure}, {share}"


def _short(combination: Mapping[str, Any]) -> str:
    """Settings by name, numbers short."""
    values = {n: f"{v:.4g}" if isinstance(v, float) else str(v) for n, v in combination.items()}
    return ", ".join(f"{name} {value}" for name, value in values.items())


def in_time(seconds: float) -> str:
    """Seconds in a unit for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _common(group: Group, space: Space, groups: Sequence[Group]) -> str:
    """The swept settings that tell a group from the others."""
    if len(groups) == 1:
        return ""
    values = {name: {str(m.combination[name]) for m in group.members} for name in space.names}
    alike = [f"{name} {next(iter(v))}" for name, v in values.items() if len(v) == 1]
    return f" ({', '.join(alike)})" if alike else ""
