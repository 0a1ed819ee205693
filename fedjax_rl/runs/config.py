"""Settings of a run: what the command line takes and ``config.yaml`` holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from fedjax_rl.errors import InvalidInput
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


@dataclasses.dataclass(frozen=True)
class FedNPGConfig:
    """Settings of FedNPG on a finite problem (arXiv 2405.03236)."""

    problem: str = "windy-cliff"
    """A registered name (see: fedjax-rl list), a file.npz, or module:factory."""
    problem_args: tuple[str, ...] = ()
    """Arguments of the problem's factory, each NAME=VALUE (states=20 seed=3)."""
    agents: int | None = None
    """N, the number of agents; unless given, one for each constraint."""
    access: str | None = None
    """YAML or npz file with the access matrix: which agent watches which constraint."""
    budgets: tuple[float, ...] | None = None
    """d_j, one for each constraint, in place of the problem's own."""
    discount: float | None = None
    """Discount in [0, 1), in place of the problem's own."""
    learner: str = "npg"
    """What an agent does in a local step: npg, optimistic, regularized, crpo, or module:factory."""
    correction: Literal["none", "control-variate"] = "none"
    """control-variate: one more exchange per round, of increments, that removes client drift."""
    regularization: float = 0.0
    """τ of learner regularized, in the problem's own units of reward."""
    tolerance: float = 0.0
    """How far above its budget a cost may be before learner crpo acts, in its own units."""
    local_steps: int = 1
    """E, local steps between two merges."""
    rounds: int = 10_000
    """T, merges in the run."""
    merge: str = "auto"
    """How policies become one: logits, probabilities, points, or module:factory; auto: the mean
    of what the learner sends, logits for npg."""
    merge_weights: tuple[float, ...] | None = None
    """A positive weight of each agent in the merge, in place of equal ones."""
    participants: int | None = None
    """Agents drawn to take part in each round; unless given, all."""
    evaluation: Literal["exact", "sampled"] = "exact"
    """How agents evaluate their policies: exact solves, or Monte-Carlo rollouts."""
    rollouts: int = 10
    """K, rollouts from each state and action when evaluation is sampled."""
    reference: Literal["fed", "omniscient", "no-communication"] = "fed"
    """fed; omniscient: one agent that sees every cost; no-communication: nothing is merged. The
    two references take a policy step of η/N, so that all advance at equal pace."""
    step_size: float | Literal["auto"] = "auto"
    """η, literally; auto: 2/√T after rescaling rewards and costs to unit range."""
    dual_step_size: float | Literal["auto"] = "auto"
    """η_λ, literally; auto: 0.1 η after the same rescaling."""
    multiplier_cap: float | Literal["auto"] = "auto"
    """λ_max, largest value of a multiplier, in the problem's own units; auto: Slater's bound
    (max V_r − V_r(π_Slater)) / ξ, which no optimal multiplier exceeds."""
    seed: int = 0
    """Seed of everything random."""
    seeds: int = 1
    """K, runs with seeds seed, seed + 1, … as one program; figures are means over them."""
    log_every: int = 1
    """Rounds between two rows of metrics.csv; rounds 0 and T are always written."""

    def __post_init__(self) -> None:
        for field in ("problem", "learner", "merge"):
            check_text(field, getattr(self, field))
        if self.access is not None:
            check_text("access", self.access)
        for field in ("local_steps", "rounds", "rollouts", "seeds", "log_every"):
            check_count(field, getattr(self, field), least=1)
        for field in ("agents", "participants"):
            if getattr(self, field) is not None:
                check_count(field, getattr(self, field), least=1)
        check_count("seed", self.seed, least=0)
        for field in ("step_size", "dual_step_size", "multiplier_cap"):
            if getattr(self, field) != "auto":
                check_positive(field, getattr(self, field), "auto or a positive number")
        for field in ("regularization", "tolerance"):
            check_not_negative(field, getattr(self, field))
        for weight in self.merge_weights or ():
            check_positive("merge_weights", weight, "positive numbers")
        check_choice("correction", self.correction, ("none", "control-variate"))
        check_choice("evaluation", self.evaluation, ("exact", "sampled"))
        check_choice("reference", self.reference, ("fed", "omniscient", "no-communication"))
        check_entries("problem_args", self.problem_args)


SinkName = Literal["jsonl", "tensorboard", "wandb", "mlflow"]
"""What rows can be logged to besides ``metrics.csv``."""


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """When a run that is written somewhere saves itself."""

    checkpoint_every: int | None = None
    """Save after so many rounds or learner steps, too."""
    checkpoint_seconds: float = 60.0
    """Save when so many seconds have passed since the last time."""
    keep_checkpoints: int = 2
    """How many checkpoints to keep; 0 for none at all."""

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None:
            check_count("checkpoint_every", self.checkpoint_every, least=1)
        check_not_negative("checkpoint_seconds", self.checkpoint_seconds)
        check_count("keep_checkpoints", self.keep_checkpoints, least=0)

    def chunk(self, rounds: int) -> int:
        """Rounds between two visits of the host that are rare enough, for ``rounds`` of speed."""
        if self.checkpoint_every is None or self.keep_checkpoints == 0:
            return rounds
        return min(rounds, self.checkpoint_every)


def problem_arguments(entries: tuple[str, ...]) -> dict[str, Any]:
    """``("states=20", "seed=3")`` as ``{"states": 20, "seed": 3}``; values read as YAML."""
    pairs = (entry.split("=", 1) for entry in entries)
    return {name.replace("-", "_"): yaml.safe_load(value) for name, value in pairs}


def settings_to_yaml(
    algorithm: str, settings: Mapping[str, Any], made_with: Mapping[str, Any]
) -> str:
    """The text of ``config.yaml``: every setting, tuples as lists, and what made the run."""
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
    document = {"algorithm": algorithm, **plain, "made_with": dict(made_with)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def config_from_yaml(path: Path) -> tuple[FedNPGConfig, dict[str, Any]]:
    """Reads a ``config.yaml`` back, with what the run was made with.

    Raises:
        InvalidInput: no such file, not YAML, or a field that does not exist or fit.
    """
    document = read_yaml("config", path)
    if not isinstance(document, dict):
        raise InvalidInput("config", path, "a YAML mapping of settings")
    made_with = document.pop("made_with", None) or {}
    if not isinstance(made_with, dict):
        raise InvalidInput("made_with", repr(made_with), "a mapping of versions")
    for name in ("checkpoints", "sinks"):
        document.pop(name, None)
    if document.pop("algorithm", "fednpg") != "fednpg":
        raise InvalidInput("config", path, "a config.yaml of algorithm fednpg")
    known = {field.name for field in dataclasses.fields(FedNPGConfig)}
    unknown = sorted(set(document) - known)
    if unknown:
        raise InvalidInput("config", unknown[0], f"known settings: {', '.join(sorted(known))}")
    for name in ("problem_args", "budgets", "merge_weights"):
        if isinstance(document.get(name), list):
            document[name] = tuple(document[name])
    return FedNPGConfig(**{name: as_number(value) for name, value in document.items()}), made_with


def checkpoint_settings(path: Path) -> CheckpointSettings:
    """How the run of a ``config.yaml`` saved itself, or the defaults where it does not say.

    Raises:
        InvalidInput: no such file, not YAML, or a field that does not exist or fit.
    """
    document = read_yaml("--config", path)
    entries = (document.get("checkpoints") if isinstance(document, dict) else None) or {}
    known = [field.name for field in dataclasses.fields(CheckpointSettings)]
    if not isinstance(entries, dict) or not set(entries) <= set(known):
        raise InvalidInput("checkpoints", repr(entries), f"a mapping of {', '.join(known)}")
    return CheckpointSettings(**{name: as_number(value) for name, value in entries.items()})


def sink_names(path: Path) -> tuple[SinkName, ...]:
    """What the run of a ``config.yaml`` was logged to, or nothing where it does not say.

    Raises:
        InvalidInput: no such file, not YAML, or no list of sinks.
    """
    document = read_yaml("--config", path)
    names = (document.get("sinks") if isinstance(document, dict) else None) or []
    if not isinstance(names, list) or not set(map(str, names)) <= set(get_args(SinkName)):
        raise InvalidInput("sinks", repr(names), f"a list of {', '.join(get_args(SinkName))}")
    return tuple(names)
