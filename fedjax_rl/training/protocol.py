"""The contract of members of a sweep, and of what assembles them from settings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.execution.placement import ONE_DEVICE, Placement

POINTS = 201
"""Most points of a learning curve of a sweep."""


class Assembled(NamedTuple):
    """One configuration, assembled and ready to be a member of a sweep.

    Attributes:
        program: the arguments of the algorithm's builder and what else its loop over rounds
            depends on. Where these are equal, and the settings have the same shapes, two
            configurations are members of one program.
        algorithm: what the member runs when it is alone.
        hparams: its traced settings.
        prepared: what a single run of this configuration is made of, for its figures.
        rounds: T.
        span_rounds: rounds between two visits of the host, of the member alone.
    """

    program: Hashable
    algorithm: Algorithm
    hparams: Pytree
    prepared: Any
    rounds: int
    span_rounds: int


class MemberResult(NamedTuple):
    """The results that are recorded of a member.

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
        """The number of agents N of a member."""

    def at_once(self, prepared: Any, members: int) -> int:
        """How many of so many members on one device are computed at a time; at least 1."""

    def together(
        self, members: Sequence[Assembled], size: int, placement: Placement = ONE_DEVICE
    ) -> Algorithm:
        """The algorithm of one member that all members of a group can run, ``size`` at a time."""

    def outcome(self, algorithm: Algorithm, state: Pytree) -> Pytree:
        """The part of the final state, or of its report, that figures are made of.

        Args:
            algorithm: whose state it is, of all members of a chunk or of one.
            state: of that algorithm.
        """

    def result(self, prepared: Any, rows: Pytree, outcome: Pytree, failed: int) -> MemberResult:
        """The summary and curves of a member that has run.

        Args:
            prepared: of its `Assembled`.
            rows: host arrays, leading axis of rounds 0 … T, or fewer when it failed.
            outcome: of the last state that was finite, on the host.
            failed: the first round that was not finite, or −1.
        """

    def digest(self, prepared: Any) -> str:
        """SHA-256 of the problem's content, for the record."""


def thinned(count: int) -> np.ndarray:
    """Indices of at most `POINTS` of ``count`` rows, evenly spread, with the first and last."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
