"""Settings of FedPPO and of federated natural gradients."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import fedjax_rl.federation.aggregate  # noqa: F401  registers
from fedjax_rl.algorithm import Aggregator, aggregators
from fedjax_rl.checks import at_least, finite, in_range, not_negative, positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.settings.fields import (
    PROBLEM,
    TRACED,
    check_fields,
    name_values,
    only_with,
)
from fedjax_rl.settings.own import Named, extended, named_in

ALGORITHMS = ("fedppo", "fednatural")
OWN = {
    "fedppo": ("clip", "cost_surrogate", "kl_target", "kl_limit", "preconditioner"),
    "fednatural": ("natural_step", "radius", "damping", "conjugate_steps"),
}
"""Settings that one algorithm alone reads."""


several_agents = only_with("reference", "fed", "no-communication", "one-shot")
sees_costs = only_with("reference", "fed", "omniscient", "no-communication", "one-shot")


@dataclasses.dataclass(frozen=True)
class DeepConfig:
    """Settings of a federation of networks on a constrained task (arXiv 2405.03236)."""

    problem: Annotated[str, PROBLEM] = "cartpole-pos2"
    """A task or finite problem (see: fedjax-rl list), a finite problem's file.npz, or
    module:factory."""
    problem_args: Annotated[tuple[str, ...], name_values, PROBLEM] = ()
    """Arguments of the problem's factory, each NAME=VALUE."""
    agents: Annotated[int | None, at_least(1), PROBLEM] = None
    """N, the number of agents; unless given, one for each constraint."""
    access: Annotated[str | None, several_agents] = None
    """YAML or npz file with the access matrix: which agent watches which constraint."""
    budgets: Annotated[
        tuple[float, ...] | None, finite.named("finite numbers, one for each constraint"), PROBLEM
    ] = None
    """d_j, one for each constraint, in place of the task's own."""
    agents_at_once: Annotated[int | None, at_least(1)] = None
    """Most agents that are simulated side by side, which changes speed and last bits; unless given,
    as many as fit a processor's cache, and all of them on an accelerator."""
    vary: Annotated[tuple[str, ...], name_values, several_agents] = ()
    """Dynamics that differ between agents, each NAME=VALUE,VALUE,… with one value per agent."""
    reference: Literal["fed", "omniscient", "no-communication", "one-shot", "unconstrained"] = "fed"
    """fed; omniscient: one agent that sees every cost; no-communication: nothing is merged;
    one-shot: merged once, at the end; unconstrained: one agent that sees no cost."""
    envs: Annotated[int | Literal["auto"], at_least(1)] = "auto"
    """B, environments of each agent; auto: about 6,400 steps in a local step, from 8 to 32."""
    rollout: Annotated[int | Literal["auto"], at_least(1)] = "auto"
    """Steps of each environment in a local step; auto: whole episodes, about 200 steps and at most
    1,000."""
    local_steps: Annotated[int, at_least(1)] = 1
    """E, local steps (a rollout and an update) between two merges."""
    rounds: Annotated[int, at_least(1)] = 120
    """T, merges in the run."""
    epochs: Annotated[int, at_least(1)] = 4
    """Passes over a rollout in a local step."""
    minibatches: Annotated[int, at_least(1)] = 4
    """Updates in a pass; a divisor of the rollout."""
    hidden: Annotated[tuple[int, ...], at_least(1)] = (64, 64)
    """Widths of the hidden layers of every network."""
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    """Of the hidden layers."""
    learning_rate: Annotated[float, positive, TRACED] = 2e-3
    """Of Adam."""
    learning_rate_decay: Annotated[float, in_range(0, 1), TRACED] = 0.0
    """Share of the learning rate, and of the length of fednatural's steps, that is gone at the
    end of the run, linearly."""
    discount: Annotated[float | None, in_range(0, 1), TRACED] = None
    """γ with which agents discount the reward, in place of the task's; of a finite problem, whose
    episodes end with probability 1 − γ, it is 1."""
    gae: Annotated[float, in_range(0, 1), TRACED] = 0.95
    """λ of the reward's generalised advantages."""
    cost_gae: Annotated[float, in_range(0, 1), TRACED, sees_costs] = 0.95
    """λ of the costs' generalised advantages."""
    clip: Annotated[float, positive, TRACED] = 0.2
    """ε of the clipped surrogate."""
    cost_surrogate: Annotated[Literal["clipped", "unclipped"], sees_costs] = "unclipped"
    """unclipped: cost terms are not clipped, as in the paper; clipped: the whole Lagrangian's
    advantage."""
    standardize: bool = True
    """Bring the Lagrangian's advantage to deviation 1; never reward and costs apart."""
    entropy: Annotated[float | Literal["auto"], not_negative, TRACED] = "auto"
    """Weight of the entropy bonus; auto: 0.01 for discrete actions, 0 for vectors."""
    gradient_norm: Annotated[float, positive, TRACED] = 0.5
    """Largest norm of each network's gradient; of critics' alone with --preconditioner common."""
    kl_target: Annotated[float | Literal["none"], positive, TRACED] = 0.01
    """Mean KL divergence of a local step at which the policy's learning rate aims, within 1/32 and
    2 times of what is given; none: it does not adapt."""
    kl_limit: Annotated[float | Literal["none"], positive, TRACED] = 0.02
    """Mean KL divergence of a minibatch at which a local step stops; none: it never does."""
    share: Literal["actor", "actor-and-critic"] = "actor-and-critic"
    """What is merged: the policy, or the policy and the reward critic."""
    merge: str = "parameters"
    """How networks become one: parameters, their mean; or module:factory."""
    merge_by: Annotated[Literal["equal", "lagrangian"], only_with("reference", "fed")] = (
        "lagrangian"
    )
    """lagrangian: agents count by what their objectives were divided by, so that their steps add
    up to one on the whole Lagrangian; equal: a plain mean."""
    preconditioner: Literal["own", "common"] = "own"
    """What divides the policy's steps. own: Adam's of each agent, the size of its own gradients;
    common: one of all agents, the size of the merged gradient of the rounds before, so that steps
    add up to that of one agent that sees everything."""
    scale_observations: Literal["small", "all", "none"] = "small"
    """By running moments, which are merged along with the policy. small: features whose root mean
    square is below 1 are divided by it; all: every feature has mean 0 and deviation 1."""
    scale_returns: bool = True
    """Let critics predict in units of the returns' size."""
    duals: Annotated[Literal["multiplicative", "pid", "gradient", "crpo"], sees_costs] = (
        "multiplicative"
    )
    """How multipliers answer to costs: multiplicative weights, whose gains fit any scale of reward
    and costs; PID controller; projected gradient; crpo: no multipliers, every agent's step goes
    down a violated cost of its own until nobody reports one."""
    dual_units: Annotated[
        Literal["budget", "raw"], sees_costs, only_with("duals", "pid", "gradient", "crpo")
    ] = "budget"
    """budget: violations count in budgets, (J − d)/d; raw: in the cost's own unit."""
    dual_step_size: Annotated[float, not_negative, TRACED, only_with("duals", "gradient")] = 0.1
    """η_λ of --duals gradient."""
    proportional_gain: Annotated[
        float, not_negative, TRACED, only_with("duals", "multiplicative", "pid")
    ] = 2.0
    """K_P of --duals multiplicative or pid."""
    integral_gain: Annotated[
        float, not_negative, TRACED, only_with("duals", "multiplicative", "pid")
    ] = 0.2
    """K_I of --duals multiplicative or pid."""
    derivative_gain: Annotated[float, not_negative, TRACED, only_with("duals", "pid")] = 0.0
    """K_D of --duals pid."""
    dual_smoothing: Annotated[
        float, in_range(0, 1), TRACED, only_with("duals", "multiplicative", "pid")
    ] = 0.2
    """Share of the old cost kept in the smoothed one, of --duals multiplicative or pid."""
    budget_margin: Annotated[
        float, in_range(0, 1), TRACED, only_with("duals", "multiplicative", "pid", "gradient")
    ] = 0.05
    """Share of each budget below it at which multipliers aim, since costs of a policy that learns
    settle around what they aim at."""
    penalty_share: Annotated[float, positive, TRACED, only_with("duals", "multiplicative")] = 0.4
    """ρ: share of the range of rewards seen that all costs together may take; while a budget stays
    broken it rises, to 3 at most. From 1 on giving the reward up can pay."""
    insistence: Annotated[float, not_negative, TRACED, only_with("duals", "multiplicative")] = 0.15
    """Rate at which that share grows while a budget stays broken, per round and error."""
    multiplier_floor: Annotated[
        float, not_negative, TRACED, only_with("duals", "multiplicative")
    ] = 0.03
    """ε: least multiplier, in returns per budget, with which every one begins."""
    multiplier_cap: Annotated[
        float | Literal["auto"],
        positive,
        TRACED,
        only_with("duals", "multiplicative", "pid", "gradient"),
    ] = "auto"
    """λ_max, in reward per cost; auto: ten returns per budget, and 10 at least."""
    tolerance: Annotated[float, not_negative, TRACED, only_with("duals", "crpo")] = 0.0
    """How far above its budget a cost may be for --duals crpo, in --dual-units."""
    natural_step: Literal["auto", "common", "own"] = "auto"
    """Of fednatural. common: one step of all agents on the sum of their Lagrangians, agreed on by
    means of gradients, solutions and divergences; own: each its own step, and these are merged;
    auto: common where agents merge after every local step, else own."""
    radius: Annotated[float, positive, TRACED] = 0.01
    """Largest mean KL divergence of a step of fednatural."""
    damping: Annotated[float, not_negative, TRACED] = 0.1
    """Added to the Fisher matrix's diagonal by fednatural."""
    conjugate_steps: Annotated[int, at_least(1)] = 10
    """Iterations of the conjugate gradient of fednatural."""
    evaluate_every: Annotated[int, at_least(1)] = 10
    """Rounds between two evaluations of the merged policy; rounds 0 and T always have one."""
    episodes: Annotated[int, at_least(100)] = 128
    """Episodes in an evaluation, at least 100: so many of the policy, as many of its mode."""
    confirm_episodes: Annotated[
        int | Literal["none"], at_least(100), only_with("reference", "fed")
    ] = 400
    """Fresh episodes, at least 100, that confirm of an evaluated policy that it keeps every budget
    before the run recommends it; none: no policy is recommended, as in sweeps."""
    window: Annotated[int, at_least(1)] = 4
    """Evaluations at the end of the run whose mean the summary reports."""
    seed: Annotated[int, at_least(0), TRACED] = 0
    """Seed of everything random."""
    seeds: Annotated[int, at_least(1)] = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: Annotated[int, at_least(1)] = 1
    """Rounds between two rows of metrics.csv; rounds 0 and T are always written."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.hidden:
            raise InvalidInput("--hidden", "nothing", "the width of at least one layer")


def takes_common_steps(natural_step: str, local_steps: int) -> bool:
    """Whether natural steps are common to all agents.

    Raises:
        InvalidInput: they are to be, and agents do not merge after every step.
    """
    if natural_step == "common" and local_steps > 1:
        raise InvalidInput(
            "--natural-step", "common", f"auto or own with --local-steps {local_steps}"
        )
    return natural_step != "own" and local_steps == 1


def unread(algorithm: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that an algorithm does not read, and what they would need, in words."""
    found = {name: other for other in OWN if other != algorithm for name in OWN[other]}
    step, local_steps = settings["natural_step"], settings["local_steps"]
    if algorithm == "fednatural" and step != "own" and local_steps == 1:
        found["merge_by"] = "--natural-step own"
    return found


def without_recommendation(config: DeepConfig) -> DeepConfig:
    """The settings as a member of a sweep has them, which holds no candidates.

    Three more policies would be most of a member's state, and nobody confirms one of thousands.

    Raises:
        InvalidInput: a number of episodes was asked for.
    """
    if config.reference != "fed" or config.confirm_episodes == "none":
        return config
    if config.confirm_episodes != DeepConfig.confirm_episodes:
        raise InvalidInput(
            "--confirm-episodes",
            config.confirm_episodes,
            "none in a sweep: only a run recommends a policy",
        )
    return dataclasses.replace(config, confirm_episodes="none")


NAMED = ("merge",)
"""Settings that name what has settings of its own."""


def own_settings(algorithm: str, named: Named) -> tuple[Any, ...]:
    """The settings that merges have of their own.

    Args:
        algorithm: ``fedppo`` or ``fednatural``.
        named: for ``merge`` the values that it may have.

    Raises:
        InvalidInput: no such merge.
    """
    return tuple(dict.fromkeys(aggregator_of(name).settings for name in named["merge"]))


def settings_type(entries: Mapping[str, Any]) -> type[DeepConfig]:
    """The type of the settings with the merges that these entries name."""
    return extended(DeepConfig, *own_settings("fedppo", named_in(DeepConfig, NAMED, [entries])))


@functools.lru_cache(maxsize=64)
def aggregator_of(merge: str) -> Aggregator:
    """A registered aggregator, or that of a ``module:factory``."""
    aggregator: Aggregator = aggregators.make(merge)
    return aggregator
