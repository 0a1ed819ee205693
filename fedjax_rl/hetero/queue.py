"""The queue between samplers and learner, and the rule by which the learner takes a batch.

The version of a batch is the learner step whose parameters sampled it (the paper's id); k is the
number of steps the learner has done. The learner takes

- nothing while the queue is empty or k − newest version in the queue > W;
- else the newest version, where it is newer than the newest ever taken, m;
- else the oldest arrival of version ≥ max(m − W, 0).

In the last case the newest version n in the queue has n ≤ m, so that what is taken has a version
≥ m − W ≥ n − W ≥ k − 2W: no batch is ever staler than 2W. Something can always be taken, for n
itself has n ≥ k − W ≥ m − W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

DISCARDS = ("unusable", "window")
"""``unusable`` drops what the rule would never take, version < m − W; ``window`` drops all of
version < k − W, so that no batch is ever staler than W."""

NOTHING_TAKEN = -1


class QueuedBatch(NamedTuple):
    """A batch by its origin: version, sampler and number; its data are drawn when it is taken.

    Attributes:
        version: the learner step whose parameters sampled it; 0 are the initial ones.
        sampler: who sampled it.
        number: how many batches that sampler had done before.
    """

    version: int
    sampler: int
    number: int


def choose(versions: Sequence[int], steps: int, newest_taken: int, window: int) -> int | None:
    """The index in the queue of the batch to take, or None to wait.

    Args:
        versions: of the queue's batches, in order of arrival.
        steps: k, the steps the learner has done.
        newest_taken: m, or `NOTHING_TAKEN`.
        window: W.
    """
    if not versions:
        return None
    newest = max(versions)
    if steps - newest > window:
        return None
    if newest > newest_taken:
        return versions.index(newest)
    oldest_allowed = max(newest_taken - window, 0)
    return next(index for index, version in enumerate(versions) if version >= oldest_allowed)


class Queue:
    """Batches in order of arrival, and the newest version taken so far.

    Args:
        window: W.
        discard: one of `DISCARDS`.
        capacity: how many batches it holds; the oldest version makes room. None: any number.
    """

    def __init__(self, window: int, discard: str, capacity: int | None):
        self.batches: list[QueuedBatch] = []
        self.discarded: list[QueuedBatch] = []
        self.newest_taken = NOTHING_TAKEN
        self._window = window
        self._strict = discard == "window"
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self.batches)

    def arrive(self, batch: QueuedBatch) -> None:
        """Puts a batch behind the others; where there is no room, the oldest version goes."""
        self.batches.append(batch)
        if self._capacity is not None and len(self.batches) > self._capacity:
            oldest = min(self.batches, key=lambda held: held.version)
            self.batches.remove(oldest)
            self.discarded.append(oldest)

    def take(self, steps: int) -> QueuedBatch | None:
        """The batch for the step after the first ``steps``, or None while there is none."""
        # Before, so that nothing too old is chosen; after, since what is taken may be newer than
        # all that was taken before, and others too old by that.
        self._discard(steps)
        versions = [batch.version for batch in self.batches]
        index = choose(versions, steps, self.newest_taken, self._window)
        if index is None:
            return None
        taken = self.batches.pop(index)
        self.newest_taken = max(self.newest_taken, taken.version)
        self._discard(steps)
        return taken

    def _discard(self, steps: int) -> None:
        since = (steps if self._strict else self.newest_taken) - self._window
        if any(batch.version < since for batch in self.batches):
            self.discarded += [batch for batch in self.batches if batch.version < since]
            self.batches = [batch for batch in self.batches if batch.version >= since]
