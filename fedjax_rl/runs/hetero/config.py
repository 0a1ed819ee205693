"""Settings of asynchronous group policy optimisation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.runs.checks import (
    as_number,
    check_choice,
    check_count,
    check_entries,
    check_not_negative,
    check_positive,
    check_text,
)
from fedjax_rl.runs.yaml_file import read_yaml

COUNTS = (
    *("samplers", "prompts", "steps", "layers", "width", "heads"),
    *("evaluate_every", "held_out", "on_policy", "seeds", "log_every"),
)
POSITIVE = (
    *("learner_seconds", "latency_low", "latency_high", "temperature"),
    *("gradient_norm", "tis_cap", "cispo_cap", "gmpo_clip", "trace_rho", "trace_c"),
)
NOT_NEGATIVE = (
    *("latency_offset", "travel_seconds", "jitter", "clip_low", "clip_high", "length_exponent"),
    *("kl_threshold", "kl_weight"),
)
PROBABILITIES = ("label_noise", "defensive", "baseline")


@dataclasses.dataclass(frozen=True)
class HeteroConfig:
    """Settings of a learner and the samplers that feed it from afar (arXiv 2508.17850)."""

    task: str = "prefix-sum"
    """prefix-sum, sorting, brackets, addition (see: fedjax-rl list token-tasks), or
    module:factory."""
    task_args: tuple[str, ...] = ()
    """Arguments of the task's factory, each NAME=VALUE, such as length=12."""
    policy: Literal["table", "transformer"] = "table"
    """table: a softmax for every context of the task; transformer: a causal network."""
    layers: int = 2
    """Of the transformer, 1 to 4."""
    width: int = 64
    """Of the transformer."""
    heads: int = 4
    """Of the transformer's attention; a divisor of the width."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the transformer computes in; its parameters are float32."""
    warm_start: float = 0.18
    """Accuracy of the policy at step 0, reached by supervised learning; 0 for none."""
    samplers: int = 4
    """How many draw responses."""
    window: int = 32
    """W: the learner takes batches at most so many steps old, or twice that when none is newer;
    0 is synchronous: everybody waits for everybody."""
    latency: str = "lognormal"
    """How long a sampler keeps its parameters: lognormal, weibull, exponential, constant, a CSV
    file of seconds, or module:factory."""
    latency_low: float = 60.0
    """Shortest delay in seconds, the law's 0.25 % quantile; the delay of --latency constant."""
    latency_high: float = 1920.0
    """Longest delay in seconds, the law's 99.75 % quantile."""
    latency_offset: float = 60.0
    """Seconds of every delay that a round trip takes anyway, which are subtracted."""
    sampler_seconds: tuple[float, ...] = (28.0,)
    """Virtual seconds that a sampler takes for a batch: one number, or one for each."""
    learner_seconds: float = 28.0
    """Virtual seconds of a learner step."""
    travel_seconds: float = 0.0
    """Virtual seconds from a sampler to the queue."""
    jitter: float = 0.0
    """Spread of a sampler's seconds per batch: deviation of their logarithm."""
    packet_loss: float = 0.0
    """Probability that a batch never arrives."""
    pacing: int | None = None
    """Samplers pause while the queue holds so many batches; unless given, they never do."""
    discard: Literal["unusable", "window"] = "unusable"
    """Which batches are dropped: those that the learner will never take, or all beyond W."""
    prompts: int = 8
    """P, prompts in a batch."""
    group_size: int = 8
    """G, responses to each prompt, which are compared with each other."""
    steps: int = 800
    """T, learner steps."""
    temperature: float = 1.0
    """By which logits are divided, of samplers and learner."""
    top_p: float = 1.0
    """Share of the probability that tokens are drawn from, in (0, 1]."""
    top_k: int = 0
    """Tokens that may be drawn; 0 for all."""
    label_noise: float = 0.1
    """Probability that a training reward is flipped; evaluations are exact."""
    learning_rate: float | None = None
    """Of Adam; unless given, 0.4 for a table and 0.001 for a transformer."""
    gradient_norm: float = 1e9
    """Largest norm of a gradient."""
    sequence_weight: Literal["product", "geometric"] = "product"
    """Probability of a response in losses of whole sequences: the product over its tokens, as in
    the theory, or their geometric mean, as in the paper's code."""
    denominator: Literal["weighted", "plain"] = "weighted"
    """Of gepo, gepo+ and eqp: the group's mean of q, weighted by q or plain."""
    kl: Literal["none", "code", "true"] = "none"
    """Penalty added to the loss: the paper's code's estimator, or that of KL(p‖q)."""
    kl_weight: float = 0.005
    """Of the penalty."""
    clip_low: float = 0.2
    """ε below 1."""
    clip_high: float = 0.2
    """ε above 1."""
    gmpo_clip: float = 0.4
    """gmpo: bound of a token's |log p − log q|."""
    tis_cap: float = 1.0
    """tis: largest token weight."""
    cispo_cap: float = 5.0
    """cispo: largest token weight."""
    defensive: float = 0.005
    """ds-gspo: share of the learner's policy in the denominator."""
    length_exponent: float = 0.75
    """delta_ln: α of L^−α."""
    trace_rho: float = 1.0
    """v-trace: ρ̄."""
    trace_c: float = 1.0
    """v-trace: c̄."""
    baseline: float = 0.5
    """v-trace: value of an unfinished response."""
    kl_threshold: float = 0.002
    """gepo+: divergence below which a response keeps its own denominator."""
    evaluate_every: int = 20
    """Learner steps between two evaluations; steps 0 and T always have one."""
    held_out: int = 256
    """Prompts of an evaluation, which are never trained on."""
    on_policy: int = 32
    """Responses per prompt that an evaluation draws from the learner itself, to measure how
    wrong the importance weights' estimate is."""
    seed: int = 0
    """Seed of everything random."""
    seeds: int = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: int = 1
    """Learner steps between two rows of metrics.csv; steps 0 and T are always written."""

    def __post_init__(self) -> None:
        for field in ("task", "latency"):
            check_text(field, getattr(self, field))
        for field in COUNTS:
            check_count(field, getattr(self, field), least=1)
        check_count("group_size", self.group_size, least=2)
        for field in ("window", "top_k", "seed"):
            check_count(field, getattr(self, field), least=0)
        if self.pacing is not None:
            check_count("pacing", self.pacing, least=1)
        positive = POSITIVE if self.learning_rate is None else (*POSITIVE, "learning_rate")
        for field in positive:
            check_positive(field, getattr(self, field), "a positive number")
        for field in NOT_NEGATIVE:
            check_not_negative(field, getattr(self, field))
        for field in PROBABILITIES:
            check_not_negative(field, getattr(self, field))
            if getattr(self, field) > 1:
                raise InvalidInput(flag(field), getattr(self, field), "a number in [0, 1]")
        for field in ("packet_loss", "warm_start"):
            check_not_negative(field, getattr(self, field))
            if getattr(self, field) >= 1:
                raise InvalidInput(flag(field), getattr(self, field), "a number in [0, 1)")
        check_positive("top_p", self.top_p, "a number in (0, 1]")
        if self.top_p > 1:
            raise InvalidInput("--top-p", self.top_p, "a number in (0, 1]")
        for field in ("task_args", "sampler_seconds"):
            if not isinstance(getattr(self, field), tuple | list):
                raise InvalidInput(flag(field), repr(getattr(self, field)), "a list of values")
        for seconds in self.sampler_seconds:
            check_positive("sampler_seconds", seconds, "positive numbers")
        if len(self.sampler_seconds) not in (1, self.samplers):
            raise InvalidInput(
                "--sampler-seconds",
                f"{len(self.sampler_seconds)} numbers",
                f"one, or one for each of {self.samplers} samplers",
            )
        check_entries("task_args", self.task_args)
        check_choice("policy", self.policy, ("table", "transformer"))
        check_choice("dtype", self.dtype, ("float32", "bfloat16"))
        check_choice("discard", self.discard, ("unusable", "window"))
        check_choice("sequence_weight", self.sequence_weight, ("product", "geometric"))
        check_choice("denominator", self.denominator, ("weighted", "plain"))
        check_choice("kl", self.kl, ("none", "code", "true"))


def read_config(path: Path, loss: str) -> tuple[HeteroConfig, dict[str, Any]]:
    """Reads a ``config.yaml`` back, with what the run was made with.

    Raises:
        InvalidInput: no such file, of another loss, or a field that does not exist or fit.
    """
    document = read_yaml("--config", path)
    if not isinstance(document, dict):
        raise InvalidInput("--config", path, "a YAML mapping of settings")
    made_with = document.pop("made_with", None) or {}
    if not isinstance(made_with, dict):
        raise InvalidInput("made_with", repr(made_with), "a mapping of versions")
    document.pop("checkpoints", None)
    if document.pop("algorithm", loss) != loss:
        raise InvalidInput("--config", path, f"a config.yaml of algorithm {loss}")
    known = {field.name for field in dataclasses.fields(HeteroConfig)}
    unknown = sorted(set(document) - known)
    if unknown:
        raise InvalidInput("--config", unknown[0], f"known settings: {', '.join(sorted(known))}")
    for name, value in document.items():
        if isinstance(value, list):
            document[name] = tuple(value)
    return HeteroConfig(**{name: as_number(value) for name, value in document.items()}), made_with
