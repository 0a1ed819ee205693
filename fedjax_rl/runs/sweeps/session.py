"""``sweep`` from start to end: plan, run what is not done, show, record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_rl.errors import InvalidInput
from fedjax_rl.runs.directory import check_writable, made_with
from fedjax_rl.runs.live import working
from fedjax_rl.runs.sweeps import words
from fedjax_rl.runs.sweeps.best import question_of
from fedjax_rl.runs.sweeps.execution import DIVERGED, Done, run_chunk
from fedjax_rl.runs.sweeps.family import Family, family
from fedjax_rl.runs.sweeps.plan import Group, grouped, members_of
from fedjax_rl.runs.sweeps.progress import SweepProgress
from fedjax_rl.runs.sweeps.results import SweepDirectory, check_same, document_of
from fedjax_rl.runs.sweeps.space import Space


class Asked(NamedTuple):
    """What a sweep is to do.

    Attributes:
        algorithm: its name.
        base: settings that are not swept; ``seeds`` of them of every combination.
        space: those that are.
        chunk: members side by side; None for as many as fit memory.
        out: directory, or None to write nothing.
        overwrite: whether an earlier run there may be replaced.
        resume: whether to go on with the sweep that is there.
    """

    algorithm: str
    base: Any
    space: Space
    chunk: int | None = None
    out: Path | None = None
    overwrite: bool = False
    resume: bool = False


def sweep_and_record(asked: Asked) -> bool:
    """Runs the members that are not done, chunk by chunk, and writes what came out.

    Returns:
        Whether every member diverged.

    Raises:
        InvalidInput: before anything is written.
    """
    kind = family(asked.algorithm)
    base = kind.resolved(asked.base)
    space = asked.space
    document = document_of(
        *(asked.algorithm, base, space.grid, space.random, space.samples, space.sample_seed),
        asked.chunk,
    )
    _check_out(asked, document)
    with working("preparing every member"):
        groups = grouped(members_of(kind, base, asked.space), asked.chunk)
    first = groups[0].members[0].assembled.prepared
    document["made_with"] = made_with(kind.digest(first))
    directory, done = None, dict[int, Done]()
    if asked.out is not None:
        resume = {"overwrite": asked.overwrite, "resume": asked.resume}
        directory = SweepDirectory(asked.out, document, **resume)
        done = directory.done()
    print(words.plan(asked.algorithm, asked.space, base.seeds, groups, len(done)), flush=True)
    _run(kind, groups, directory, done)
    rows = [done[member].row for member in sorted(done)]
    print(words.closing(rows, question_of(kind.headline)), flush=True)
    if directory is None:
        print("Nothing was written; --out DIR keeps the table and the curves.")
    else:
        directory.write(done.values())
        names = ", ".join(sorted(path.name for path in directory.path.iterdir()))
        print(f"Written to {directory.path}: {names}", flush=True)
    return all(row["status"] == DIVERGED for row in rows)


def _run(
    kind: Family, groups: list[Group], directory: SweepDirectory | None, done: dict[int, Done]
) -> None:
    """Fills ``done``, which holds members by number."""
    question = question_of(kind.headline)
    left = sum(len(group.chunks(done)) for group in groups)
    marks = [time.perf_counter()]
    with SweepProgress(left) as progress:
        for group in groups:
            if not (chunks := group.chunks(done)):
                continue
            program = group.program(kind)
            for members in chunks:
                progress.chunk(group.rounds)
                finished = run_chunk(kind, group, program, members, progress.round)
                if directory is None:
                    done |= {one.member: one for one in finished}
                else:
                    done |= directory.add(finished)
                    directory.write(done.values())
                marks.append(time.perf_counter())
                best = words.best([one.row for one in done.values()], question)
                progress.chunk_done(words.passed(marks, left), best)


def _check_out(asked: Asked, document: dict[str, Any]) -> None:
    """Refuses a place that cannot be written before anything is computed."""
    if asked.out is None:
        for option, given in (("--overwrite", asked.overwrite), ("--resume", asked.resume)):
            if given:
                raise InvalidInput(option, "no --out", "--out DIR says which directory")
        return
    if asked.overwrite and asked.resume:
        raise InvalidInput("--resume", "--overwrite too", "one of the two")
    if asked.resume and (asked.out / "config.yaml").exists():
        check_same(asked.out, document)
    else:
        check_writable(asked.out, overwrite=asked.overwrite)
