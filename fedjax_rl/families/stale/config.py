"""Settings of asynchronous group policy optimisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fedjax_rl.checks import at_least, in_range, not_negative, positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.stale.traces import law_of
from fedjax_rl.hetero.losses import LossChoices, build_loss
from fedjax_rl.hetero.losses.contract import ALLOWED_CHOICES, DEFAULT_CHOICES
from fedjax_rl.hetero.settings import DEFAULTS, SECONDS
from fedjax_rl.settings.fields import PROBLEM, START, TRACED, check_fields, name_values, only_with
from fedjax_rl.settings.own import Named, extended, named_in


@dataclasses.dataclass(frozen=True)
class HeteroConfig:
    """Settings of a learner and the samplers that feed it from afar (arXiv 2508.17850)."""

    task: Annotated[str, PROBLEM, START] = "prefix-sum"
    """prefix-sum, sorting, brackets, addition (see: fedjax-rl list token-tasks), or
    module:factory."""
    task_args: Annotated[tuple[str, ...], name_values, PROBLEM, START] = ()
    """Arguments of the task's factory, each NAME=VALUE, such as length=12."""
    policy: Annotated[Literal["table", "transformer"], START] = "table"
    """table: a softmax for every context of the task; transformer: a causal network."""
    layers: Annotated[int, at_least(1), START, only_with("policy", "transformer")] = 2
    """Of the transformer, 1 to 4."""
    width: Annotated[int, at_least(1), START, only_with("policy", "transformer")] = 64
    """Of the transformer."""
    heads: Annotated[int, at_least(1), START, only_with("policy", "transformer")] = 4
    """Of the transformer's attention; a divisor of the width."""
    dtype: Annotated[Literal["float32", "bfloat16"], START, only_with("policy", "transformer")] = (
        "float32"
    )
    """What the transformer computes in; its parameters are float32."""
    warm_start: Annotated[float, in_range(0, 1, "[)"), START, TRACED] = 0.18
    """Accuracy of the policy at step 0, reached by supervised learning; 0 for none."""
    samplers: Annotated[int, at_least(1), TRACED] = DEFAULTS.samplers
    """How many draw responses."""
    window: Annotated[int, at_least(0), TRACED] = DEFAULTS.window
    """W: the learner takes batches at most so many steps old, or twice that when none is newer;
    0 is synchronous: everybody waits for everybody."""
    latency: Annotated[str, TRACED, PROBLEM] = "lognormal"
    """How long a sampler keeps its parameters: lognormal, weibull, exponential, constant, a CSV
    file of seconds, or module:factory; each law has settings of its own."""
    sampler_seconds: Annotated[tuple[float, ...], positive.named("positive numbers"), TRACED] = (
        SECONDS,
    )
    """Virtual seconds that a sampler takes for a batch: one number, or one for each."""
    learner_seconds: Annotated[float, positive, TRACED] = DEFAULTS.learner_seconds
    """Virtual seconds of a learner step."""
    travel_seconds: Annotated[float, not_negative, TRACED] = 0.0
    """Virtual seconds from a sampler to the queue."""
    jitter: Annotated[float, not_negative, TRACED] = DEFAULTS.jitter
    """Spread of a sampler's seconds per batch: deviation of their logarithm."""
    packet_loss: Annotated[float, in_range(0, 1, "[)"), TRACED] = DEFAULTS.packet_loss
    """Probability that a batch never arrives."""
    pacing: Annotated[int | None, at_least(1), TRACED, only_with("window", at_least(1))] = (
        DEFAULTS.pacing
    )
    """Samplers pause while the queue holds so many batches; unless given, they never do."""
    discard: Annotated[Literal["unusable", "window"], TRACED, only_with("window", at_least(1))] = (
        DEFAULTS.discard
    )
    """Which batches are dropped: those that the learner will never take, or all beyond W."""
    prompts: Annotated[int, at_least(1)] = 8
    """P, prompts in a batch."""
    group_size: Annotated[int, at_least(2)] = 8
    """G, responses to each prompt, which are compared with each other."""
    steps: Annotated[int, at_least(1)] = 800
    """T, learner steps."""
    temperature: Annotated[float, positive, TRACED] = 1.0
    """By which logits are divided, of samplers and learner."""
    top_p: Annotated[float, in_range(0, 1, "(]"), TRACED] = 1.0
    """Share of the probability that tokens are drawn from, in (0, 1]."""
    top_k: Annotated[int, at_least(0)] = 0
    """Tokens that may be drawn; 0 for all."""
    label_noise: Annotated[float, in_range(0, 1), TRACED] = 0.1
    """Probability that a training reward is flipped; evaluations are exact."""
    learning_rate: Annotated[float | None, positive, TRACED] = None
    """Of Adam; unless given, 0.4 for a table and 0.001 for a transformer."""
    gradient_norm: Annotated[float, positive, TRACED] = 1e9
    """Largest norm of a gradient."""
    sequence_weight: Literal["product", "geometric"] = DEFAULT_CHOICES.sequence_weight
    """Probability of a response in losses of whole sequences: the product over its tokens, as in
    the theory, or their geometric mean, as in the paper's code."""
    denominator: Literal["weighted", "plain"] = DEFAULT_CHOICES.denominator
    """Of gepo, gepo+ and eqp: the group's mean of q, weighted by q or plain."""
    kl: Literal["none", "code", "true"] = DEFAULT_CHOICES.kl
    """Penalty added to the loss: the paper's code's estimator, or that of KL(p‖q)."""
    evaluate_every: Annotated[int, at_least(1)] = 20
    """Learner steps between two evaluations; steps 0 and T always have one."""
    held_out: Annotated[int, at_least(1)] = 256
    """Prompts of an evaluation, which are never trained on."""
    on_policy: Annotated[int, at_least(1)] = 32
    """Responses per prompt that an evaluation draws from the learner itself, to measure how
    wrong the importance weights' estimate is."""
    seed: Annotated[int, at_least(0), TRACED] = 0
    """Seed of everything random."""
    seeds: Annotated[int, at_least(1)] = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: Annotated[int, at_least(1)] = 1
    """Learner steps between two rows of metrics.csv; steps 0 and T are always written."""

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.sampler_seconds) not in (1, self.samplers):
            raise InvalidInput(
                "--sampler-seconds",
                f"{len(self.sampler_seconds)} numbers",
                f"one, or one for each of {self.samplers} samplers",
            )


NAMED = ("kl", "latency")
"""Settings that name what has settings of its own."""


def own_settings(loss: str, named: Named) -> tuple[Any, ...]:
    """The settings that a loss, its KL term and laws of latency have of their own.

    Args:
        loss: its name.
        named: for ``kl`` and ``latency`` the values that they may have.

    Raises:
        InvalidInput: no such loss or law.
    """
    known = [kl for kl in named["kl"] if kl in ALLOWED_CHOICES["kl"]]
    kinds = [build_loss(loss, LossChoices(kl=kl)).settings for kl in known]
    kinds += [law_of(law).settings for law in named["latency"]]
    return tuple(dict.fromkeys([build_loss(loss).settings, *kinds]))


def unread(loss: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that a loss does not read, and what they would need, in words."""
    takes_mean = build_loss(loss).group_mean
    return {} if takes_mean else {"denominator": "a loss that takes a group's mean, such as gepo"}


def settings_type(loss: str, entries: Mapping[str, Any]) -> type[HeteroConfig]:
    """The type of the settings of a loss; see `extended`."""
    return extended(HeteroConfig, *own_settings(loss, named_in(HeteroConfig, NAMED, [entries])))
