"""Settings of a run: what the command line takes and ``config.yaml`` holds."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from fedjax_rl.checks import at_least, finite, in_range, positive
from fedjax_rl.settings.fields import PROBLEM, TRACED, check_fields, name_values, only_with


@dataclasses.dataclass(frozen=True)
class FedNPGConfig:
    """Settings of FedNPG on a finite problem (arXiv 2405.03236)."""

    problem: Annotated[str, PROBLEM] = "windy-cliff"
    """A registered name (see: fedjax-rl list), a file.npz, or module:factory."""
    problem_args: Annotated[tuple[str, ...], name_values, PROBLEM] = ()
    """Arguments of the problem's factory, each NAME=VALUE (states=20 seed=3)."""
    agents: Annotated[int | None, at_least(1), PROBLEM] = None
    """N, the number of agents; unless given, one for each constraint."""
    access: str | None = None
    """YAML or npz file with the access matrix: which agent watches which constraint."""
    budgets: Annotated[
        tuple[float, ...] | None, finite.named("finite numbers, one for each constraint"), PROBLEM
    ] = None
    """d_j, one for each constraint, in place of the problem's own."""
    discount: Annotated[float | None, in_range(0, 1, "[)"), PROBLEM] = None
    """Discount in [0, 1), in place of the problem's own."""
    learner: str = "npg"
    """What an agent does in a local step: npg, optimistic, regularized, crpo, or module:factory."""
    correction: Annotated[Literal["none", "control-variate"], only_with("reference", "fed")] = (
        "none"
    )
    """control-variate: one more exchange per round, of increments, that removes client drift."""
    local_steps: Annotated[int, at_least(1)] = 1
    """E, local steps between two merges."""
    rounds: Annotated[int, at_least(1)] = 10_000
    """T, merges in the run."""
    merge: Annotated[str, only_with("reference", "fed")] = "auto"
    """How policies become one: logits, probabilities, points, or module:factory; auto: the mean
    of what the learner sends, logits for npg."""
    merge_weights: Annotated[
        tuple[float, ...] | None, positive.named("positive numbers"), only_with("reference", "fed")
    ] = None
    """A positive weight of each agent in the merge, in place of equal ones."""
    participants: Annotated[int | None, at_least(1), only_with("reference", "fed")] = None
    """Agents drawn to take part in each round; unless given, all."""
    evaluation: Literal["exact", "sampled"] = "exact"
    """How agents evaluate their policies: exact solves, or Monte-Carlo rollouts."""
    rollouts: Annotated[int, at_least(1), only_with("evaluation", "sampled")] = 10
    """K, rollouts from each state and action when evaluation is sampled."""
    reference: Literal["fed", "omniscient", "no-communication"] = "fed"
    """fed; omniscient: one agent that sees every cost; no-communication: nothing is merged. The
    two references take a policy step of η/N, so that all advance at equal pace."""
    step_size: Annotated[float | Literal["auto"], positive, TRACED] = "auto"
    """η, literally; auto: 2/√T after rescaling rewards and costs to unit range."""
    dual_step_size: Annotated[float | Literal["auto"], positive, TRACED] = "auto"
    """η_λ, literally; auto: 0.1 η after the same rescaling."""
    multiplier_cap: Annotated[float | Literal["auto"], positive, TRACED] = "auto"
    """λ_max, largest value of a multiplier, in the problem's own units; auto: Slater's bound
    (max V_r − V_r(π_Slater)) / ξ, which no optimal multiplier exceeds."""
    seed: Annotated[int, at_least(0), TRACED] = 0
    """Seed of everything random."""
    seeds: Annotated[int, at_least(1)] = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: Annotated[int, at_least(1)] = 1
    """Rounds between two rows of metrics.csv; rounds 0 and T are always written."""

    def __post_init__(self) -> None:
        check_fields(self)
