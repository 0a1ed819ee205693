"""A fourth kind of experiment: federated least squares, whose optimum is known in closed form.

N agents hold Aᵢ x ≈ bᵢ and descend their own mean squared error; x is averaged (FedAvg).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.algorithm import Learner, Report
from fedjax_rl.checks import at_least, positive
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families import Assembled, Headline
from fedjax_rl.families.seedwise import Parts, seedwise
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.settings.fields import PROBLEM, TRACED, check_fields

ROWS, FEATURES = 12, 3


@dataclasses.dataclass(frozen=True)
class Settings:
    problem: Annotated[str, PROBLEM] = "gaussian"
    """Where the data come from."""
    agents: Annotated[int, at_least(1), PROBLEM] = 4
    """N."""
    local_steps: Annotated[int, at_least(1)] = 1
    """E, gradient steps between two merges."""
    rounds: Annotated[int, at_least(1)] = 30
    """T."""
    step_size: Annotated[float, positive, TRACED] = 0.05
    """Of every gradient step."""
    seed: Annotated[int, at_least(0)] = 0
    """Seed of the first point."""
    seeds: Annotated[int, at_least(1)] = 1
    """K."""
    log_every: Annotated[int, at_least(1)] = 1
    """Rounds between two rows."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.problem != "gaussian":
            raise InvalidInput("--problem", repr(self.problem), "gaussian")


class Data(NamedTuple):
    """Aᵢ [N, rows, features] and bᵢ [N, rows], and the least squares solution of all together."""

    a: Any
    b: Any
    solution: np.ndarray
    optimum: float


def data_of(agents: int) -> Data:
    """The same for every seed."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(agents, ROWS, FEATURES))
    b = rng.normal(size=(agents, ROWS))
    solution, *_ = np.linalg.lstsq(a.reshape(-1, FEATURES), b.reshape(-1), rcond=None)
    return Data(a, b, solution, float(np.mean((a @ solution - b) ** 2)))


def error(x: jax.Array, agent: Any) -> jax.Array:
    """Mean squared error of one agent."""
    a, b = agent
    return jnp.mean((a @ x - b) ** 2)


def _step(key: Any, time: Any, x: Any, local: Any, agent: Any, step_size: Any) -> Any:
    return x - step_size * jax.grad(error)(x, agent), local, ()


LEARNER = Learner(
    init=lambda key, agent, step_size: (jax.random.normal(key, (FEATURES,)), ()),
    step=_step,
    message=lambda x: x,
    adopt=lambda x, merged, step_size: merged,
    report=lambda x, local: Report(x, jnp.zeros(0)),
    message_kind="parameters",
    float64=True,
)


def assemble(algorithm: str, settings: Settings) -> Assembled:
    """One seed."""
    federation = federate(
        LEARNER,
        parameter_mean(),
        num_agents=settings.agents,
        local_steps=settings.local_steps,
    )
    data = data_of(settings.agents)
    hparams = FederationSettings((data.a, data.b), np.float64(settings.step_size))

    def observe(state: Any, hparams: Any) -> Any:
        return jax.vmap(error, (None, 0))(state.shared, hparams.agents).mean(), state.shared

    def step(key: Any, round: Any, state: Any, hparams: Any) -> Any:
        state, _ = federation.step(key, round, state, hparams)
        return state, observe(state, hparams)

    return Assembled(
        program=(algorithm, settings.agents, settings.local_steps, settings.rounds),
        algorithm=federation._replace(step=step, observe=observe),
        hparams=hparams,
        prepared=data,
        rounds=settings.rounds,
        span_rounds=10,
    )


def columns(data: Data, first_round: int, rows: Any) -> dict[str, np.ndarray]:
    """Error, its gap to the optimum, and the distance from the solution."""
    errors, points = rows
    return {
        "round": first_round + np.arange(len(errors)),
        "error": np.asarray(errors),
        "gap": np.asarray(errors) - data.optimum,
        "distance": np.linalg.norm(points - data.solution, axis=-1),
    }


FAMILY = seedwise(
    Parts(
        assemble=assemble,
        columns=columns,
        summarise=lambda data, table, x: {
            name: float(table[name][-1]) for name in ("error", "gap", "distance")
        },
        outcome=lambda state: state.shared,
        digest=lambda data: hashlib.sha256(data.a.tobytes() + data.b.tobytes()).hexdigest(),
        opening=lambda data: f"Least squares, {len(data.a)} agents; optimum {data.optimum:.4g}",
        closing=lambda summary: f"The gap is {summary['gap']:.3g}.",
        agents=lambda data: len(data.a),
    ),
    name="least squares",
    settings=Settings,
    algorithms={"fedavg-least-squares": "federated averaging of least squares"},
    about="Fit a line that no agent has all the data of.",
    headline=Headline("gap", maximize=False),
    problem="problem",
)
