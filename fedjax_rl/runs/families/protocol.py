"""What a kind of experiment says of itself, so that runs, sweeps and reports are written once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.runs.devices import DeviceSettings
from fedjax_rl.runs.directory import RunDirectory
from fedjax_rl.runs.keeper import Keeper
from fedjax_rl.runs.loop import Columns, OnRows
from fedjax_rl.runs.paths import Files
from fedjax_rl.runs.sinks.log import Schedule

POINTS = 201
"""Most points of a learning curve of a sweep."""


class Result(NamedTuple):
    """A run behind its last round.

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
    """A run that can start; everything that a user may have set wrong was refused.

    Attributes:
        settings: complete, as ``config.yaml`` records them.
        digest: SHA-256 of the problem's content, and of who watches what.
        logged: which of its rows are logged.
        opening: what is about to run, in words.
        header: of the live table.
        cells: (rows, index) -> the texts of a row under the header.
        run: (on_rows, keeper, chunk) -> `Result`. ``on_rows`` is given the columns of consecutive
            rounds, the keeper is asked before the first round and behind every chunk, and
            ``chunk`` says how many rounds a chunk has instead of so many.
    """

    settings: Any
    digest: str
    logged: Schedule
    opening: str
    header: Sequence[str]
    cells: Callable[[Columns, int], list[str]]
    run: Callable[[OnRows, Keeper, Callable[[int], int]], Result]


class Assembled(NamedTuple):
    """One configuration, ready to be a member of a sweep.

    Attributes:
        program: the arguments of the algorithm's builder and what else its loop over rounds
            depends on. Where these are equal, and the settings have the same shapes, two
            configurations are members of one program.
        algorithm: what the member runs when it is alone.
        hparams: its traced settings.
        prepared: what a single run of this configuration is made of, for its figures.
        rounds: T.
        chunk_rounds: rounds between two visits of the host, of the member alone.
    """

    program: Hashable
    algorithm: Algorithm
    hparams: Pytree
    prepared: Any
    rounds: int
    chunk_rounds: int


class Figures(NamedTuple):
    """What is kept of a member.

    Attributes:
        summary: as ``summary.json`` of the same run alone, but for its timing.
        curves: arrays of at most `POINTS` numbers, all of one length; ``round`` is the abscissa.
    """

    summary: dict[str, Any]
    curves: dict[str, np.ndarray]


class Assembler(Protocol):
    """Makes members of a sweep of their settings; what members have in common is made once.

    Attributes:
        algorithm: name on the command line.
    """

    algorithm: str

    def assemble(self, config: Any) -> Assembled:
        """A member from its settings, of one seed.

        Raises:
            InvalidInput: settings that cannot be used.
        """

    def agents(self, prepared: Any) -> int:
        """N, of a member's preparation."""

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of one member that all members of a group can run, ``size`` at a time."""

    def kept(self, state: Pytree) -> Pytree:
        """The part of the final state that figures are made of."""

    def figures(self, prepared: Any, rows: Pytree, kept: Pytree, failed: int) -> Figures:
        """Figures of a member.

        Args:
            prepared: of its `Assembled`.
            rows: host arrays, leading axis of rounds 0 … T, or fewer when it failed.
            kept: of the last state that was finite, on the host.
            failed: the first round that was not finite, or −1.
        """

    def digest(self, prepared: Any) -> str:
        """SHA-256 of the problem's content."""


class Headline(NamedTuple):
    """The figure that members are compared by unless another is asked for.

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
    """Runs that ``run ALGORITHM --compare`` puts beside the federation.

    Attributes:
        names: the federation's first; also names of the folders of the others.
        settings: (settings, name) -> those of that run.
        table: results by name, in words.
        write: puts results by name into the federation's directory.
    """

    names: tuple[str, ...]
    settings: Callable[[Any, str], Any]
    table: Callable[[Mapping[str, Result]], str]
    write: Callable[[RunDirectory, Mapping[str, Result]], None]


class Family(NamedTuple):
    """A kind of experiment.

    Attributes:
        name: of the family.
        settings: type of its settings, a dataclass that checks its values and whose annotations
            say what depends on them; see `fedjax_rl.settings.fields`.
        algorithms: a line on each, by the name on the command line.
        about: what a run does, for ``--help``.
        headline: what members of a sweep are compared by.
        problem: the setting that names the problem.
        files: settings that may name a file, and whether a value of theirs does.
        prepare: (algorithm, settings, devices) -> what can start; raises InvalidInput.
        assembler: algorithm -> what makes members of a sweep.
        section: (source, name) -> a run's part of a report; see `fedjax_rl.runs.report`.
        presets: settings by name, each on top of the defaults.
        presets_help: a sentence on them.
        references: what a run can be put beside, or None.
    """

    name: str
    settings: type
    algorithms: Mapping[str, str]
    about: str
    headline: Headline
    problem: str
    prepare: Callable[[str, Any, DeviceSettings], Experiment]
    assembler: Callable[[str], Assembler]
    section: Callable[[Any, str], Any]
    files: Files = MappingProxyType({})
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({"default": {}})
    presets_help: str = ""
    references: References | None = None


def thinned(count: int) -> np.ndarray:
    """Indices of at most `POINTS` of ``count`` rows, evenly spread, with the first and last."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
