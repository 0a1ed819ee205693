"""The contract of a family: what runs, sweeps and reports need of a kind of experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fedjax_rl.cluster.devices import DeviceSettings
from fedjax_rl.columns import Columns
from fedjax_rl.errors import flag
from fedjax_rl.figures.description import Figure
from fedjax_rl.records.checkpointer import Checkpointer
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.log import LogSchedule
from fedjax_rl.settings.fields import by_name, declared, without_company
from fedjax_rl.settings.own import Named, extended, named_in
from fedjax_rl.settings.paths import Files
from fedjax_rl.training.loop import OnRows
from fedjax_rl.training.protocol import Assembler


class Result(NamedTuple):
    """The outcome of a run that has ended.

    Attributes:
        summary: what ``summary.json`` holds.
        diverged: whether any of its members did; the others are complete.
        closing: what came out, in words.
        write: puts what the run leaves beside its rows and its summary into a directory.
        rows: columns of all rounds, where a run that diverged ends before the last one.
        own: the family's own result, for what compares several.
    """

    summary: dict[str, Any]
    diverged: bool
    closing: str
    write: Callable[[RunDirectory], None]
    rows: Columns | None = None
    own: Any = None


class Experiment(NamedTuple):
    """A validated run, ready to start.

    Attributes:
        settings: complete, as ``config.yaml`` records them.
        digest: SHA-256 of the problem's content, and of who watches what.
        logged: which of its rows are logged.
        opening: what is about to run, in words.
        header: of the live table.
        cells: (rows, index) -> the texts of a row under the header.
        run: (on_rows, checkpointer, span) -> `Result`. ``on_rows`` is given the columns of
            consecutive rounds, the checkpointer is asked before the first round and after every
            span, and ``span`` says how many rounds a span has instead of so many.
    """

    settings: Any
    digest: str
    logged: LogSchedule
    opening: str
    header: Sequence[str]
    cells: Callable[[Columns, int], list[str]]
    run: Callable[[OnRows, Checkpointer, Callable[[int], int]], Result]


def as_text(value: Any) -> str:
    """The text of a setting's value in a table: lists as YAML would write them in a line."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def settings_as_text(settings: Mapping[str, Any]) -> str:
    """Settings in one line: ``step_size 0.1, local_steps 5``."""
    return ", ".join(f"{name} {as_text(value)}" for name, value in settings.items())


class Headline(NamedTuple):
    """The figure by which members are compared unless another is requested.

    Attributes:
        metric: a column of ``sweep.csv``.
        maximize: whether more is better.
        feasible: the column that says whether the policy of the metric keeps every budget; beside
            it is one that begins with ``relative_violation`` instead. None without budgets.
        feasible_last: the same of metrics that begin with ``last_``, where that is another policy.
    """

    metric: str
    maximize: bool
    feasible: str | None = None
    feasible_last: str | None = None


class References(NamedTuple):
    """Baseline runs that ``run ALGORITHM --compare`` puts beside the federation.

    Attributes:
        names: the federation's first; also names of the folders of the others.
        settings: (algorithm, settings, name) -> those of that run, of which what has no effect
            there is at its default.
        table: results by name, in words.
        write: puts results by name into the federation's directory.
    """

    names: tuple[str, ...]
    settings: Callable[[str, Any, str], Any]
    table: Callable[[Mapping[str, Result]], str]
    write: Callable[[RunDirectory, Mapping[str, Result]], None]


class Comparison(NamedTuple):
    """A family's part in comparisons of configurations: labels, views, rankings, figures.

    A view is something that all configurations are measured after, such as as many local steps.
    Where there are views, members have a figure ``view/name`` of each of them for every name below.

    Attributes:
        label: (swept settings by name) -> a configuration in a few words.
        check: (grid) -> raises InvalidInput for a name in its lists that nothing bears, which
            is a mistake and no combination to leave out.
        same: (settings) -> settings that compute the same, equal where two configurations do.
        views: (settings of all members) -> what each view puts at equal, by its name.
        measured: (assembler, settings of all members) -> one whose figures have the views.
        figures: those in the table, by their headings.
        columns: those of ``comparison.csv``; means over seeds.
        ranked_by: what configurations are ordered by, in a word or two; the headline unless there
            are any. The first of them ranks in ``comparison.csv``.
        draw: (rows and curves of the seeds of each configuration, by what it is called) -> its
            figures; None for the curves of the headline.
    """

    label: Callable[[Mapping[str, Any]], str] = settings_as_text
    check: Callable[[Mapping[str, Sequence[Any]]], None] = lambda grid: None
    same: Callable[[Any], Any] = lambda settings: settings
    views: Callable[[Sequence[Any]], Mapping[str, str]] = lambda settings: {"": ""}
    measured: Callable[[Any, Sequence[Any]], Assembler] = lambda assembler, settings: assembler
    figures: Mapping[str, str] = MappingProxyType({})
    columns: Sequence[str] = ()
    ranked_by: Mapping[str, Headline] = MappingProxyType({})
    draw: Callable[[Mapping[str, Any]], tuple[Figure, ...]] | None = None


class EvaluationRequest(NamedTuple):
    """The options of ``fedjax-rl eval``.

    Attributes:
        episodes: of every policy, at least 100; of policies over tokens responses, one to each
            prompt.
        seed: of the episodes.
        member: which seed's policy is filmed, an index.
        agent: whose dynamics are filmed, and whose policy where nothing was merged.
        film: whether an episode is filmed, where there is something to be seen.
        overwrite: whether an earlier evaluation may be replaced.
        policy: ``last``, of the last round, or ``recommended``, that which the run recommends.
    """

    episodes: int = 128
    seed: int = 1000
    member: int = 0
    agent: int = 0
    film: bool = True
    overwrite: bool = False
    policy: str = "last"


class Family(NamedTuple):
    """A kind of experiment: its algorithms, settings, presets, and how they become a run.

    Attributes:
        name: of the family.
        settings: type of its settings, a dataclass that checks its values and whose annotations
            say what depends on them; see `fedjax_rl.settings.fields`.
        algorithms: a line on each, by the name on the command line.
        about: what a run does, for ``--help``.
        headline: what members of a sweep are compared by.
        problem: the setting that names the problem.
        named: settings whose values name what has settings of its own.
        own: (algorithm, values of ``named``) -> NamedTuples of the settings that the algorithm and
            these have of their own; see `settings_of`.
        unread: (algorithm, settings by name) -> those that have no effect, and what they would
            need, in words; beside what the annotations say of the settings' company.
        files: settings that may name a file, and whether a value of theirs does.
        prepare: (algorithm, settings, devices) -> what can start; raises InvalidInput.
        assembler: algorithm -> what makes members of a sweep.
        section: ``module:function`` of (source, name) -> a run's part of a report; a reference,
            for families know nothing of reports.
        evaluate: ``module:function`` of (directory, `Played`) that evaluates the saved policies of
            a run and writes ``evaluation.json``; empty where there is nothing to play.
        presets: names of settings that a run can start from.
        preset: (algorithm, name of one) -> its settings, on top of the defaults.
        presets_help: a sentence on them.
        references: what a run can be put beside, or None.
        comparison: what it adds where configurations are put side by side.
    """

    name: str
    settings: type
    algorithms: Mapping[str, str]
    about: str
    headline: Headline
    problem: str
    prepare: Callable[[str, Any, DeviceSettings], Experiment]
    assembler: Callable[[str], Assembler]
    section: str
    evaluate: str = ""
    named: tuple[str, ...] = ()
    own: Callable[[str, Named], tuple[Any, ...]] = lambda algorithm, named: ()
    unread: Callable[[str, Mapping[str, Any]], Mapping[str, str]] = lambda algorithm, settings: {}
    files: Files = MappingProxyType({})
    presets: tuple[str, ...] = ("default",)
    preset: Callable[[str, str], Mapping[str, Any]] = lambda algorithm, name: {}
    presets_help: str = ""
    references: References | None = None
    comparison: Comparison = Comparison()


def settings_of(family: Family, algorithm: str | Sequence[str], *sources: Mapping[str, Any]) -> Any:
    """The type of the settings of an algorithm, with those of the plug-ins that are named.

    Args:
        family: of the algorithm.
        algorithm: its name, or those of several that are compared.
        sources: mappings by setting that may name plug-ins (a file, flags, lists of a grid); where
            they name several, the settings of all of them are known.

    Raises:
        InvalidInput: a plug-in that there is not, or a setting of it that has another's name.
    """
    named = named_in(family.settings, family.named, sources)
    algorithms = (algorithm,) if isinstance(algorithm, str) else algorithm
    own = (kind for one in algorithms for kind in family.own(one, named))
    return extended(family.settings, *dict.fromkeys(own))


def without_effect(
    family: Family, algorithm: str, kind: type, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Settings that have no effect beside the others, and what they would need, in words.

    Args:
        family: of the algorithm.
        algorithm: its name.
        kind: type of the settings, which may know those of other plug-ins, too.
        settings: all of them, by name.

    Raises:
        InvalidInput: a plug-in that there is not.
    """
    named = {name: (str(settings[name]),) for name in family.named}
    known = {name for own in family.own(algorithm, named) for name in own._fields}
    known |= declared(family.settings).keys()
    whose = " or ".join(map(flag, family.named)) or "a plug-in"
    others = {name: f"another {whose}" for name in declared(kind) if name not in known}
    return {**without_company(kind, settings), **family.unread(algorithm, settings), **others}


def with_effect(
    family: Family, algorithm: str, kind: type, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings with what has no effect put back to its default.

    Args:
        family: of the algorithm.
        algorithm: its name.
        kind: type of the settings.
        settings: all of them, by name.

    Returns:
        The settings, and what those without effect would need, in words.

    Raises:
        InvalidInput: a plug-in that there is not.
    """
    found, without = dict(settings), dict[str, str]()
    while more := without_effect(family, algorithm, kind, found).items() - without.items():
        without |= dict(more)
        found |= {name: getattr(kind, name) for name, _ in more}
    return found, without


def own_type(family: Family, algorithm: str, settings: Any) -> Any:
    """Settings in the type of their own plug-ins alone; a sweep's type knows all its members'."""
    entries = by_name(settings)
    kind = settings_of(family, algorithm, entries)
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in entries.items() if name in known})
