"""``search`` from start to end: ask for trials, run them side by side, tell their values."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from fedjax_rl.cluster import hosts
from fedjax_rl.errors import InvalidInput, MissingExtra, Stopped
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.directory import made_with
from fedjax_rl.settings.fields import PROBLEM, names
from fedjax_rl.sweeps import messages
from fedjax_rl.sweeps.batches import Programs, prototypes
from fedjax_rl.sweeps.best import Candidate
from fedjax_rl.sweeps.execution import DIVERGED, Done, figure_names, run_chunk
from fedjax_rl.sweeps.objective import (
    RELATIONS,
    Condition,
    Objective,
    check_known,
)
from fedjax_rl.sweeps.plan import check_read, configured, content_of, seeds_of
from fedjax_rl.sweeps.pool import Pool
from fedjax_rl.sweeps.progress import SweepProgress
from fedjax_rl.sweeps.results import SweepDirectory, listed_in
from fedjax_rl.sweeps.search_request import Search
from fedjax_rl.sweeps.session import saving
from fedjax_rl.sweeps.sharing import OneAfterAll, asked_for, run_shared
from fedjax_rl.sweeps.space import Combination
from fedjax_rl.sweeps.workers import check_workers, cores_for_chunks, crew_of
from fedjax_rl.terminal.live import working
from fedjax_rl.training.members import Member
from fedjax_rl.training.protocol import Assembler

if TYPE_CHECKING:
    from fedjax_rl.sweeps.study import Study, Trial

STUDY = "study.db"
"""What Optuna knows, in the directory of a search."""


def search_and_record(search: Search) -> bool:
    """Runs the trials that are not finished yet, batch by batch, and writes what came out.

    Returns:
        Whether every member diverged.

    Raises:
        MissingExtra: Optuna is not installed; nothing was written.
        InvalidInput: before anything is written.
        Stopped: a signal asked for it; what is done and the chunk at work are kept.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("search", "optuna", "optuna")
    from fedjax_rl.sweeps.study import Study

    request = search.request
    if request.destination.out is None:
        raise InvalidInput("--out", "nothing", "--out DIR for the study, which is a file")
    request.destination.check()
    if (processes := hosts.share()[1]) > 1:
        raise InvalidInput("--processes", processes, "1 for a search, over any --devices")
    check_workers(request.workers)
    request = request.resolved()
    family = family_of(request.algorithm)
    assembler = family.assembler(request.algorithm)
    search = search._replace(request=request)
    laws = search.laws
    with working("preparing the search"):
        check_read([assembler], request.base, request.space)
        known = prototypes_of(search, assembler)
        programs = Programs(
            *(assembler, known, search.batch * request.base.seeds, request.chunk, request.devices),
            *(request.destination.checkpoints, cores_for_chunks()),
        )
        _check_figures(search.objective, assembler, programs)
        content = content_of(assembler, names(family.settings, PROBLEM), known)
    for group in programs.groups:
        group.placement(
            assembler, request.devices
        )  # refuses before an earlier search is overwritten
    drawn = search.objective.maximize, search.sampler, request.space.sample_seed
    with (
        opened(search, content) as directory,
        Study(directory.path / STUDY, laws, *drawn) as study,
    ):
        groups, trials = programs.groups, study.trials()
        left = search.trials - sum(trial.finished for trial in trials)
        crew = crew_of(
            request.workers,
            sum(-(-programs.even // group.size) for group in groups),
            left * request.base.seeds * max(group.needs.operations for group in groups),
            max(group.bytes for group in groups),
        )
        print(messages.search(search, groups, trials, crew), flush=True)
        try:
            _staffed(search, crew.processes, (assembler, programs, directory, study))
        except Stopped as stop:
            if done := directory.done():
                directory.write(done.values())
            raise stop.of(request.destination.out) from None
        done = directory.done()
        rows = [done[member].row for member in sorted(done)]
        print(messages.closing(rows, search.objective), flush=True)
        directory.write(done.values())
        print(f"Written to {directory.path}: {directory.names()}", flush=True)
    return all(row["status"] == DIVERGED for row in rows)


def prototypes_of(search: Search, assembler: Assembler) -> list[Member]:
    """Members of every program that the search may need; see `prototypes`."""
    laws = {name: law for name, (_, law) in search.laws.items()}
    return list(prototypes(assembler, search.request.base, laws))


def opened(search: Search, content: str, owner: bool | None = None) -> SweepDirectory:
    """The directory of a search over problems of that content; see `SweepDirectory`."""
    made = {"made_with": made_with(content)}
    documents = search.document() | made, search.identity() | made
    return SweepDirectory(search.request.destination, *documents, owner)


def _check_figures(objective: Objective, assembler: Assembler, programs: Programs) -> None:
    """Raises InvalidInput unless members will have the numbers that are asked for."""
    assembled = [group.members[0].assembled for group in programs.groups]
    names = list(dict.fromkeys(name for one in assembled for name in figure_names(assembler, one)))
    check_known("--metric", objective.metric, names)
    for each in objective.conditions:
        check_known("--subject-to", each.metric, names)


def _staffed(
    search: Search, count: int, of: tuple[Assembler, Programs, SweepDirectory, Study]
) -> None:
    """Runs batches by so many workers, or here where there is one or they cannot."""
    if count > 1:
        with (
            suppress(OneAfterAll),
            asked_for(search.request.workers),
            Pool(count, of[2].path) as pool,
        ):
            return _run(search, *of, pool)
    return _run(search, *of)


def _run(
    search: Search,
    assembler: Assembler,
    programs: Programs,
    directory: SweepDirectory,
    study: Study,
    pool: Pool | None = None,
) -> None:
    """Runs batches until every trial is finished, here or by workers."""
    done = directory.done()
    report_finished(search, directory, study, done)
    left = search.trials - sum(trial.finished for trial in study.trials())
    batches = -(-left // search.batch)
    marks = [time.perf_counter()]
    with SweepProgress(batches, "batches") as progress:
        while members := next_batch(search, assembler, study, done):
            work = list(programs.of(members))
            if pool is None:
                for group, program in work:
                    for chunk in group.chunks(done):
                        progress.chunk(group.rounds)
                        with saving(directory, chunk) as checkpointer:
                            finished = run_chunk(
                                assembler, group, program, chunk, progress.round, checkpointer
                            )
                        done |= directory.add(finished)
                        directory.write_table(done.values())
            else:
                trials = {one.configuration: one.combination for one in members}
                pool.begin((sorted(trials.items()), programs.chunk_sizes))
                numbers = [programs.number(program) for _, program in work]
                groups = [group for group, _ in work]
                for _ in run_shared(pool, groups, directory, done, progress, programs=numbers):
                    pass
            report_finished(search, directory, study, done)
            marks.append(time.perf_counter())
            best = messages.best([one.row for one in done.values()], search.objective)
            progress.chunk_done(messages.passed(marks, batches, "batch"), best)


def next_batch(
    search: Search, assembler: Assembler, study: Study, done: Container[int]
) -> list[Member]:
    """Members of the trials to run next: those that were asked for and are not whole, and new ones.

    A trial's index among those that were asked for is the number of its configuration.
    """
    trials, seeds = study.trials(), search.request.base.seeds
    # Those that a kill left unfinished come first: Optuna was told nothing of them, and what it
    # proposes next must not depend on where the search was cut.
    indices = [index for index in range(len(trials)) if not _finished(index, seeds, done)]
    indices = indices[: search.batch]
    for index in range(len(trials), search.trials)[: search.batch - len(indices)]:
        study.ask()
        indices.append(index)
    trials = study.trials()
    return [
        member
        for index in indices
        for member in seeds_of(
            assembler, search.request.base, index, _combination(search, trials[index])
        )
    ]


def report_finished(
    search: Search, directory: SweepDirectory, study: Study, done: Mapping[int, Done]
) -> None:
    """Reports the outcome of every trial whose seeds are all done to the study, in order.

    Raises:
        InvalidInput: members that are done had other settings than their trial.
    """
    request, seeds = search.request, search.request.base.seeds
    # By trial and not as members finish: a sampler goes by the order in which it is told.
    for index, trial in enumerate(study.trials()):
        if not _finished(index, seeds, done):
            continue
        rows = tuple(done[index * seeds + seed].row for seed in range(seeds))
        trials = configured(
            request.algorithm, request.base, _combination(search, trial)
        ).combination
        combination = listed_in(trials)
        if any(row[name] != value for row in rows for name, value in combination.items()):
            raise InvalidInput(
                "run directory",
                directory.path / STUDY,
                "the study that asked for what is in chunks/: put it back; without that file, "
                "resume asks anew for the same",
            )
        if not trial.finished:
            study.tell(trial, *outcome(search.objective, Candidate(index, combination, rows)))


def outcome(objective: Objective, one: Candidate) -> tuple[float | None, list[float]]:
    """The outcome of a trial for Optuna: its value if that is a number, and its excesses.

    They are what `ordered` goes by, so that Optuna's order is ours: the value of a gap is that of
    its positive part, and budgets are kept where the last excess is 0.
    """
    standing = one.standing(objective)
    value = -standing.worth if objective.maximize else standing.worth
    excesses = [excess(each, one.mean(each.metric)) for each in objective.conditions]
    if objective.feasible is not None:
        excesses.append(standing.excess)
    return (value if math.isfinite(value) else None), excesses


def excess(condition: Condition, figure: float) -> float:
    """The distance of a figure from a condition: 0 where it holds, infinite if it is NaN."""
    if RELATIONS[condition.relation](figure, condition.bound):
        return 0.0
    distance = abs(figure - condition.bound)
    return math.inf if math.isnan(distance) else max(distance, sys.float_info.min)


def _finished(index: int, seeds: int, done: Container[int]) -> bool:
    return all(number in done for number in range(index * seeds, (index + 1) * seeds))


def _combination(search: Search, trial: Trial) -> Combination:
    kind = type(search.request.base)
    return {
        name: law.value(kind, name, trial.drawn[name]) for name, (_, law) in search.laws.items()
    }
