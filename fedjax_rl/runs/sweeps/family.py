"""What a sweep needs to know of an algorithm."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.placement import ONE_DEVICE, Placement

POINTS = 201
"""Most points of a learning curve."""


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
    feasible: str | None
    feasible_last: str | None = None


class Family(Protocol):
    """An algorithm, or several with the same settings, as a sweep sees it.

    Attributes:
        algorithm: name on the command line.
        config: type of its settings.
        headline: what members are compared by.
        problem: settings that the content of the problem depends on.
    """

    algorithm: str
    config: type
    headline: Headline
    problem: tuple[str, ...]

    def resolved(self, config: Any) -> Any:
        """The settings with absolute file names."""

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


def thinned(count: int) -> np.ndarray:
    """Indices of at most `POINTS` of ``count`` rows, evenly spread, with the first and last."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def family(algorithm: str) -> Family:
    """The family of an algorithm's name; imports no more than that algorithm needs."""
    if algorithm == "fednpg":
        from fedjax_rl.runs.sweeps.tabular import Tabular

        return Tabular()
    if algorithm in ("fedppo", "fednatural"):
        from fedjax_rl.runs.sweeps.networks import Networks

        return Networks(algorithm)
    from fedjax_rl.runs.sweeps.stale import Stale

    return Stale(algorithm)
