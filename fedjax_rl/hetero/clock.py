"""The virtual clock: events of samplers and learner, in order of time.

A sampler samples batch after batch. Between two of them it looks whether its sync interval has
run out; then it loads the learner's newest parameters and draws the next interval. The learner
takes a batch by the rule of `hetero.queue`, trains on it, and has new parameters; nobody waits
for anybody, except the learner for a batch that it may take.

This never stalls. While the learner waits no sampler pauses and the clock goes on; every sync
interval ends, the version loaded then is the newest there is, and a batch of it that is not lost
may be taken.

With W = 0 the learner takes none but batches of its newest parameters, and a sampler that has
sent one waits for the next parameters. They take a draw of its sync law to reach it (constantly
0: at once), and are the newest there are when they do. A lost batch is made up for by another.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.latency import DRAWS_AT_ONCE, stream
from fedjax_rl.hetero.queue import Queue, QueuedBatch
from fedjax_rl.hetero.settings import SamplerLaws, ScheduleSettings, sampler_laws

EVENTS_PER_STEP = 10_000
"""How many a sampler may cause per learner step, on average: beyond it the learner starves."""


class Event(IntEnum):
    """Kinds of events; of several at the same second the first of these comes first."""

    # The learner's step counts first, so that whoever acts in that second finds its parameters;
    # batches arrive before one is taken, so that it is the newest of them; samplers begin last.
    LEARNER_DONE = 0
    BATCH_DONE = 1
    ARRIVAL = 2
    TAKE = 3
    LOADED = 4
    BEGIN = 5


class Chances(NamedTuple):
    """One sampler's streams of random numbers, each drawn from its own generator.

    A setting that changes how often one is read leaves the others, and other samplers, as they
    were.

    Attributes:
        batch_seconds: for one batch after another.
        sync_seconds: between two loads of parameters; with W = 0, of parameters on their way.
        travel_seconds: of a batch on its way to the learner.
        lost: whether a batch never arrives.
    """

    batch_seconds: Iterator[float]
    sync_seconds: Iterator[float]
    travel_seconds: Iterator[float]
    lost: Iterator[bool]


class Sampler:
    """The state of one sampler: its parameters' version, its batches, its counts.

    Attributes:
        version: of the parameters it has.
        next_sync: when its sync interval runs out.
        done: batches finished so far.
        lost: of those, how many never arrive.
    """

    def __init__(self, chances: Chances):
        self.chances = chances
        self.version = 0
        self.next_sync = next(chances.sync_seconds)
        self.done = 0
        self.lost = 0
        self._sampling = False
        self._free_since = 0.0
        self._idle_before = 0.0

    def begin(self, now: float) -> float:
        """Begins a batch, and says when it will be done."""
        self._idle_before = self.idle(now)
        self._sampling = True
        # Drawn as its own batches come, so that a sampler's times are the same whoever else
        # samples, and however long the learner takes.
        return now + next(self.chances.batch_seconds)

    def end(self, now: float) -> bool:
        """Ends the batch, and says whether it is lost."""
        lost = next(self.chances.lost)
        self.done += 1
        self.lost += lost
        self._sampling = False
        self._free_since = now
        return lost

    def idle(self, now: float) -> float:
        """Seconds up to now in which it did not sample."""
        return self._idle_before + (0.0 if self._sampling else now - self._free_since)


class Clock:
    """Runs the events until the learner has done its steps.

    Attributes:
        queue: what has arrived and was not taken.
        samplers: the samplers.
        taken: the batch of each step.
        seconds: when each step ended.
        learner_idle: seconds the learner waited.
    """

    def __init__(self, settings: ScheduleSettings, seed: int):
        self.queue = Queue(settings.window, settings.discard, settings.capacity)
        self.samplers = [Sampler(chances) for chances in _all_chances(settings, seed)]
        self.taken: list[QueuedBatch] = []
        self.seconds: list[float] = []
        self.learner_idle = 0.0
        self._settings = settings
        self._synchronous = settings.window == 0
        self._learner_waits = True
        self._learner_free_since = 0.0
        self._paused: list[int] = []
        self._events: list[tuple[float, Event, int, int, Any]] = []
        self._scheduled = 0

    def run(self, steps: int) -> None:
        """The events of the first ``steps`` learner steps, from a fresh clock.

        Raises:
            InvalidInput: a law gives what is no time, or steps come too seldom ever to end.
        """
        react = {
            Event.LEARNER_DONE: self._learner_done,
            Event.BATCH_DONE: self._batch_done,
            Event.ARRIVAL: self._arrival,
            Event.TAKE: self._take,
            Event.LOADED: self._loaded,
            Event.BEGIN: self._begin,
        }
        for who in range(len(self.samplers)):
            self._at(0.0, Event.BEGIN, who)
        while len(self.seconds) < steps:
            now, event, who, _, batch = heapq.heappop(self._events)
            react[event](now, who, batch)
            self._check_progress(now)

    def _check_progress(self, now: float) -> None:
        steps = len(self.seconds)
        if self._scheduled > EVENTS_PER_STEP * len(self.samplers) * (steps + 1):
            raise InvalidInput(
                "sampler_seconds",
                f"{self._scheduled} events in {now:g} s, for {steps} learner steps",
                "longer batches, shorter syncs or less packet loss",
            )

    def _at(
        self, when: float, event: Event, who: int = 0, batch: QueuedBatch | None = None
    ) -> None:
        # A running number, or what is equal up to there would be told apart by its batch.
        self._scheduled += 1
        heapq.heappush(self._events, (when, event, who, self._scheduled, batch))

    def _learner_done(self, now: float, _who: int, _batch: Any) -> None:
        self.seconds.append(now)
        self._learner_waits = True
        self._learner_free_since = now
        # An event and no call: what arrives at this very moment is in the queue before it is asked.
        self._at(now, Event.TAKE)
        if self._synchronous:
            for who in self._woken():
                self._ask(now, who)

    def _take(self, now: float, _who: int, _batch: Any) -> None:
        if not self._learner_waits:
            return
        batch = self.queue.take(len(self.seconds))
        if batch is not None:
            self._learner_waits = False
            self.learner_idle += now - self._learner_free_since
            self.taken.append(batch)
            self._at(now + self._settings.learner_seconds, Event.LEARNER_DONE)
        if not self._synchronous:
            for who in self._woken():
                self._at(now, Event.BEGIN, who)

    def _woken(self) -> list[int]:
        woken, self._paused = self._paused, []
        return woken

    def _begin(self, now: float, who: int, _batch: Any) -> None:
        sampler = self.samplers[who]
        if not self._synchronous:
            if self._must_pause():
                self._paused.append(who)
                return
            # Between two batches only: a batch is written by one version from end to end.
            if now >= sampler.next_sync:
                sampler.version = len(self.seconds)
                sampler.next_sync = now + next(sampler.chances.sync_seconds)
        self._at(sampler.begin(now), Event.BATCH_DONE, who)

    def _must_pause(self) -> bool:
        limit = self._settings.pacing
        return limit is not None and len(self.queue) >= limit and not self._learner_waits

    def _ask(self, now: float, who: int) -> None:
        self._at(now + next(self.samplers[who].chances.sync_seconds), Event.LOADED, who)

    def _loaded(self, now: float, who: int, _batch: Any) -> None:
        self.samplers[who].version = len(self.seconds)
        self._at(now, Event.BEGIN, who)

    def _batch_done(self, now: float, who: int, _batch: Any) -> None:
        sampler = self.samplers[who]
        batch = QueuedBatch(sampler.version, who, sampler.done)
        lost = sampler.end(now)
        if not lost:
            self._at(now + next(sampler.chances.travel_seconds), Event.ARRIVAL, who, batch)
        # Without staleness a batch of an old version is of no use, and its sampler asks for the
        # new one; one that was lost is sampled again, or the learner would wait for ever.
        if self._synchronous and sampler.version < len(self.seconds):
            self._ask(now, who)
        elif self._synchronous and not lost:
            self._paused.append(who)
        else:
            self._at(now, Event.BEGIN, who)

    def _arrival(self, now: float, _who: int, batch: Any) -> None:
        self.queue.arrive(batch)
        # Only for what it may take: a batch that is too old would wake it for nothing.
        if self._learner_waits and len(self.seconds) - batch.version <= self._settings.window:
            self._at(now, Event.TAKE)


def _all_chances(settings: ScheduleSettings, seed: int) -> Iterator[Chances]:
    laws = sampler_laws(settings)
    # Spawned by index: one sampler more leaves the streams of the others as they were.
    for law, of_sampler in zip(laws, np.random.SeedSequence(seed).spawn(len(laws)), strict=True):
        yield _chances(settings, law, *map(np.random.default_rng, of_sampler.spawn(5)))


def _chances(
    settings: ScheduleSettings,
    laws: SamplerLaws,
    of_batch: np.random.Generator,
    of_sync: np.random.Generator,
    of_travel: np.random.Generator,
    of_jitter: np.random.Generator,
    of_loss: np.random.Generator,
) -> Chances:
    seconds = stream("sampler_seconds", laws.batch, of_batch, above_zero=True)
    factors = _jitter(settings.jitter, of_jitter)
    return Chances(
        batch_seconds=(a * b for a, b in zip(seconds, factors, strict=True)),
        sync_seconds=stream("sync_seconds", laws.sync, of_sync),
        travel_seconds=stream("travel_seconds", laws.travel, of_travel),
        lost=_losses(settings.packet_loss, of_loss),
    )


def _jitter(deviation: float, generator: np.random.Generator) -> Iterator[float]:
    while True:
        normal = generator.standard_normal(DRAWS_AT_ONCE)
        yield from np.exp(deviation * normal - deviation**2 / 2.0).tolist()


def _losses(probability: float, generator: np.random.Generator) -> Iterator[bool]:
    while True:
        yield from (generator.random(DRAWS_AT_ONCE) < probability).tolist()
