"""Settings of FedPPO and of federated natural gradients."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.runs.checks import (
    check_choice,
    check_count,
    check_entries,
    check_not_negative,
    check_positive,
    check_text,
)
from fedjax_rl.runs.yaml_file import read_settings

ALGORITHMS = ("fedppo", "fednatural")
REFERENCES = ("fed", "omniscient", "no-communication", "one-shot", "unconstrained")
COUNTS = (
    *("envs", "rollout", "local_steps", "rounds", "epochs", "minibatches", "conjugate_steps"),
    *("evaluate_every", "episodes", "window", "seeds", "log_every"),
)
POSITIVE = ("learning_rate", "clip", "gradient_norm", "radius")
NOT_NEGATIVE = (
    *("entropy", "dual_step_size", "tolerance", "damping"),
    *("proportional_gain", "integral_gain", "derivative_gain"),
)
SHARES = ("gae", "cost_gae", "learning_rate_decay", "dual_smoothing")
LISTS = ("hidden", "problem_args", "vary")
SWITCHES = ("standardize", "normalize_observations", "scale_returns")


@dataclasses.dataclass(frozen=True)
class DeepConfig:
    """Settings of a federation of networks on a constrained task (arXiv 2405.03236)."""

    problem: str = "cartpole-pos2"
    """A task or finite problem (see: fedjax-rl list), a finite problem's file.npz, or
    module:factory."""
    problem_args: tuple[str, ...] = ()
    """Arguments of the problem's factory, each NAME=VALUE."""
    agents: int | None = None
    """N, the number of agents; unless given, one for each constraint."""
    access: str | None = None
    """YAML or npz file with the access matrix: which agent watches which constraint."""
    budgets: tuple[float, ...] | None = None
    """d_j, one for each constraint, in place of the task's own."""
    agents_at_once: int | None = None
    """Most agents that are simulated side by side, for speed alone; unless given, as many as fit
    a processor's cache, and all of them on an accelerator."""
    vary: tuple[str, ...] = ()
    """Dynamics that differ between agents, each NAME=VALUE,VALUE,… with one value per agent."""
    reference: Literal["fed", "omniscient", "no-communication", "one-shot", "unconstrained"] = "fed"
    """fed; omniscient: one agent that sees every cost; no-communication: nothing is merged;
    one-shot: merged once, at the end; unconstrained: one agent that sees no cost."""
    envs: int = 32
    """B, environments of each agent."""
    rollout: int = 200
    """Steps of each environment in a local step."""
    local_steps: int = 1
    """E, local steps (a rollout and an update) between two merges."""
    rounds: int = 120
    """T, merges in the run."""
    epochs: int = 4
    """Passes over a rollout in a local step."""
    minibatches: int = 4
    """Updates in a pass; a divisor of the rollout."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of every network."""
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    """Of the hidden layers."""
    learning_rate: float = 1e-3
    """Of Adam."""
    learning_rate_decay: float = 0.0
    """Share of the learning rate, and of the length of fednatural's steps, that is gone at the
    end of the run, linearly."""
    discount: float | None = None
    """γ with which agents discount the reward, in place of the task's; of a finite problem, whose
    episodes end with probability 1 − γ, it is 1."""
    gae: float = 0.95
    """λ of the reward's generalised advantages."""
    cost_gae: float = 0.95
    """λ of the costs' generalised advantages."""
    clip: float = 0.2
    """ε of the clipped surrogate."""
    cost_surrogate: Literal["clipped", "unclipped"] = "unclipped"
    """unclipped: cost terms are not clipped, as in the paper; clipped: the whole Lagrangian's
    advantage."""
    standardize: bool = True
    """Bring the Lagrangian's advantage to deviation 1; never reward and costs apart."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    gradient_norm: float = 0.5
    """Largest norm of each network's gradient."""
    kl_limit: float | None = None
    """Mean KL divergence at which a local step stops; unless given, it does not."""
    share: Literal["actor", "actor-and-critic"] = "actor-and-critic"
    """What is merged: the policy, or the policy and the reward critic."""
    merge: str = "parameters"
    """How networks become one: parameters, their mean; or module:factory."""
    merge_by: Literal["equal", "lagrangian"] = "equal"
    """equal: a plain mean; lagrangian: agents count by 1/N + Σ_j w_ij λ_ij, which undoes the
    normaliser of their objectives, so that one agent's constraint can outweigh many rewards."""
    normalize_observations: bool = False
    """By running moments, which are merged along with the policy."""
    scale_returns: bool = True
    """Let critics predict in units of the returns' size."""
    duals: Literal["gradient", "pid", "crpo"] = "pid"
    """How multipliers answer to costs: projected gradient, PID controller; crpo: no multipliers,
    every agent's step goes down a violated cost of its own until nobody reports one."""
    dual_units: Literal["budget", "raw"] = "budget"
    """budget: violations count in budgets, (J − d)/d; raw: in the cost's own unit."""
    dual_step_size: float = 0.1
    """η_λ of --duals gradient."""
    proportional_gain: float = 1.0
    """K_P of --duals pid."""
    integral_gain: float = 0.1
    """K_I of --duals pid."""
    derivative_gain: float = 0.0
    """K_D of --duals pid."""
    dual_smoothing: float = 0.0
    """Share of the old cost kept in the smoothed one, of --duals pid."""
    multiplier_cap: float | Literal["auto"] = "auto"
    """λ_max, in reward per cost; auto: ten returns per budget, and 10 at least."""
    tolerance: float = 0.0
    """How far above its budget a cost may be for --duals crpo, in --dual-units."""
    radius: float = 0.01
    """Largest mean KL divergence of a step of fednatural."""
    damping: float = 0.1
    """Added to the Fisher matrix's diagonal by fednatural."""
    conjugate_steps: int = 10
    """Iterations of the conjugate gradient of fednatural."""
    evaluate_every: int = 10
    """Rounds between two evaluations of the merged policy; rounds 0 and T always have one."""
    episodes: int = 128
    """Episodes in an evaluation, at least 100: so many of the policy, as many of its mode."""
    window: int = 4
    """Evaluations at the end of the run whose mean the summary reports."""
    seed: int = 0
    """Seed of everything random."""
    seeds: int = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: int = 1
    """Rounds between two rows of metrics.csv; rounds 0 and T are always written."""

    def __post_init__(self) -> None:
        for field in ("problem", "merge"):
            check_text(field, getattr(self, field))
        if self.access is not None:
            check_text("access", self.access)
        for field in COUNTS:
            check_count(field, getattr(self, field), least=100 if field == "episodes" else 1)
        for field in ("agents", "agents_at_once"):
            if getattr(self, field) is not None:
                check_count(field, getattr(self, field), least=1)
        check_count("seed", self.seed, least=0)
        for field in POSITIVE:
            check_positive(field, getattr(self, field), "a positive number")
        if self.multiplier_cap != "auto":
            check_positive("multiplier_cap", self.multiplier_cap, "auto or a positive number")
        if self.kl_limit is not None:
            check_positive("kl_limit", self.kl_limit, "a positive number")
        for field in NOT_NEGATIVE:
            check_not_negative(field, getattr(self, field))
        shares = SHARES if self.discount is None else (*SHARES, "discount")
        for field in shares:
            check_not_negative(field, getattr(self, field))
            if getattr(self, field) > 1:
                raise InvalidInput(flag(field), getattr(self, field), "a number in [0, 1]")
        for field in LISTS if self.budgets is None else (*LISTS, "budgets"):
            if not isinstance(getattr(self, field), tuple | list):
                raise InvalidInput(flag(field), repr(getattr(self, field)), "a list of values")
        for number in self.budgets or ():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise InvalidInput("--budgets", repr(number), "numbers, one for each constraint")
        for field in SWITCHES:
            if not isinstance(getattr(self, field), bool):
                raise InvalidInput(flag(field), repr(getattr(self, field)), "true or false")
        for width in self.hidden or (0,):
            check_count("hidden", width, least=1)
        check_choice("reference", self.reference, REFERENCES)
        check_choice("activation", self.activation, ("tanh", "relu", "silu"))
        check_choice("cost_surrogate", self.cost_surrogate, ("clipped", "unclipped"))
        check_choice("share", self.share, ("actor", "actor-and-critic"))
        check_choice("merge_by", self.merge_by, ("equal", "lagrangian"))
        check_choice("duals", self.duals, ("gradient", "pid", "crpo"))
        check_choice("dual_units", self.dual_units, ("budget", "raw"))
        check_entries("problem_args", self.problem_args)
        check_entries("vary", self.vary)


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "envs": 50,
        "rollout": 200,
        "epochs": 20,
        "minibatches": 1,
        "learning_rate": 1e-4,
        "kl_limit": 0.1,
        "standardize": False,
        "entropy": 0.0,
        "gradient_norm": 1e9,
        "scale_returns": False,
        "duals": "gradient",
        "dual_units": "raw",
        "dual_step_size": 1e-3,
        "multiplier_cap": 1.0,
        "gae": 0.95,
        "cost_gae": 0.95,
    },
}
"""Settings by name: ours, and those of the experiments of arXiv 2405.03236 (Adam 1e-4, 10,000
steps per agent and update, up to 20 full-batch epochs with a KL stop at 0.1, λ in [0, 1])."""


def preset(name: str) -> DeepConfig:
    """The settings of a preset.

    Raises:
        InvalidInput: an unknown name.
    """
    check_choice("preset", name, tuple(PRESETS))
    return DeepConfig(**PRESETS[name])


def read_config(path: Path, algorithm: str) -> tuple[DeepConfig, dict[str, Any]]:
    """Reads a ``config.yaml`` back, with what the run was made with.

    Raises:
        InvalidInput: no such file, of another algorithm, or a field that does not exist or fit.
    """
    return read_settings(path, algorithm, DeepConfig)
