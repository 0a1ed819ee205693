"""A run from start to end: check, run, show, record; alone, or beside its references."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.columns import Columns
from fedjax_rl.errors import InvalidInput, Stopped
from fedjax_rl.families.protocol import Experiment, Family, References, Result
from fedjax_rl.families.registry import family_of
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.output import Destination, RunOutput, open_output
from fedjax_rl.settings.paths import absolute
from fedjax_rl.terminal.drawing import import_matplotlib
from fedjax_rl.terminal.live import LiveTable, working


class Request(NamedTuple):
    """A run that is asked for.

    Attributes:
        algorithm: its name.
        settings: of its family's type.
        destination: where it is written, and how it survives.
        devices: over which it is spread.
        content: SHA-256 of the problem that it must have; None for any.
    """

    algorithm: str
    settings: Any
    destination: Destination = Destination()
    devices: DeviceSettings = ONE
    content: str | None = None


def run_and_record(request: Request) -> bool:
    """Runs an algorithm with a live table and writes the run directory.

    Returns:
        Whether a member diverged; what was logged is kept.

    Raises:
        InvalidInput: before anything is written.
        Stopped: a signal asked for it, and the run is saved.
    """
    request.destination.check()
    experiment = prepared(request)
    with opened(request, experiment) as output:
        result = carried_out(experiment, request.destination, output)
        print_written(output.directory)
    return result.diverged


def compare_and_record(request: Request) -> bool:
    """Runs an algorithm and its references one after another, each in a directory of its own.

    Arguments, result and errors are those of `run_and_record`; the directory holds the
    federation's run, and those of the references in directories of their names.

    Raises:
        InvalidInput: the family has no references, the settings are those of one, or before
            anything is written.
    """
    references = references_of(family_of(request.algorithm), request.algorithm)
    first, *others = references.names
    if request.settings.reference != first:
        raise InvalidInput(
            "--reference", repr(request.settings.reference), f"{first} with --compare"
        )
    requests = {who: _as_reference(request, references, who) for who in references.names}
    for one in requests.values():
        one.destination.check()
    experiments = {who: prepared(one) for who, one in requests.items()}
    results: dict[str, Result] = {}
    with opened(request, experiments[first], {"compare": True}) as whole:
        try:
            results[first] = carried_out(experiments[first], request.destination, whole)
            for who in others:
                with opened(requests[who], experiments[who]) as output:
                    results[who] = carried_out(experiments[who], requests[who].destination, output)
        except Stopped as stop:
            raise stop.of(request.destination.out) from None
        print(references.table(results))
        if whole.directory is not None:
            import_matplotlib(whole.directory.path)
            references.write(whole.directory, results)
        print_written(whole.directory)
    return any(result.diverged for result in results.values())


def references_of(family: Family, algorithm: str) -> References:
    """The baseline runs that a run is put beside.

    Raises:
        InvalidInput: the family has no references.
    """
    if family.references is None:
        raise InvalidInput("--compare", algorithm, "an algorithm that has references")
    return family.references


def _as_reference(request: Request, references: References, who: str) -> Request:
    if who == references.names[0]:
        return request
    # Of the content the federation is asked: who watches what may be nothing to a reference.
    return request._replace(
        settings=references.settings(request.algorithm, request.settings, who),
        destination=request.destination.below(who),
        content=None,
    )


def prepared(request: Request) -> Experiment:
    """The run, ready to start; what is recorded of its settings has absolute file names.

    Raises:
        InvalidInput: a setting or the problem cannot be used, or its content is another.
    """
    family, content = family_of(request.algorithm), request.content
    name = getattr(request.settings, family.problem)
    with working(f"preparing {name}"):
        experiment = family.prepare(request.algorithm, request.settings, request.devices)
    if content is not None and content != experiment.digest:
        whose = whose_content(request.settings, family)
        raise InvalidInput(
            "config.yaml", name, f"{whose} content is not what that run was made with"
        )
    return experiment._replace(settings=absolute(experiment.settings, family.files))


def whose_content(settings: Any, family: Family) -> str:
    """``the problem's``, or that of another file, too, where one is named."""
    others = [
        getattr(settings, name)
        for name, is_file in family.files.items()
        if name != family.problem and getattr(settings, name) and is_file(getattr(settings, name))
    ]
    return "the problem's" + "".join(f" or {name}'s" for name in others)


@contextmanager
def opened(
    request: Request, experiment: Experiment, extra: Mapping[str, Any] | None = None
) -> Iterator[RunOutput]:
    """The place of a run; ``config.yaml`` says what is ``extra``, too."""
    settings = dataclasses.asdict(experiment.settings)
    where = request.destination, request.algorithm, settings, experiment.digest
    files = family_of(request.algorithm).files
    with open_output(*where, extra or {}, files) as output:
        yield output


def carried_out(experiment: Experiment, destination: Destination, output: RunOutput) -> Result:
    """Runs with a live table, and records what there is to record."""
    logged = experiment.logged
    print(experiment.opening, flush=True)
    table = LiveTable(logged.last, experiment.header, experiment.cells, unit=logged.unit)
    with output.open_log(logged) as log, table, output.saving:

        def on_rows(rows: Columns) -> None:
            log.write(rows)
            table.show(rows)

        result = experiment.run(on_rows, output.checkpointer, destination.checkpoints.span)
        if result.rows is not None:
            log.write_last(result.rows)
    print(result.closing, flush=True)
    if output.directory is not None:
        import_matplotlib(output.directory.path)
        result.write(output.directory)
        # Last: a run that has a summary is finished.
        output.directory.write_json("summary.json", result.summary)
    return result


def print_written(directory: RunDirectory | None) -> None:
    """Says what was written, or how to have it written."""
    if directory is None:
        print("Nothing was written; --out DIR keeps the table, the policies and plots.")
    else:
        print(f"Written to {directory.path}: {', '.join(directory.names())}", flush=True)
