"""Schedules: the pop rule, traces by hand, bounds on staleness, and what the traffic adds up to."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.clock import Clock, Event
from fedjax_rl.hetero.latency import Latency, empirical, fixed, latencies
from fedjax_rl.hetero.queue import NOTHING_TAKEN, Queue, QueuedBatch, choose
from fedjax_rl.hetero.schedule import (
    Schedule,
    Traffic,
    depth,
    simulate,
    stack,
    staleness,
    throughput,
    wasted,
)
from fedjax_rl.hetero.settings import ScheduleSettings

QUICK = ScheduleSettings(samplers=3, window=4, sampler_seconds=(20.0, 35.0, 50.0))
NEVER = 1e12


def law(name: str, **settings: float) -> Latency:
    found = latencies.make(name)
    own = {f"latency_{key}": value for key, value in settings.items()}
    made: Latency = found.latency(found.settings(**own))
    return made


def same(one: Schedule, other: Schedule) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("versions", "steps", "newest_taken", "window", "index"),
    [
        ([], 3, 2, 4, None),
        ([0, 0], 0, NOTHING_TAKEN, 4, 0),  # the first batch ever is news
        ([0, 2, 5, 5, 4], 6, 3, 4, 2),  # 5 is newer than 3: its first arrival
        ([0, 2, 5, 5, 4], 6, 5, 4, 1),  # no news: the oldest arrival of at least 5 − 4
        ([0, 2, 5, 5, 4], 9, 9, 4, 2),  # 5 is just new enough, and then 9 − 4 the bound
        ([0, 2, 5, 5, 4], 10, 5, 4, None),  # 10 − 5 > 4
        ([3, 1], 3, 3, 4, 0),  # the oldest arrival, not the oldest version
        ([2], 3, 2, 0, None),  # synchronous: only version 3 will do
        ([2, 3], 3, 2, 0, 1),
    ],
)
def test_the_rule_for_taking(
    versions: list[int], steps: int, newest_taken: int, window: int, index: int | None
) -> None:
    assert choose(versions, steps, newest_taken, window) == index


def filled(queue: Queue, versions: list[int]) -> Queue:
    for number, version in enumerate(versions):
        queue.arrive(QueuedBatch(version, 0, number))
    return queue


def test_what_can_never_be_taken_is_discarded() -> None:
    queue = filled(Queue(window=2, discard="unusable", capacity=None), [0, 1, 3, 5])
    assert queue.take(steps=5) == QueuedBatch(5, 0, 3)
    assert [batch.version for batch in queue.batches] == [3]
    assert [batch.version for batch in queue.discarded] == [0, 1]


def test_what_is_behind_the_window_is_discarded_where_asked() -> None:
    queue = filled(Queue(window=2, discard="window", capacity=None), [2, 3, 4])
    assert queue.take(steps=6) == QueuedBatch(4, 0, 2)
    assert [batch.version for batch in queue.discarded] == [2, 3]


def test_the_oldest_version_makes_room() -> None:
    queue = filled(Queue(window=9, discard="unusable", capacity=2), [4, 3, 3, 5])
    assert queue.batches == [QueuedBatch(4, 0, 0), QueuedBatch(5, 0, 3)]
    assert queue.discarded == [QueuedBatch(3, 0, 1), QueuedBatch(3, 0, 2)]


def test_a_schedule_by_hand() -> None:
    """Samplers A (10 s a batch) and B (15 s), syncs after 25 s, learner 10 s, W = 1.

     0 A0 and B0 begin, version 0
    10 A0 is taken for step 1 (k = 0)                                  A1 begins, version 0
    15 B0 arrives                                                      B1 begins, version 0
    20 step 1 ends; A1 arrives; B0, the older, is taken (k = 1)        A2 begins, version 0
    30 step 2 ends; A2, B1 arrive; all have version 0, k = 2: wait     A3, B2 begin, version 2
    40 A3 is taken (news); A1, A2, B1 are older than 2 − 1: discarded  A4 begins, version 2
    45 B2 arrives                                                      B3 begins, version 2
    50 step 3 ends; A4 arrives; B2 is taken (k = 3)                    A5 begins, version 2
    60 step 4 ends; A5, B3 arrive; all have version 2, k = 4: wait     A6, B4 begin, version 4
    70 A6 is taken (news); A4, A5, B3 are older than 4 − 1: discarded  A7 begins, version 4
    75 B4 arrives                                                      B5 begins, version 4
    80 step 5 ends
    """
    settings = ScheduleSettings(
        samplers=2,
        window=1,
        learner_seconds=10.0,
        sampler_seconds=(10.0, 15.0),
        sync_seconds=25.0,
    )
    schedule, traffic = simulate(settings, steps=5, seed=0)
    assert schedule.version.tolist() == [0, 0, 2, 2, 4]
    assert schedule.sampler.tolist() == [0, 1, 0, 1, 0]
    assert schedule.batch.tolist() == [0, 0, 3, 2, 6]
    assert schedule.seconds.tolist() == [20.0, 30.0, 50.0, 60.0, 80.0]
    assert staleness(schedule).tolist() == [0, 1, 0, 1, 0]
    assert depth(schedule) == 2
    assert traffic.generated.tolist() == [7, 5]
    assert traffic.delivered.tolist() == [3, 2]
    assert traffic.discarded.tolist() == [4, 2]
    assert traffic.left.tolist() == [0, 1]  # B4
    assert (traffic.learner_idle, traffic.sampler_idle.tolist()) == (30.0, [0.0, 0.0])
    assert throughput(traffic) == 5 / 80.0
    assert wasted(traffic) == 6 / 12


def test_a_synchronous_schedule_by_hand() -> None:
    """As above with W = 0, and parameters that take 5 s to a sampler.

    Steps end at 20, 45, 70: 10 s of sampling by A, 10 s of learning, 5 s on the way. B is always
    5 s too late: its batches 0–15, 25–40 and 50–65 are never used.
    """
    settings = ScheduleSettings(
        samplers=2,
        window=0,
        learner_seconds=10.0,
        sampler_seconds=(10.0, 15.0),
        sync_seconds=5.0,
    )
    schedule, traffic = simulate(settings, steps=3, seed=0)
    assert schedule.version.tolist() == [0, 1, 2]
    assert schedule.sampler.tolist() == [0, 0, 0]
    assert schedule.batch.tolist() == [0, 1, 2]
    assert schedule.seconds.tolist() == [20.0, 45.0, 70.0]
    assert traffic.generated.tolist() == [3, 3]
    assert traffic.discarded.tolist() == [0, 2]
    assert traffic.left.tolist() == [0, 1]
    assert traffic.sampler_idle.tolist() == [70.0 - 30.0, 70.0 - 45.0]
    assert traffic.learner_idle == 70.0 - 30.0


def test_a_late_synchronous_sampler_skips_versions() -> None:
    """B needs 42 s: it begins at 0, is done at 42, and at 47 holds version 2, of second 45."""
    settings = ScheduleSettings(
        samplers=2,
        window=0,
        learner_seconds=10.0,
        sampler_seconds=(10.0, 42.0),
        sync_seconds=5.0,
    )
    schedule, traffic = simulate(settings, steps=4, seed=0)
    assert schedule.seconds.tolist() == [20.0, 45.0, 70.0, 95.0]
    assert schedule.sampler.tolist() == [0, 0, 0, 0]
    assert traffic.generated.tolist() == [4, 2]  # B's second is done at 89


def test_batches_overtake_on_the_way() -> None:
    """A's batches take 25 s to the queue, B's none: B1, of second 20, is there before A0."""
    settings = ScheduleSettings(
        samplers=2, learner_seconds=1.0, sampler_seconds=10.0, travel_seconds=(25.0, 0.0)
    )
    schedule, traffic = simulate(settings, steps=4, seed=0)
    assert schedule.sampler.tolist() == [1, 1, 1, 0]
    assert schedule.batch.tolist() == [0, 1, 2, 0]
    assert schedule.seconds.tolist() == [11.0, 21.0, 31.0, 36.0]
    assert traffic.left.tolist() == [2, 0]  # A1 and A2 are on their way


WORLDS = [
    dict(zip(("window", "sync", "seconds", "extra"), values, strict=True))
    for values in itertools.product(
        [0, 1, 4, 32],
        [
            law("lognormal"),
            law("weibull", low=1.0, high=5000.0, offset=0.0),
            law("exponential", low=20.0, high=400.0),
            fixed(0.0),
            fixed(333.0),
            empirical([0.0, 7.0, 4000.0]),
        ],
        [7.0, 28.0, 200.0],
        [
            {},
            {"samplers": 1, "packet_loss": 0.5},
            {"jitter": 1.0, "travel_seconds": law("exponential", low=1.0, high=300.0)},
            {"pacing": 3, "packet_loss": 0.2, "jitter": 0.3},
            {"discard": "window", "samplers": 9},
            {"capacity": 2, "travel_seconds": 40.0, "packet_loss": 0.3},
        ],
    )
]


EVERY = 5  # has no factor in common with the number of any choice: all pairs of choices occur


@pytest.mark.parametrize("world", WORLDS[::EVERY], ids=lambda world: f"W={world['window']}")
def test_invariants_hold_in_many_worlds(world: dict[str, Any]) -> None:
    window = world["window"]
    settings = ScheduleSettings(
        window=window,
        sync_seconds=world["sync"],
        sampler_seconds=world["seconds"],
        **world["extra"],
    )
    for seed in range(2):
        schedule, traffic = simulate(settings, steps=200, seed=seed)
        stale = staleness(schedule)
        bound = window if settings.discard == "window" else 2 * window
        assert stale.min() >= 0
        assert stale.max() <= bound
        check_schedule(settings, schedule)
        check_traffic(settings, schedule, traffic)


def check_schedule(settings: ScheduleSettings, schedule: Schedule) -> None:
    assert [a.dtype for a in schedule] == [np.int32, np.int32, np.int32, np.float64]
    durations = np.diff(schedule.seconds, prepend=0.0)
    assert durations.min() >= settings.learner_seconds * (1 - 1e-9)
    taken = set(zip(schedule.sampler.tolist(), schedule.batch.tolist(), strict=True))
    assert len(taken) == len(schedule.batch), "a batch was used twice"
    assert schedule.sampler.min() >= 0
    assert schedule.sampler.max() < settings.samplers
    for who in range(settings.samplers):
        its = schedule.sampler == who
        versions = schedule.version[its][np.argsort(schedule.batch[its])]
        assert np.all(np.diff(versions) >= 0), "a sampler went back to older parameters"


def check_traffic(settings: ScheduleSettings, schedule: Schedule, traffic: Traffic) -> None:
    steps = len(schedule.version)
    assert traffic.delivered.sum() == steps
    used = np.bincount(schedule.sampler, minlength=settings.samplers)
    np.testing.assert_array_equal(traffic.delivered, used)
    assert traffic.left.min() >= 0
    assert traffic.seconds == schedule.seconds[-1]
    worked = settings.learner_seconds * steps
    assert traffic.learner_idle == pytest.approx(traffic.seconds - worked)
    assert np.all((traffic.sampler_idle >= 0) & (traffic.sampler_idle <= traffic.seconds))
    if settings.window > 0 and settings.pacing is None:
        assert not traffic.sampler_idle.any()


@pytest.mark.parametrize("window", [0, 4, 32])
def test_what_is_left_is_what_the_clock_still_holds(window: int) -> None:
    """``left`` is a difference in the record; here it is counted, from the clock's own queues."""
    settings = QUICK._replace(window=window, packet_loss=0.2, travel_seconds=60.0)
    clock = Clock(settings, seed=1)
    clock.run(200)
    on_their_way = [event[-1] for event in clock._events if event[1] is Event.ARRIVAL]
    held = [batch.sampler for batch in (*clock.queue.batches, *on_their_way)]
    traffic = simulate(settings, 200, seed=1)[1]
    np.testing.assert_array_equal(traffic.left, np.bincount(held, minlength=3))
    assert traffic.lost.sum() > 0
    assert traffic.discarded.sum() > 0


@pytest.mark.parametrize("window", [0, 4])
def test_the_seed_decides(window: int) -> None:
    settings = QUICK._replace(window=window, jitter=0.2, packet_loss=0.1)
    one, other = simulate(settings, 100, seed=5)[0], simulate(settings, 100, seed=5)[0]
    assert same(one, other)
    assert not same(one, simulate(settings, 100, seed=6)[0])
    beginning = simulate(settings, 40, seed=5)[0]
    assert same(beginning, Schedule(*(array[:40] for array in one)))


@pytest.mark.parametrize("window", [0, 4])
def test_another_sampler_leaves_the_streams_of_the_rest(window: int) -> None:
    """The fourth never finishes a batch, so that the schedule shows the first three alone."""
    settings = QUICK._replace(window=window, jitter=0.2, packet_loss=0.1)
    more = settings._replace(samplers=4, sampler_seconds=(*QUICK.sampler_seconds, NEVER))
    assert same(simulate(settings, 200, seed=3)[0], simulate(more, 200, seed=3)[0])


def test_samplers_have_streams_of_their_own() -> None:
    """Equal laws, and yet (unlike one seed for all) the samplers never sync together again."""
    settings = ScheduleSettings(window=32, sync_seconds=law("weibull"))
    schedule = simulate(settings, 400, seed=0)[0]
    versions = [set(schedule.version[schedule.sampler == who]) - {0} for who in range(4)]
    assert all(versions)
    shared = set.intersection(*versions)
    assert len(shared) <= 1


@pytest.mark.parametrize(("window", "paper_mean", "paper_largest"), [(32, 26.5, 64), (4, 3.0, 8)])
@pytest.mark.parametrize("name", ["lognormal", "weibull"])
def test_staleness_is_the_published_one(
    name: str, window: int, paper_mean: float, paper_largest: int
) -> None:
    """28 s per learner step and per batch, four samplers: within 20 % of the measured means."""
    settings = ScheduleSettings(window=window, sync_seconds=law(name))
    seen = np.array([staleness(simulate(settings, 1000, seed)[0]) for seed in range(8)])
    assert seen.max() <= paper_largest
    assert abs(seen.mean() / paper_mean - 1.0) < 0.2


def test_slower_samplers_mean_fresher_batches() -> None:
    means = [
        np.mean([staleness(simulate(settings, 600, seed)[0]).mean() for seed in range(4)])
        for settings in (ScheduleSettings(sampler_seconds=slow) for slow in (56.0, 112.0, 224.0))
    ]
    np.testing.assert_allclose(means, [25.0, 12.9, 9.1], rtol=0.1)


def test_waiting_costs_time() -> None:
    """At equal settings the synchronous learner is idle for most of the time."""
    synchronous = simulate(ScheduleSettings(window=0), 300, seed=0)[1]
    asynchronous = simulate(ScheduleSettings(window=32), 300, seed=0)[1]
    assert asynchronous.learner_idle == 28.0  # only for the very first batch
    assert synchronous.learner_idle > 0.5 * synchronous.seconds
    assert throughput(asynchronous) > 3.0 * throughput(synchronous)


def test_synchronous_without_latency_samples_then_learns() -> None:
    schedule, traffic = simulate(ScheduleSettings(window=0, sync_seconds=0.0), 50, seed=0)
    np.testing.assert_array_equal(schedule.seconds, 56.0 * np.arange(1, 51))
    assert traffic.learner_idle == 28.0 * 50
    assert traffic.generated.tolist() == [50] * 4


def test_lost_batches_are_gone() -> None:
    settings = QUICK._replace(packet_loss=0.3)
    traffic = simulate(settings, 1000, seed=0)[1]
    fraction = traffic.lost.sum() / traffic.generated.sum()
    assert fraction == pytest.approx(0.3, abs=0.03)
    unharmed = simulate(QUICK, 1000, seed=0)[1]
    assert unharmed.lost.sum() == 0
    assert wasted(traffic) > 0.3


def test_a_lost_synchronous_batch_is_made_up_for() -> None:
    """One sampler: step k takes as many batches as until one arrives, so lost + steps in all."""
    settings = ScheduleSettings(
        samplers=1, window=0, sync_seconds=0.0, sampler_seconds=10.0, packet_loss=0.5
    )
    schedule, traffic = simulate(settings, 300, seed=0)
    assert not staleness(schedule).any()
    assert traffic.lost[0] == pytest.approx(300, abs=75)
    assert traffic.generated[0] == 300 + traffic.lost[0]
    assert traffic.seconds == 28.0 * 300 + 10.0 * traffic.generated[0]


def test_jitter_keeps_the_mean_time_for_a_batch() -> None:
    """One sampler that is far slower than the learner: the clock counts its batches."""
    settings = ScheduleSettings(samplers=1, learner_seconds=1e-3, sampler_seconds=100.0)
    steady = simulate(settings, 2000, seed=0)[1]
    shaken = simulate(settings._replace(jitter=0.5), 2000, seed=0)[0]
    assert steady.seconds == pytest.approx(100.0 * 2000, rel=1e-6)
    durations = np.diff(shaken.seconds)
    assert durations.mean() == pytest.approx(100.0, rel=0.05)
    assert np.log(durations).std() == pytest.approx(0.5, rel=0.05)


def test_pacing_trades_idle_samplers_for_waste() -> None:
    free = simulate(ScheduleSettings(), 400, seed=0)[1]
    paced = simulate(ScheduleSettings(pacing=8), 400, seed=0)[1]
    assert free.sampler_idle.sum() == 0.0
    assert paced.sampler_idle.sum() > 0.5 * 4 * paced.seconds
    assert wasted(paced) < 0.2 * wasted(free)
    assert throughput(paced) > 0.9 * throughput(free)


def test_a_paced_queue_of_old_batches_does_not_stall() -> None:
    """Five batches of version 0 fill the queue, and the learner wants newer ones."""
    settings = ScheduleSettings(window=1, pacing=1, sampler_seconds=2.0, sync_seconds=500.0)
    schedule, traffic = simulate(settings, 40, seed=0)
    assert schedule.version.max() > 30
    assert staleness(schedule).max() <= 2
    assert traffic.learner_idle > 0.5 * traffic.seconds


def test_schedules_stack() -> None:
    two = [simulate(QUICK, 30, seed)[0] for seed in (0, 1)]
    stacked = stack(two)
    assert stacked.version.shape == stacked.seconds.shape == (2, 30)
    np.testing.assert_array_equal(staleness(stacked), [staleness(one) for one in two])
    assert depth(stacked) == max(map(depth, two))
    for schedules in ([], [two[0], simulate(QUICK, 29, 0)[0]]):
        with pytest.raises(InvalidInput, match="schedules: got lengths"):
            stack(schedules)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samplers": 0}, "samplers: got 0; a whole number of at least 1"),
        ({"samplers": True}, "samplers: got True; a whole number of at least 1"),
        ({"window": -1}, "window: got -1; a whole number of at least 0"),
        ({"window": 1.5}, "window: got 1.5; a whole number of at least 0"),
        ({"learner_seconds": 0.0}, "learner_seconds: got 0.0; a positive number"),
        ({"learner_seconds": -28}, "learner_seconds: got -28; a positive number"),
        ({"sampler_seconds": 0.0}, "sampler_seconds: got 0.0; a positive number"),
        ({"sampler_seconds": "slow"}, "sampler_seconds: got slow; a positive number"),
        (
            {"sampler_seconds": (28.0, -1.0, 28.0, 28.0)},
            "sampler_seconds: got -1.0; a positive number",
        ),
        (
            {"sampler_seconds": (28.0, 28.0)},
            "sampler_seconds: got 2 laws; one law, or one for each of 4",
        ),
        ({"sync_seconds": -1.0}, "sync_seconds: got -1.0; a number of at least 0"),
        (
            {"travel_seconds": float("nan")},
            "travel_seconds: got nan; a number of at least 0",
        ),
        ({"jitter": -0.1}, "jitter: got -0.1; a number of at least 0"),
        ({"jitter": 4.0}, "jitter: got 4.0; at most 3.0"),
        ({"packet_loss": 1.0}, "packet_loss: got 1.0; a number in [0, 1)"),
        ({"packet_loss": -0.1}, "packet_loss: got -0.1; a number in [0, 1)"),
        ({"pacing": 0}, "pacing: got 0; a whole number of at least 1"),
        ({"capacity": 0}, "capacity: got 0; a whole number of at least 1"),
        ({"discard": "none"}, "discard: got 'none'; one of unusable, window"),
        (
            {"sampler_seconds": empirical([0.0])},
            "sampler_seconds: got a draw of 0.0; a law of finite times above 0 seconds",
        ),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        simulate(ScheduleSettings()._replace(**change), 10, seed=0)
    assert str(raised.value) == message


@pytest.mark.parametrize(("steps", "seed"), [(0, 0), (10, -1), (2.0, 0)])
def test_steps_and_seeds_that_make_no_sense(steps: Any, seed: Any) -> None:
    with pytest.raises(InvalidInput, match="a whole number of at least"):
        simulate(ScheduleSettings(), steps, seed)


@pytest.mark.parametrize(
    "change", [{"sampler_seconds": 1e-6}, {"packet_loss": 0.999999}, {"sync_seconds": NEVER}]
)
def test_a_starved_learner_is_an_error_not_a_hang(change: dict[str, Any]) -> None:
    settings = ScheduleSettings(samplers=1, window=2)._replace(**change)
    with pytest.raises(InvalidInput, match=r"sampler_seconds: got .* learner steps; longer"):
        simulate(settings, 100, seed=0)
