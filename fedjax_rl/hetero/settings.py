"""Settings of the simulation of samplers and learner."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from fedjax_rl.checks import check_count, checked, in_range, not_negative, positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.hetero.latency import Latency, QuantileSettings, fixed, log_normal
from fedjax_rl.hetero.queue import DISCARDS

Law = Latency | float
Laws = Law | tuple[Law, ...]
"""One law for all samplers, or a tuple with one for each; a number of seconds is a constant."""

SECONDS = 28.0
"""Of a batch, and of a learner step."""
LARGEST_JITTER = 3.0
"""Beyond it the factor has no use: its median is e^(−σ²/2), its mean carried by rare giants."""


class ScheduleSettings(NamedTuple):
    """One learner, its samplers, and what lies between them. Times are virtual seconds.

    Attributes:
        samplers: how many there are.
        window: W of the pop rule (`hetero.queue`); 0 is synchronous.
        learner_seconds: of one learner step.
        sampler_seconds: laws of the time a sampler takes for one batch; above 0.
        sync_seconds: laws of the time between two syncs of a sampler; with W = 0, of the time the
            parameters take to a sampler.
        travel_seconds: laws of the time a batch takes to the queue; batches may overtake.
        jitter: σ in [0, 3] of a factor exp(σz − σ²/2), z standard normal, on the time for each
            batch; its mean is 1.
        packet_loss: probability that a batch never arrives.
        pacing: samplers begin no batch while the queue holds this many and the learner does not
            wait; None: they never pause.
        discard: which batches are dropped as too old, one of `hetero.queue.DISCARDS`.
        capacity: how many batches the queue holds before one of the oldest version is
            dropped; None: any number.
    """

    samplers: int = 4
    window: int = 32
    learner_seconds: float = SECONDS
    sampler_seconds: Laws = SECONDS
    sync_seconds: Laws = log_normal(QuantileSettings())
    travel_seconds: Laws = 0.0
    jitter: float = 0.0
    packet_loss: float = 0.0
    pacing: int | None = None
    discard: Literal["unusable", "window"] = "unusable"
    capacity: int | None = None


DEFAULTS = ScheduleSettings()
"""Those of the command line, too."""


class SamplerLaws(NamedTuple):
    """The laws of one sampler.

    Attributes:
        batch: of the seconds it takes to sample a batch.
        sync: of the seconds between two loads of parameters.
        travel: of the seconds that a batch is on its way.
    """

    batch: Latency
    sync: Latency
    travel: Latency


def check_settings(settings: ScheduleSettings) -> None:
    """Raises InvalidInput where a setting makes no sense."""
    check_count("samplers", settings.samplers, least=1)
    check_count("window", settings.window, least=0)
    checked("learner_seconds", settings.learner_seconds, positive)
    checked("jitter", settings.jitter, not_negative)
    if settings.jitter > LARGEST_JITTER:
        raise InvalidInput("jitter", settings.jitter, f"at most {LARGEST_JITTER}")
    checked("packet_loss", settings.packet_loss, in_range(0, 1, "[)"))
    for field in ("pacing", "capacity"):
        if getattr(settings, field) is not None:
            check_count(field, getattr(settings, field), least=1)
    if settings.discard not in DISCARDS:
        raise InvalidInput("discard", repr(settings.discard), f"one of {', '.join(DISCARDS)}")


def sampler_laws(settings: ScheduleSettings) -> list[SamplerLaws]:
    """The laws of each sampler.

    Raises:
        InvalidInput: a tuple has not one law per sampler, or a number is no time.
    """
    fields = ("sampler_seconds", "sync_seconds", "travel_seconds")
    columns = [_per_sampler(field, getattr(settings, field), settings.samplers) for field in fields]
    return [SamplerLaws(*row) for row in zip(*columns, strict=True)]


def _per_sampler(field: str, laws: Any, samplers: int) -> list[Latency]:
    single = isinstance(laws, Latency) or not isinstance(laws, tuple | list)
    each = [laws] * samplers if single else list(laws)
    if len(each) != samplers:
        raise InvalidInput(field, f"{len(each)} laws", f"one law, or one for each of {samplers}")
    return [_as_law(field, law) for law in each]


def _as_law(field: str, law: Any) -> Latency:
    if isinstance(law, Latency):
        return law
    checked(field, law, positive if field == "sampler_seconds" else not_negative)
    return fixed(law)
