"""Two values of every setting that can be swept, at the smallest size at which they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import struct

from fedjax_rl.algorithm import Aggregator, learners
from fedjax_rl.envs.known import TwoActions
from fedjax_rl.envs.task import NO_LIMIT, Constraint, Task, constrained
from fedjax_rl.families.networks.config import OWN, DeepConfig
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.tabular.programs import settings_type
from fedjax_rl.hetero.latency import QuantileSettings
from fedjax_rl.hetero.losses import Batch, Loss, LossChoices, LossOutput, losses
from fedjax_rl.hetero.losses.contract import KLSettings
from fedjax_rl.ops.means import weighted_mean
from fedjax_rl.plugins import joined
from fedjax_rl.settings.own import extended
from fedjax_rl.sources.problems import save_problem
from tests import support


class Axis(NamedTuple):
    """A setting that is data to a program.

    Attributes:
        values: two of them, as ``--grid NAME=`` takes them.
        variant: number of the `Table`'s variant that they are swept on; 0 is the base itself.
        only: the algorithms that the setting is for, or empty for all of the table.
        common: other settings without which the two would make no difference.
        alike: why policies do not tell the two apart; empty where they must.
    """

    values: str
    variant: int = 0
    only: tuple[str, ...] = ()
    common: Mapping[str, Any] = MappingProxyType({})
    alike: str = ""


class Table(NamedTuple):
    """Everything that can be swept of algorithms that share their settings.

    Attributes:
        algorithms: their names.
        base: settings that are not swept.
        data: axes of members that share a program.
        variants: settings that shape a program, each at another value than in ``base``.
    """

    algorithms: tuple[str, ...]
    base: Any
    data: dict[str, Axis]
    variants: tuple[dict[str, Any], ...]


FINITE = Table(
    algorithms=("fednpg",),
    base=settings_type({"learner": list(learners)})(problem="a.npz", access="a.yaml", rounds=6),
    data={
        "problem": Axis("a.npz,b.npz"),
        "problem_args": Axis("[states=4,seed=1],[states=4,seed=2]", variant=1),
        "access": Axis("a.yaml,b.yaml"),
        "budgets": Axis("[3,3,3,3],[3,3,3,2.5]"),
        "discount": Axis("0.9,0.8"),
        "regularization": Axis("0.1,0.3", variant=2),
        "tolerance": Axis("0,4", variant=3),
        "merge_weights": Axis("[1,2],[2,1]", variant=4),
        "step_size": Axis("auto,0.3"),
        "dual_step_size": Axis("auto,0.2"),
        "multiplier_cap": Axis("auto,0.01"),
    },
    variants=(
        {"problem": "random-mdp", "access": None, "agents": 3, "rounds": 3},
        {"learner": "regularized", "evaluation": "sampled", "rollouts": 2, "participants": 1},
        {"learner": "crpo", "merge": "probabilities", "rounds": 5},
        {"local_steps": 2, "correction": "control-variate"},
        {"reference": "no-communication"},
    ),
)

PPO, NATURAL = ("fedppo",), ("fednatural",)
NETWORKS = Table(
    algorithms=("fedppo", "fednatural"),
    base=DeepConfig(
        problem="tests.sweeps.axes:walk",
        access="both.yaml",
        vary=("gain=1,1",),
        envs=4,
        rollout=8,
        hidden=(4,),
        rounds=3,
        episodes=100,
        epochs=2,
        minibatches=2,
        evaluate_every=1,
        learning_rate=0.01,
        scale_observations="none",
        kl_limit=1e9,
    ),
    data={
        "access": Axis("both.yaml,shared.yaml"),
        "budgets": Axis("[0.5,0.3],[0.5,0.1]"),
        "vary": Axis("['gain=1,1'],['gain=1,3']"),
        "learning_rate": Axis("0.01,0.1"),
        "learning_rate_decay": Axis("0,0.5"),
        "discount": Axis("null,0.5"),
        "gae": Axis("0.95,0.5"),
        "cost_gae": Axis("0.95,0.5"),
        "clip": Axis("0.2,0.001", only=PPO),
        "entropy": Axis("0.01,0.3", only=PPO),
        "gradient_norm": Axis("0.5,1e-9"),
        "kl_target": Axis("0.01,1e-9", only=PPO),
        "kl_limit": Axis("1e9,1e-9", only=PPO),
        "dual_units": Axis("budget,raw", variant=3),
        "dual_step_size": Axis("0.1,0.5", variant=1),
        "proportional_gain": Axis("1,0.2"),
        "integral_gain": Axis("0.1,0.5"),
        "derivative_gain": Axis("0,0.5", variant=3),
        "dual_smoothing": Axis("0.5,0"),
        "budget_margin": Axis("0,0.2"),
        "penalty_share": Axis("0.3,0.001", common=MappingProxyType({"proportional_gain": 30.0})),
        "insistence": Axis("0.1,9", common=MappingProxyType({"proportional_gain": 30.0})),
        "multiplier_floor": Axis("0.03,0.5"),
        "multiplier_cap": Axis("auto,0.01"),
        "tolerance": Axis("0,9", variant=2, only=PPO),  # of the local step that both share
        "radius": Axis("0.01,0.1", only=NATURAL),
        "damping": Axis("0.1,1", only=NATURAL),
        "window": Axis("4,1", alike="of the summary alone"),
    },
    variants=(
        {
            "duals": "gradient",
            "problem": "tests.sweeps.axes:slower",
            "problem_args": ("length=3",),
            "agents_at_once": 1,
            "envs": 8,
            "rollout": 12,
            "local_steps": 2,
            "rounds": 2,
            "epochs": 1,
            "minibatches": 3,
            "hidden": (8, 8),
            "activation": "relu",
            "cost_surrogate": "clipped",
            "standardize": False,
            "share": "actor",
            "merge_by": "equal",
            "preconditioner": "common",
            "natural_step": "own",
            "scale_observations": "all",
            "scale_returns": False,
            "conjugate_steps": 3,
            "evaluate_every": 2,
            "episodes": 102,
        },
        {
            "duals": "crpo",
            "reference": "no-communication",
            "merge": "tests.sweeps.axes:halfway",
            "access": None,
            "agents": 3,
            "vary": (),
        },
        {"duals": "pid"},
    ),
)

EVERY_LOSS = joined(KLSettings, *(losses.make(name, LossChoices()).settings for name in losses))
"""The constants of all losses."""

UNFITTED = QuantileSettings()._asdict()
"""A trace has no quantiles."""
STALE = Table(
    algorithms=("tests.sweeps.axes:every_loss",),
    base=extended(HeteroConfig, EVERY_LOSS, QuantileSettings)(
        task="brackets",  # whose answers differ in length
        task_args=("length=5", "kinds=2"),
        window=3,
        latency_low=30.0,
        latency_high=200.0,
        latency_offset=0.0,
        steps=6,
        prompts=2,
        group_size=3,
        held_out=16,
        on_policy=2,
        evaluate_every=1,
        warm_start=0.0,
        kl="true",
    ),
    data={
        "warm_start": Axis("0,0.3"),
        "samplers": Axis("4,2"),
        "window": Axis("3,1"),
        "latency": Axis("lognormal,trace.csv", common=MappingProxyType(UNFITTED)),
        "latency_low": Axis("30,90"),
        "latency_high": Axis("200,400"),
        "latency_offset": Axis("0,20"),
        "sampler_seconds": Axis("[28],[28,56,84,112]"),
        "learner_seconds": Axis("28,14"),
        "travel_seconds": Axis("0,60"),
        "jitter": Axis("0,1"),
        "packet_loss": Axis("0,0.5"),
        "pacing": Axis("null,1"),
        "discard": Axis("unusable,window", common={"window": 2}),
        "temperature": Axis("1,0.5"),
        "top_p": Axis("1,0.5"),
        "label_noise": Axis("0.1,0.6"),
        "learning_rate": Axis("null,0.1"),
        "gradient_norm": Axis("1e9,1e-9"),
        "kl_weight": Axis("0.005,5"),
        "clip_low": Axis("0.2,0.001"),
        "clip_high": Axis("0.2,0.001"),
        "gmpo_clip": Axis("0.4,0.001"),
        "tis_cap": Axis("1,0.1"),
        "cispo_cap": Axis("5,0.1"),
        "defensive": Axis("0.005,0.9"),
        "length_exponent": Axis("0.75,0"),
        "trace_rho": Axis("1,0.1"),
        "trace_c": Axis("1,0.1"),
        "baseline": Axis("0.5,0"),
        "kl_threshold": Axis("0.002,1e9"),
    },
    variants=(
        {
            "task": "sorting",
            "task_args": ("length=3",),
            "policy": "transformer",
            "layers": 1,
            "width": 8,
            "heads": 2,
            "dtype": "bfloat16",
            "prompts": 3,
            "group_size": 4,
            "steps": 5,
            "top_k": 2,
            "sequence_weight": "geometric",
            "denominator": "plain",
            "kl": "code",
            "evaluate_every": 2,
            "held_out": 32,
            "on_policy": 3,
        },
    ),
)


def whole_table_of(algorithm: str) -> Table:
    """The table of an algorithm and of all that share its type of settings."""
    return next(one for one in (FINITE, NETWORKS, STALE) if algorithm in one.algorithms)


def table_of(algorithm: str) -> Table:
    """The table of an algorithm, without what others of its family alone read."""
    table = whole_table_of(algorithm)
    others = {name for one in OWN if one != algorithm for name in OWN[one]}
    if algorithm not in OWN:
        return table
    kind = type(table.base)
    return Table(
        (algorithm,),
        dataclasses.replace(table.base, **{name: getattr(kind, name) for name in others}),
        {name: axis for name, axis in table.data.items() if name not in others},
        tuple(
            {name: value for name, value in variant.items() if name not in others}
            for variant in table.variants
        ),
    )


def make_files(folder):
    """The files that axes name: two problems of one shape, matrices of access, a trace."""
    problem = support.random_problem(0)
    save_problem(folder / "a.npz", problem)
    factors = np.array([1, 2, 0.5, 1])[:, None, None]
    dearer = dataclasses.replace(problem, costs=problem.costs * factors)
    save_problem(folder / "b.npz", dearer)
    matrices = {
        "a.yaml": [[1, 1, 0, 0], [0, 0, 1, 1]],
        "b.yaml": [[1, 0, 1, 0], [0, 1, 0, 1]],
        "both.yaml": [[1, 1], [0, 1]],
        "shared.yaml": [[1, 1], [1, 0]],
    }
    for name, matrix in matrices.items():
        (folder / name).write_text(yaml.safe_dump(matrix))
    (folder / "trace.csv").write_text("seconds\n40\n250\n90\n")


@struct.dataclass
class WalkState:
    """Steps taken."""

    time: int


@struct.dataclass
class WalkParams:
    """What a step to the right is worth."""

    max_steps_in_episode: int = NO_LIMIT
    gain: float = 1.0


class Walk(TwoActions):
    """A few steps, each to the right or none, for a reward that shrinks."""

    def __init__(self, length: int):
        self.length = length

    @property
    def default_params(self):
        return WalkParams()

    def reset_env(self, key, params):
        state = WalkState(time=0)
        return self.observe(key, state, None, params), state

    def step_env(self, key, state, action, params):
        after = WalkState(time=state.time + 1)
        reward = params.gain * action / after.time
        return self.observe(key, after, action, params), after, reward, self.over(after), {}

    def observe(self, key, state, action, params):
        return jnp.ones(1) * state.time

    def over(self, state):
        return jnp.asarray(state.time >= self.length)

    def is_terminated(self, state, params):
        return self.over(state)


def walk(length: int = 2, gain: float = 1.0) -> Task:
    """Moving costs once, and at the first step again."""
    moves = Constraint("moves", lambda state, action, after: action == 1, 0.5)
    early = Constraint("early", lambda state, action, after: (action == 1) * (after.time < 2), 0.3)
    params = WalkParams(gain=gain)
    return constrained("walk", Walk(length), [moves, early], params=params, discount=1.0)


def slower(length: int = 2) -> Task:
    """The same, for less."""
    return walk(length, gain=0.5)


def halfway() -> Aggregator:
    """Half of the mean of parameters."""

    def merge(messages, weights, state):
        return jax.tree.map(lambda leaf: leaf / 2, weighted_mean(messages, weights)), state

    return Aggregator(lambda message, settings: (), merge, accepts=("parameters",))


def every_loss(choices: LossChoices):
    """The sum of all registered losses, in which every setting of theirs has its effect."""
    each = [losses.make(name, choices) for name in losses]

    def loss(batch: Batch, settings: Any) -> LossOutput:
        outputs = [one(batch, settings) for one in each]
        first = next(one for one in outputs if one.weights.shape == batch.log_p.shape)
        return first._replace(loss=sum(one.loss for one in outputs))

    return Loss(loss, joined(*(one.settings for one in each)))
