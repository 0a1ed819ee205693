"""The schedule of an asynchronous run: which batch each learner step uses, as data.

It is computed before anything is sampled: how stale a batch is depends on clocks alone. The
batches themselves are sampled when the learner takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.checks import check_count
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.clock import Clock
from fedjax_rl.hetero.settings import ScheduleSettings, check_settings

Array = np.ndarray[Any, np.dtype[Any]]


class Schedule(NamedTuple):
    """T learner steps k = 1 … T, after `stack` with leading axes [..., T].

    Attributes:
        version: int32 [T], the learner step whose parameters sampled the batch, at most k − 1; 0
            are the initial ones. The `Clock` sets it when a sampler loads parameters.
        sampler: int32 [T], who sampled it.
        batch: int32 [T], the running number of that sampler's batch, from 0: its random stream.
        seconds: float64 [T], the virtual time at which step k ended.
    """

    version: Array
    sampler: Array
    batch: Array
    seconds: Array


class Traffic(NamedTuple):
    """Counts of batches and waiting times of a simulation, for S samplers.

    generated = delivered + lost + discarded + left, for each sampler.

    Attributes:
        generated: int64 [S], batches sampled to the end.
        delivered: int64 [S], of those, the ones that the learner used.
        lost: int64 [S], the ones that never arrived.
        discarded: int64 [S], the ones that were dropped from the queue.
        left: int64 [S], the ones in the queue or on their way.
        sampler_idle: float64 [S], virtual seconds without sampling.
        learner_idle: virtual seconds in which the learner waited for a batch.
        seconds: all virtual seconds.
    """

    generated: Array
    delivered: Array
    lost: Array
    discarded: Array
    left: Array
    sampler_idle: Array
    learner_idle: float
    seconds: float


def simulate(settings: ScheduleSettings, steps: int, seed: int) -> tuple[Schedule, Traffic]:
    """Runs the virtual clock for ``steps`` learner steps.

    The same settings, steps and seed give the same schedule; fewer steps give its beginning. A
    sampler's random streams depend on the seed and on its index alone.

    Raises:
        InvalidInput: a setting makes no sense, or steps come too seldom ever to end.

    Examples:
        With window 0 a batch of 28 s and a step of 28 s follow one another.

        >>> from fedjax_rl.hetero.settings import ScheduleSettings
        >>> schedule, traffic = simulate(ScheduleSettings(window=0, sync_seconds=0.0), 3, seed=0)
        >>> schedule.seconds.tolist(), staleness(schedule).tolist()
        ([56.0, 112.0, 168.0], [0, 0, 0])
    """
    check_settings(settings)
    check_count("steps", steps, least=1)
    check_count("seed", seed, least=0, most=None)
    clock = Clock(settings, seed)
    clock.run(steps)
    version, sampler, batch = np.array(clock.taken, np.int32).T.copy()
    return Schedule(version, sampler, batch, np.array(clock.seconds)), _traffic(clock)


def staleness(schedule: Schedule) -> Array:
    """Learner steps between a batch's parameters and its use, (k − 1) − version [..., T]."""
    return np.arange(schedule.version.shape[-1]) - schedule.version


def depth(schedule: Schedule) -> int:
    """The number of past parameters that a learner must store: the largest staleness + 1."""
    return int(staleness(schedule).max()) + 1


def stack(schedules: Sequence[Schedule]) -> Schedule:
    """Schedules of the same length as one, with a leading axis [B, T].

    Raises:
        InvalidInput: none, or of different lengths.
    """
    lengths = sorted({len(schedule.version) for schedule in schedules})
    if len(lengths) != 1:
        raise InvalidInput("schedules", f"lengths {lengths}", "at least one, all of one length")
    return Schedule(*map(np.stack, zip(*schedules, strict=True)))


def throughput(traffic: Traffic) -> float:
    """Learner steps per virtual second."""
    return float(traffic.delivered.sum() / traffic.seconds)


def wasted(traffic: Traffic) -> float:
    """The fraction of the batches sampled that were lost or discarded."""
    return float((traffic.lost + traffic.discarded).sum() / traffic.generated.sum())


def _traffic(clock: Clock) -> Traffic:
    end, samplers = clock.seconds[-1], clock.samplers
    generated = np.array([sampler.done for sampler in samplers], np.int64)
    lost = np.array([sampler.lost for sampler in samplers], np.int64)
    delivered, discarded = (
        np.bincount([batch.sampler for batch in batches], minlength=len(samplers)).astype(np.int64)
        for batches in (clock.taken, clock.queue.discarded)
    )
    return Traffic(
        generated=generated,
        delivered=delivered,
        lost=lost,
        discarded=discarded,
        left=generated - delivered - lost - discarded,
        sampler_idle=np.array([sampler.idle(end) for sampler in samplers]),
        learner_idle=clock.learner_idle,
        seconds=end,
    )
