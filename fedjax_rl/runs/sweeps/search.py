"""``search`` from start to end: ask for trials, run them side by side, tell their values."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fedjax_rl.checks import check_choice, check_count
from fedjax_rl.errors import InvalidInput, MissingExtra, Stopped
from fedjax_rl.runs import hosts
from fedjax_rl.runs.directory import made_with
from fedjax_rl.runs.live import working
from fedjax_rl.runs.sweeps import words
from fedjax_rl.runs.sweeps.batches import Programs, prototypes
from fedjax_rl.runs.sweeps.best import Candidate
from fedjax_rl.runs.sweeps.execution import DIVERGED, Done, figure_names, run_chunk
from fedjax_rl.runs.sweeps.family import Family, family
from fedjax_rl.runs.sweeps.plan import Member, content_of, seeds_of
from fedjax_rl.runs.sweeps.progress import SweepProgress
from fedjax_rl.runs.sweeps.question import (
    RELATIONS,
    Condition,
    Question,
    check_known,
    condition,
)
from fedjax_rl.runs.sweeps.results import SweepDirectory, _listed
from fedjax_rl.runs.sweeps.session import Asked, kept
from fedjax_rl.runs.sweeps.space import Chosen, Law, law_of

if TYPE_CHECKING:
    from fedjax_rl.runs.sweeps.study import Study, Trial

STUDY = "study.db"
"""What Optuna knows, in the directory of a search."""
SAMPLERS = ("tpe", "random")


class Search(NamedTuple):
    """What a search is to do.

    Attributes:
        asked: its algorithm, settings and destination; of its space the laws are searched in,
            ``samples`` is the number of trials and ``sample_seed`` that of the sampler.
        question: what is best.
        batch: trials side by side.
        sampler: one of `SAMPLERS`.
    """

    asked: Asked
    question: Question
    batch: int
    sampler: str = "tpe"

    @property
    def trials(self) -> int:
        return self.asked.space.samples or 0

    @property
    def laws(self) -> dict[str, tuple[str, Law]]:
        """The laws by setting, as text and read."""
        kind = type(self.asked.base)
        laws = self.asked.space.random
        return {name: (law, law_of(kind, name, law)) for name, law in laws.items()}

    def document(self) -> dict[str, Any]:
        """All of it but the devices, as ``config.yaml`` holds it."""
        conditions = [
            f"{one.metric}{one.relation}{one.bound!r}" for one in self.question.conditions
        ]
        asked = self.question._asdict() | {"conditions": conditions}
        asked |= {"batch": self.batch, "sampler": self.sampler}
        document = self.asked.document() | {"search": asked}
        del document["feasible_seeds"]  # it is the question's: what is asked depends on it
        if self.question.feasible is None:
            del asked["feasible_seeds"]
        return document


def search_of(asked: Asked, question: Question | None, batch: int, sampler: str) -> Search:
    """A checked search; the question is the algorithm's headline unless there is one.

    Raises:
        InvalidInput: more trials in a batch than there are, or an unknown sampler.
    """
    check_count("--batch", batch, least=1)
    if batch > (asked.space.samples or 0):
        raise InvalidInput("--batch", batch, f"at most --trials {asked.space.samples}")
    check_choice("--sampler", sampler, SAMPLERS)
    return Search(asked, question or asked.question, batch, sampler)


def search_again(asked: Asked, document: Mapping[str, Any]) -> Search:
    """What the ``config.yaml`` of a search asked for.

    Raises:
        InvalidInput: its trials were told whether they keep the budgets, and not how nearly.
    """
    conditions = tuple(condition(text) for text in document["conditions"])
    if document["feasible"] is not None and "feasible_seeds" not in document:
        raise InvalidInput(
            "run directory",
            asked.destination.out,
            "a search that was told by how much budgets are broken, which this one was not: "
            "start anew with search --overwrite",
        )
    question = Question(
        metric=document["metric"],
        maximize=document["maximize"],
        conditions=conditions,
        feasible=document["feasible"],
        feasible_seeds=asked.feasible_seeds,
    )
    return search_of(asked, question, document["batch"], document["sampler"])


def search_and_record(search: Search) -> bool:
    """Runs the trials that are not told yet, batch by batch, and writes what came out.

    Returns:
        Whether every member diverged.

    Raises:
        MissingExtra: Optuna is not installed; nothing was written.
        InvalidInput: before anything is written.
        Stopped: a signal asked for it; what is done and the chunk at work are kept.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("search", "optuna", "optuna")
    from fedjax_rl.runs.sweeps.study import Study

    asked = search.asked
    if asked.destination.out is None:
        raise InvalidInput("--out", "nothing", "--out DIR for the study, which is a file")
    asked.destination.check()
    if (processes := hosts.share()[1]) > 1:
        raise InvalidInput("--processes", processes, "1 for a search, over any --devices")
    kind = family(asked.algorithm)
    asked = asked.resolved(kind)
    search = search._replace(asked=asked)
    laws = search.laws
    with working("preparing the search"):
        known = list(prototypes(kind, asked.base, {name: law for name, (_, law) in laws.items()}))
        programs = Programs(
            *(kind, known, search.batch * asked.base.seeds, asked.chunk, asked.devices),
            asked.destination.checkpoints,
        )
        _check_figures(search.question, kind, programs)
        content = content_of(kind, known)
    for group in programs.groups:
        group.placement(kind, asked.devices)  # refuses before an earlier search is overwritten
    document = search.document() | {"made_with": made_with(content)}
    drawn = search.question.maximize, search.sampler, asked.space.sample_seed
    with (
        SweepDirectory(asked.destination, document) as directory,
        Study(directory.path / STUDY, laws, *drawn) as study,
    ):
        print(words.search(search, programs.groups, study.trials()), flush=True)
        try:
            _run(search, kind, programs, directory, study)
        except Stopped as stop:
            if done := directory.done():
                directory.write(done.values())
            raise stop.of(asked.destination.out) from None
        done = directory.done()
        rows = [done[member].row for member in sorted(done)]
        print(words.closing(rows, search.question), flush=True)
        directory.write(done.values())
        print(f"Written to {directory.path}: {directory.names()}", flush=True)
    return all(row["status"] == DIVERGED for row in rows)


def _check_figures(question: Question, kind: Family, programs: Programs) -> None:
    """Raises InvalidInput unless members will have the numbers that are asked for."""
    assembled = [group.members[0].assembled for group in programs.groups]
    names = list(dict.fromkeys(name for one in assembled for name in figure_names(kind, one)))
    check_known("--metric", question.metric, names)
    for each in question.conditions:
        check_known("--subject-to", each.metric, names)


def _run(
    search: Search, kind: Family, programs: Programs, directory: SweepDirectory, study: Study
) -> None:
    """Runs batches until every trial is told."""
    done = directory.done()
    tell_whole(search, directory, study, done)
    left = search.trials - sum(trial.told for trial in study.trials())
    batches = -(-left // search.batch)
    marks = [time.perf_counter()]
    with SweepProgress(batches, "batches") as progress:
        while members := next_batch(search, kind, study, done):
            for group, program in programs.of(members):
                for chunk in group.chunks(done):
                    progress.chunk(group.rounds)
                    with kept(directory, chunk) as keeper:
                        finished = run_chunk(kind, group, program, chunk, progress.round, keeper)
                    done |= directory.add(finished)
                    directory.write_table(done.values())
            tell_whole(search, directory, study, done)
            marks.append(time.perf_counter())
            best = words.best([one.row for one in done.values()], search.question)
            progress.chunk_done(words.passed(marks, batches, "batch"), best)


def next_batch(search: Search, kind: Family, study: Study, done: Container[int]) -> list[Member]:
    """Members of the trials to run next: those that were asked for and are not whole, and new ones.

    A trial's place among those that were asked for is the number of its configuration.
    """
    trials, seeds = study.trials(), search.asked.base.seeds
    places = [place for place in range(len(trials)) if not _whole(place, seeds, done)]
    places = places[: search.batch]
    for place in range(len(trials), search.trials)[: search.batch - len(places)]:
        study.ask()
        places.append(place)
    trials = study.trials()
    return [
        member
        for place in places
        for member in seeds_of(kind, search.asked.base, place, _chosen(search, trials[place]))
    ]


def tell_whole(
    search: Search, directory: SweepDirectory, study: Study, done: Mapping[int, Done]
) -> None:
    """Tells the trials of which every seed is done, in their order.

    Raises:
        InvalidInput: members that are done had other settings than their trial.
    """
    seeds = search.asked.base.seeds
    for place, trial in enumerate(study.trials()):
        if not _whole(place, seeds, done):
            continue
        rows = tuple(done[place * seeds + seed].row for seed in range(seeds))
        chosen = _listed(_chosen(search, trial))
        if any(row[name] != value for row in rows for name, value in chosen.items()):
            raise InvalidInput(
                "run directory",
                directory.path / STUDY,
                "the study that asked for what is in chunks/: put it back; without that file, "
                "resume asks anew for the same",
            )
        if not trial.told:
            study.tell(trial, *outcome(search.question, Candidate(place, chosen, rows)))


def outcome(question: Question, one: Candidate) -> tuple[float | None, list[float]]:
    """What the study is told of a trial: its value if that is a number, and its excesses.

    They are what `ordered` goes by, so that Optuna's order is ours: the value of a gap is that of
    its positive part, and budgets are kept where the last excess is 0.
    """
    standing = one.standing(question)
    value = -standing.worth if question.maximize else standing.worth
    excesses = [excess(each, one.mean(each.metric)) for each in question.conditions]
    if question.feasible is not None:
        excesses.append(standing.excess)
    return (value if math.isfinite(value) else None), excesses


def excess(condition: Condition, figure: float) -> float:
    """How far a figure is from keeping a condition: 0 where it does, infinite if it is NaN."""
    if RELATIONS[condition.relation](figure, condition.bound):
        return 0.0
    distance = abs(figure - condition.bound)
    return math.inf if math.isnan(distance) else max(distance, sys.float_info.min)


def _whole(place: int, seeds: int, done: Container[int]) -> bool:
    return all(number in done for number in range(place * seeds, (place + 1) * seeds))


def _chosen(search: Search, trial: Trial) -> Chosen:
    kind = type(search.asked.base)
    return {
        name: law.value(kind, name, trial.drawn[name]) for name, (_, law) in search.laws.items()
    }
