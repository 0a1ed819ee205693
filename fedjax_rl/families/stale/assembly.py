"""From settings to everything a study of stale data needs, validated before its first step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.errors import InvalidInput
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.families.stale.config import HeteroConfig, unread
from fedjax_rl.families.stale.laws import latency_of, named_by_flags, schedule_settings
from fedjax_rl.families.stale.starts import started
from fedjax_rl.hetero.learner import asynchronous
from fedjax_rl.hetero.losses import Loss, LossChoices, build_loss
from fedjax_rl.hetero.rollout import sampling
from fedjax_rl.hetero.schedule import Schedule, Traffic, depth, simulate, stack
from fedjax_rl.hetero.state import Deliveries, HeteroChoices, HeteroSettings
from fedjax_rl.hetero.tasks import TokenTask, tasks
from fedjax_rl.hetero.warm_start import WarmStart
from fedjax_rl.policies.table import table
from fedjax_rl.policies.tokens import TokenPolicy
from fedjax_rl.policies.transformer import transformer
from fedjax_rl.precision import precision
from fedjax_rl.settings.fields import by_name, check_effect
from fedjax_rl.settings.own import own_values
from fedjax_rl.settings.values import named_values

LEARNING_RATES = {"table": 0.4, "transformer": 1e-3}
SECONDS_PER_SPAN = 1.0
TOKENS_PER_SECOND = {"table": 3_000_000, "transformer": 40_000}
"""A guess of how fast responses are written and learned from, for the length of a span."""


class Member(NamedTuple):
    """One run of a study on stale data: its seed, window and learning rate.

    Attributes:
        window: W.
        learning_rate: of Adam.
        seed: of its schedule, batches and evaluations.
    """

    window: int
    learning_rate: float
    seed: int


class HeteroPrepared(NamedTuple):
    """A study of one loss that can start: B runs as one program.

    Attributes:
        loss: its name.
        config: settings; those of `Member` may differ between runs.
        task: prompts and rewards.
        policy: what answers.
        start: the warm-started policy.
        members: the runs.
        schedules: leading axis B.
        traffic: of each run.
        algorithm: a sweep over the runs.
        hparams: traced settings.
        span_steps: learner steps between two visits of the host.
    """

    loss: str
    config: HeteroConfig
    task: TokenTask
    policy: TokenPolicy
    start: WarmStart
    members: tuple[Member, ...]
    schedules: Schedule
    traffic: tuple[Traffic, ...]
    algorithm: Algorithm
    hparams: HeteroSettings
    span_steps: int


@precision(False)
def prepare(
    loss: str,
    config: HeteroConfig,
    windows: Sequence[int] | None = None,
    learning_rates: Sequence[float] | None = None,
    devices: DeviceSettings = ONE,
    task: TokenTask | None = None,
) -> HeteroPrepared:
    """Validates everything, computes the schedules and builds the program.

    Args:
        loss: a name in `losses`, or ``module:factory``.
        config: settings.
        windows: several windows in place of ``config.window``.
        learning_rates: several rates in place of the one.
        devices: over which the runs are spread.
        task: used in place of ``config.task`` when given.

    Raises:
        InvalidInput: a setting, the task, the loss or the law of latency cannot be used.
    """
    check_effect(config, unread(loss, by_name(config)))
    config = resolved(config)
    assert config.learning_rate is not None
    task = task or task_of(config)
    policy = policy_of(config, task)
    members = tuple(
        Member(window, rate, config.seed + index)
        for window in (windows or [config.window])
        for rate in (learning_rates or [config.learning_rate])
        for index in range(config.seeds)
    )
    with named_by_flags():
        law = latency_of(config)
        simulated = {
            (member.window, member.seed): simulate(
                schedule_settings(config, member.window, law), config.steps, member.seed
            )
            for member in members
        }
    runs = [simulated[member.window, member.seed] for member in members]
    schedules = stack([schedule for schedule, _ in runs])
    algorithm = algorithm_of(loss, config, task, policy, depth(schedules))
    placement = devices.placement(1, len(members))
    start = started(config, task, policy)
    hparams = HeteroSettings(
        deliveries=Deliveries(schedules.version, schedules.sampler, schedules.batch),
        start=start.parameters,
        loss=own_values(config, loss_of(loss, config).settings, np.float32),
        sampling=sampling(config.temperature, config.top_p),
        learning_rate=np.array([member.learning_rate for member in members], np.float32),
        gradient_norm=np.float32(config.gradient_norm),
        label_noise=np.float32(config.label_noise),
        every=np.int32(config.evaluate_every),
        last=np.int32(config.steps),
    )
    shared: Any = [None] * len(HeteroSettings._fields)
    axes = HeteroSettings(*shared)._replace(deliveries=0, learning_rate=0)  # type: ignore[arg-type]
    tokens = len(members) * config.prompts * config.group_size * task.response_length
    span = TOKENS_PER_SECOND[config.policy] * SECONDS_PER_SPAN / tokens
    return HeteroPrepared(
        loss=loss,
        config=config,
        task=task,
        policy=policy,
        start=start,
        members=members,
        schedules=schedules,
        traffic=tuple(traffic for _, traffic in runs),
        algorithm=sweep(algorithm, axes, len(members), placement.map_of("members")),
        hparams=hparams,
        span_steps=int(np.clip(span, 1, 1000)),
    )


def algorithm_of(
    loss: str, config: HeteroConfig, task: TokenTask, policy: TokenPolicy, past: int
) -> Algorithm:
    """One learner that keeps so many past parameters; the algorithm of a single run.

    Raises:
        InvalidInput: no such loss.
    """
    judge = loss_of(loss, config)
    choices = HeteroChoices(
        prompts=config.prompts,
        group_size=config.group_size,
        depth=past,
        top_k=config.top_k,
        held_out=config.held_out,
        on_policy=config.on_policy,
        geometric=config.sequence_weight == "geometric",
    )
    return asynchronous(task, policy, judge, choices)


def loss_of(name: str, config: HeteroConfig) -> Loss:
    """The loss of the settings.

    Raises:
        InvalidInput: no such loss.
    """
    return build_loss(name, LossChoices(config.sequence_weight, config.denominator, config.kl))


def resolved(config: HeteroConfig) -> HeteroConfig:
    """The settings with what was left open decided."""
    if config.learning_rate is not None:
        return config
    return dataclasses.replace(config, learning_rate=LEARNING_RATES[config.policy])


def task_of(config: HeteroConfig) -> TokenTask:
    """The task of the settings.

    Raises:
        InvalidInput: no such task, or arguments that its factory does not take.
    """
    return _task(config.task, tuple(config.task_args))


@functools.lru_cache(maxsize=32)
def _task(name: str, arguments: tuple[str, ...]) -> TokenTask:
    """The same object for all studies of a task: what is compiled for it is compiled once."""
    factory = tasks.resolve(name)
    try:
        task = factory(**named_values("--task-args", arguments))
    except TypeError as error:
        raise InvalidInput("--task-args", " ".join(arguments), str(error)) from None
    if not isinstance(task, TokenTask):
        raise InvalidInput("--task", name, f"a factory of TokenTask, not {type(task).__name__}")
    return task


def policy_of(config: HeteroConfig, task: TokenTask) -> TokenPolicy:
    """The policy of the settings, of the task's size."""
    if config.policy == "table":
        return table(task.vocabulary, task.response_length, task.contexts, task.context)
    return transformer(
        task.vocabulary,
        task.prompt_length,
        task.response_length,
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        dtype=config.dtype,
    )
