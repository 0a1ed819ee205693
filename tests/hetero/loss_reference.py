"""The losses once more, token by token in plain Python, from their formulas alone.

Each takes ``log_p`` twice: ``live`` is what a gradient sees, ``frozen`` its value wherever the
formula stops the gradient. Finite differences in ``live`` are then the loss's gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

Nested = np.ndarray


class Case(NamedTuple):
    """Ratios p/q and probabilities q of every token [P, G, L], lengths and rewards [P, G]."""

    ratios: Nested
    q: Nested
    mask: Nested
    rewards: Nested

    @property
    def log_q(self) -> Nested:
        return np.log(self.q)

    @property
    def log_p(self) -> Nested:
        return np.log(self.q * self.ratios)


class Variant(NamedTuple):
    """Choices and settings of a loss, with the papers' values."""

    sequence_weight: str = "geometric"
    denominator: str = "weighted"
    clip_low: float = 0.2
    clip_high: float = 0.2
    tis_cap: float = 1.0
    cispo_cap: float = 5.0
    defensive: float = 0.005
    length_exponent: float = 0.75
    gmpo_clip: float = 0.4
    trace_rho: float = 1.0
    trace_c: float = 1.0
    baseline: float = 0.5
    kl_threshold: float = 0.002


def two_prompts() -> Case:
    """Two prompts, three responses each, three tokens at most.

    Ratios lie above, inside and below [0.8, 1.2], and beyond gmpo's [e^-0.4, e^0.4], for winners
    and for losers; two responses are short, and hold rubbish where they are masked.
    """
    return Case(
        ratios=np.array(
            [
                [[1.5, 0.9, 1.6], [1.4, 0.5, 1.1], [0.7, 1.7, 9.0]],
                [[0.6, 0.75, 9.0], [1.05, 1.1, 1.0], [0.6, 0.9, 0.7]],
            ]
        ),
        q=np.array(
            [
                [[0.5, 0.3, 0.4], [0.6, 0.2, 0.3], [0.4, 0.25, 0.01]],
                [[0.8, 0.7, 0.01], [0.3, 0.5, 0.6], [0.9, 0.4, 0.5]],
            ]
        ),
        mask=np.array(
            [
                [[True, True, True], [True, True, True], [True, True, False]],
                [[True, True, False], [True, True, True], [True, True, True]],
            ]
        ),
        rewards=np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]),
    )


def responses(case: Case) -> Iterator[tuple[int, int]]:
    for prompt, group in enumerate(case.rewards):
        for member in range(len(group)):
            yield prompt, member


def tokens_of(case: Case, prompt: int, member: int) -> list[int]:
    return [t for t in range(case.mask.shape[-1]) if case.mask[prompt, member, t]]


def surrogate(ratio: float, advantage: float, how: Variant) -> float:
    """−S: what a clipped loss adds."""
    bounded = min(max(ratio, 1 - how.clip_low), 1 + how.clip_high)
    return -min(ratio * advantage, bounded * advantage)


def centred(case: Case) -> Nested:
    advantages = np.zeros_like(case.rewards)
    for prompt, member in responses(case):
        group = list(case.rewards[prompt])
        advantages[prompt, member] = group[member] - sum(group) / len(group)
    return advantages


def standardised(case: Case) -> Nested:
    advantages = centred(case)
    for prompt, group in enumerate(centred(case)):
        deviation = math.sqrt(sum(a * a for a in group) / (len(group) - 1))
        advantages[prompt] = group / (deviation + 1e-4)
    return advantages


def beta_normalised(case: Case) -> Nested:
    means = [sum(group) / len(group) for group in case.rewards]
    m = sum(means) / len(means)
    v = sum((mean - m) ** 2 for mean in means) / len(means)
    s = m * (1 - m) / v - 1
    a, b = s * m, s * (1 - m)
    density = beta(max(1, 1 + a / 3), max(1, 1 + b / 3))
    return np.array([a / density.pdf(r) for a, r in zip(centred(case), means, strict=True)])


def token_terms(
    case: Case, live: Nested, advantages: Nested, how: Variant
) -> dict[tuple[int, int], tuple[float, int]]:
    """Of each response, Σ_t −S and L_i."""
    terms = {}
    for i in responses(case):
        present = tokens_of(case, *i)
        ratios = [math.exp(live[i][t] - case.log_q[i][t]) for t in present]
        terms[i] = sum(surrogate(ratio, advantages[i], how) for ratio in ratios), len(present)
    return terms


def grpo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    terms = token_terms(case, live, standardised(case), how).values()
    return sum(total / length for total, length in terms) / len(terms)


def dr_grpo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    terms = token_terms(case, live, centred(case), how).values()
    return sum(total for total, _ in terms) / (len(terms) * case.mask.shape[-1])


def per_token(case: Case, live: Nested, advantages: Nested, how: Variant) -> float:
    terms = token_terms(case, live, advantages, how).values()
    return sum(total for total, _ in terms) / sum(length for _, length in terms)


def bnpo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    return per_token(case, live, beta_normalised(case), how)


def bnpo_trl(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    return per_token(case, live, standardised(case), how)


def delta_ln(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    terms = token_terms(case, live, centred(case), how).values()
    shares = sum(length**-how.length_exponent for _, length in terms)
    longest = case.mask.shape[-1]
    return sum(length**-how.length_exponent / (longest * shares) * total for total, length in terms)


def policy_gradient(case: Case, live: Nested, advantages: Nested, weight: Callable) -> float:
    """−Σ weight(i, t) A_i log p_it / Σ L_i."""
    total, count = 0.0, 0
    for i in responses(case):
        for t in tokens_of(case, *i):
            total -= weight(i, t) * advantages[i] * live[i][t]
            count += 1
    return total / count


def truncated(case: Case, live: Nested, frozen: Nested, cap: float) -> float:
    def weight(i: tuple[int, int], t: int) -> float:
        return min(math.exp(frozen[i][t] - case.log_q[i][t]), cap)

    return policy_gradient(case, live, centred(case), weight)


def cispo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    return truncated(case, live, frozen, how.cispo_cap)


def tis(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    return truncated(case, live, frozen, how.tis_cap)


def v_trace(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    """From V-trace's own recursion: v_t = V_t + δ_t + min(c̄, w_t)(v_{t+1} − V_{t+1})."""
    b = how.baseline
    total, count = 0.0, 0
    for i in responses(case):
        present = tokens_of(case, *i)
        reward, value_after, target_after = case.rewards[i], 0.0, 0.0
        for t in reversed(present):
            ratio = math.exp(frozen[i][t] - case.log_q[i][t])
            step_reward = reward if t == present[-1] else 0.0
            delta = min(how.trace_rho, ratio) * (step_reward + value_after - b)
            total -= min(how.trace_rho, ratio) * (step_reward + target_after - b) * live[i][t]
            target_after = b + delta + min(how.trace_c, ratio) * (target_after - value_after)
            value_after = b
            count += 1
    return total / count


def log_sequence(case: Case, log_tokens: Nested, i: tuple[int, int], how: Variant) -> float:
    logs = [log_tokens[i][t] for t in tokens_of(case, *i)]
    return sum(logs) / (len(logs) if how.sequence_weight == "geometric" else 1)


def group_mean(values: list[float], q: list[float], how: Variant) -> float:
    if how.denominator == "plain":
        return sum(values) / len(values)
    return sum(a * b for a, b in zip(values, q, strict=True)) / sum(q)


def group_probabilities(case: Case, log_tokens: Nested, prompt: int, how: Variant) -> list[float]:
    members = range(case.rewards.shape[1])
    return [math.exp(log_sequence(case, log_tokens, (prompt, m), how)) for m in members]


def sequence_loss(
    case: Case, live: Nested, advantages: Nested, how: Variant, denominator: Callable
) -> float:
    """mean_i −S(p_i / denominator(prompt, p, q)_i, A_i), p live and q of the group."""
    total = 0.0
    for prompt, group in enumerate(advantages):
        p = group_probabilities(case, live, prompt, how)
        q = group_probabilities(case, case.log_q, prompt, how)
        for own, below, advantage in zip(p, denominator(prompt, p, q), group, strict=True):
            total += surrogate(own / below, advantage, how)
    return total / advantages.size


def gspo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    return sequence_loss(case, live, standardised(case), how, lambda prompt, p, q: q)


def gepo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    def denominator(prompt: int, p: list[float], q: list[float]) -> list[float]:
        return [group_mean(q, q, how)] * len(q)

    return sequence_loss(case, live, centred(case), how, denominator)


def gepo_plus(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    def denominator(prompt: int, p: list[float], q: list[float]) -> list[float]:
        below = []
        for member, own in enumerate(q):
            gaps = [
                frozen[prompt, member, t] - case.log_q[prompt, member, t]
                for t in tokens_of(case, prompt, member)
            ]
            divergence = sum(math.exp(-d) + d - 1 for d in gaps) / len(gaps)
            below.append(own if divergence < how.kl_threshold else group_mean(q, q, how))
        return below

    return sequence_loss(case, live, centred(case), how, denominator)


def eqp(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    def denominator(prompt: int, p: list[float], q: list[float]) -> list[float]:
        return [group_mean(p, q, how)] * len(q)

    return sequence_loss(case, live, centred(case), how, denominator)


def ds_gspo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    def denominator(prompt: int, p: list[float], q: list[float]) -> list[float]:
        still = group_probabilities(case, frozen, prompt, how)
        return [(1 - how.defensive) * b + how.defensive * a for a, b in zip(still, q, strict=True)]

    return sequence_loss(case, live, standardised(case), how, denominator)


def gmpo(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    total = 0.0
    for i, advantage in np.ndenumerate(centred(case)):
        sign = math.copysign(1.0, advantage)
        logs = []
        for t in tokens_of(case, *i):
            d = live[i][t] - case.log_q[i][t]
            logs.append(sign * min(sign * d, sign * min(max(d, -how.gmpo_clip), how.gmpo_clip)))
        total -= advantage * math.exp(sum(logs) / len(logs))
    return total / case.rewards.size


def topr(case: Case, live: Nested, frozen: Nested, how: Variant) -> float:
    total = 0.0
    for i, advantage in np.ndenumerate(centred(case)):
        gap = log_sequence(case, frozen, i, how) - log_sequence(case, case.log_q, i, how)
        taper = 1.0 if advantage >= 0 else min(math.exp(gap), 1.0)
        total -= taper * advantage * log_sequence(case, live, i, how)
    return total / case.rewards.size


def kl_term(case: Case, live: Nested, term: Callable[[float], float]) -> float:
    """mean_i mean_t term(d_it)."""
    total = 0.0
    for i in responses(case):
        gaps = [live[i][t] - case.log_q[i][t] for t in tokens_of(case, *i)]
        total += sum(map(term, gaps)) / len(gaps)
    return total / case.rewards.size


def slope(function: Callable[[Nested], float], at: Nested, step: float = 1e-6) -> Nested:
    """Central differences of a scalar function of an array."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        nudge = np.zeros_like(at)
        nudge[index] = step
        gradient[index] = (function(at + nudge) - function(at - nudge)) / (2 * step)
    return gradient


REFERENCES: dict[str, Callable[[Case, Nested, Nested, Variant], float]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "bnpo": bnpo,
    "bnpo_trl": bnpo_trl,
    "delta_ln": delta_ln,
    "cispo": cispo,
    "tis": tis,
    "v-trace": v_trace,
    "gspo": gspo,
    "gepo": gepo,
    "gepo+": gepo_plus,
    "eqp": eqp,
    "ds-gspo": ds_gspo,
    "gmpo": gmpo,
    "topr": topr,
}
