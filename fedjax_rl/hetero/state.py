"""Settings, state and metrics of an asynchronous run."""

from __future__ import annotations

from typing import NamedTuple

from fedjax_rl.algorithm import Array, Pytree
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.hetero.diagnostics import WeightSpread
from fedjax_rl.hetero.rollout import Sampling


class Deliveries(NamedTuple):
    """The batch that each of T learner steps takes; the program's part of `schedule.Schedule`.

    Attributes:
        version: int32 [T], the step after which its sampler took the parameters.
        sampler: int32 [T], who sampled it.
        batch: int32 [T], its number among that sampler's batches.
    """

    version: Array
    sampler: Array
    batch: Array


class HeteroChoices(NamedTuple):
    """Static settings, which shape the program.

    Attributes:
        prompts: P of a batch.
        group_size: G, at least 2.
        depth: past parameters to keep, the largest staleness + 1.
        top_k: tokens that may be drawn; 0 for all.
        held_out: prompts of an evaluation, one response each.
        on_policy: responses per prompt from which an evaluation estimates E_p[r].
        geometric: whether q_i is a geometric mean over tokens, for its variation in groups.
    """

    prompts: int
    group_size: int
    depth: int
    top_k: int
    held_out: int
    on_policy: int
    geometric: bool


class HeteroSettings(NamedTuple):
    """Traced settings of a learner on stale data.

    Attributes:
        deliveries: the schedule.
        start: parameters of step 0.
        loss: the loss's settings.
        sampling: how samplers draw tokens; the learner's policy is tempered alike.
        learning_rate: of Adam.
        gradient_norm: largest norm of a gradient.
        label_noise: probability that a reward is flipped.
        every: learner steps between two evaluations.
        last: the last step, which is evaluated too.
    """

    deliveries: Deliveries
    start: Pytree
    loss: Pytree
    sampling: Sampling
    learning_rate: Array
    gradient_norm: Array
    label_noise: Array
    every: Array
    last: Array


class HeteroState(NamedTuple):
    """State between learner steps.

    Attributes:
        parameters: of the learner.
        optimizer: Adam's moments.
        past: parameters after the last ``depth`` steps, leading axis ``depth``; those of step k
            are at k mod depth.
        streams: the key from which every sampler's batches derive.
    """

    parameters: Pytree
    optimizer: Pytree
    past: Pytree
    streams: Array


class Check(NamedTuple):
    """Measurements of an evaluation; NaN after steps without one.

    Attributes:
        accuracy: share of right answers to held-out prompts, after the step.
        estimation_error: as of `diagnostics.estimation_error`, of the step's batch.
    """

    accuracy: Array
    estimation_error: Array


class HeteroRow(NamedTuple):
    """Metrics of one learner step, of the policy before it but for `Check`.

    Attributes:
        staleness: learner steps between the batch's parameters and the learner's.
        loss: the value that was descended.
        reward: mean of the batch's rewards, label noise included.
        kl: `diagnostics.divergence`.
        weights: of the importance weights before clipping.
        gradient_norm: before it is cut.
        clip_fraction: as of `losses.LossOutput`.
        variation: `diagnostics.group_variation`.
        evaluated: whether the step was checked.
        check: `Check`.
    """

    staleness: Array
    loss: Array
    reward: Array
    kl: Array
    weights: WeightSpread
    gradient_norm: Array
    clip_fraction: Array
    variation: Array
    evaluated: Array
    check: Check


def check_choices(choices: HeteroChoices) -> None:
    """Raises InvalidInput for a group of one or a count below 1."""
    if choices.group_size < 2:
        raise InvalidInput(
            "--group-size", choices.group_size, "at least 2: responses of a group are compared"
        )
    for field in ("prompts", "depth", "held_out", "on_policy"):
        if getattr(choices, field) < 1:
            raise InvalidInput(flag(field), getattr(choices, field), "at least 1")
