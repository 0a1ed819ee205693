"""The laws of latency and what the virtual clock is told, from settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.traces import law_of
from fedjax_rl.hetero.latency import Latency
from fedjax_rl.hetero.settings import ScheduleSettings
from fedjax_rl.settings.own import own_values

FLAGS = {"times": "--latency", "sync_seconds": "--latency"}


@contextlib.contextmanager
def named_by_flags() -> Iterator[None]:
    """Laws and clocks know their settings by other names than the command line's.

    Raises:
        InvalidInput: the one raised inside, with the command line's name of its field.
    """
    try:
        yield
    except InvalidInput as error:
        if error.field.startswith("--"):
            raise
        name = FLAGS.get(error.field, flag(error.field))
        raise InvalidInput(name, error.value, error.allowed) from None


def schedule_settings(config: HeteroConfig, window: int, law: Latency) -> ScheduleSettings:
    """The settings of the virtual clock."""
    each = config.sampler_seconds
    return ScheduleSettings(
        samplers=config.samplers,
        window=window,
        learner_seconds=config.learner_seconds,
        sampler_seconds=each[0] if len(each) == 1 else tuple(each),
        sync_seconds=law,
        travel_seconds=config.travel_seconds,
        jitter=config.jitter,
        packet_loss=config.packet_loss,
        pacing=config.pacing,
        discard=config.discard,
    )


def latency_of(config: HeteroConfig) -> Latency:
    """The law of the time between two syncs, with what the settings say of it.

    Raises:
        InvalidInput: no such law, an unreadable trace, times that are none, or low ≥ high.
    """
    law = law_of(config.latency)
    return law.latency(own_values(config, law.settings, float))
