"""Environment steps per second of FedPPO against rejax and stable-baselines3, and against N."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import gymnax
import jax
import numpy as np

from bench.harness import interleaved, rates, ratio
from bench.peers import (
    REQUIREMENTS,
    PeerUnavailable,
    Worker,
    WorkerFailed,
    peer_environment,
    script,
)
from fedjax_rl.algorithm import Algorithm
from fedjax_rl.envs.task import Constraint, Task, constrained, vary
from fedjax_rl.execution.train import start, train
from fedjax_rl.families.networks.assembly import agents_map
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.traced import choices_of, settings_of
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.learners.deep.agent import deep_agents
from fedjax_rl.learners.deep.design import Design, design_of
from fedjax_rl.learners.deep.ppo import ppo

STEPS = 128
SIZES = (4, 64, 1024)
AGENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ENVIRONMENTS_PER_AGENT = 16
WORK = {"steps": STEPS, "epochs": 4, "minibatches": 4}


class Ours:
    """A compiled federation on CartPole, and how to run so many rounds of it.

    Args:
        agents: N; one agent watches nothing, several watch one position each.
        constraints: M positions, which the agents watch in turn.
        environments: of each agent.
        seconds: about how long a turn should take.
    """

    def __init__(self, agents: int, environments: int, seconds: float, constraints: int = 4):
        built = on_cartpole(agents, environments, constraints)
        self.algorithm, self.hparams = built.algorithm, built.hparams
        self.key = jax.random.key(0)
        begun = time.perf_counter()
        self.state, _ = start(self.algorithm, self.key, self.hparams)
        self.run(2)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        self.run(4)
        each = (time.perf_counter() - begun) / 4
        self.compile_seconds = first - 2 * each
        self.rounds = max(2, round(seconds / each))
        self.agent_steps = self.rounds * agents * environments * STEPS

    def run(self, rounds: int) -> None:
        """Trains and waits for the result."""
        spans = train(
            self.algorithm, self.key, self.state, self.hparams, rounds=rounds, span_rounds=10_000
        )
        for span in spans:
            jax.block_until_ready(span.state)

    def turn(self) -> None:
        """One measured turn."""
        self.run(self.rounds)


class Built(NamedTuple):
    """A federation on CartPole before it is compiled.

    Attributes:
        algorithm: the federation.
        hparams: its traced settings.
        design: task and networks of an agent.
    """

    algorithm: Algorithm
    hparams: FederationSettings
    design: Design


def on_cartpole(agents: int, environments: int, constraints: int = 4) -> Built:
    """What `Ours` times.

    Args:
        agents: N; one agent watches nothing, several watch one position each.
        environments: of each agent.
        constraints: M positions, which the agents watch in turn.
    """
    task = cartpole(constraints)
    access = np.zeros((1, constraints), bool)
    if agents > 1:
        access = np.arange(agents)[:, None] % constraints == np.arange(constraints)
    stacked = deep_agents(task, access, vary(task, {}, agents))
    choices = choices_of(
        DeepConfig(
            envs=environments,
            rollout=STEPS,
            epochs=WORK["epochs"],
            minibatches=WORK["minibatches"],
            duals="gradient",
            cost_surrogate="clipped",
            scale_returns=False,
            scale_observations="none",
            kl_target="none",
            kl_limit="none",
        )
    )
    design = design_of(task, stacked.weights.shape[1], choices)
    algorithm = federate(
        ppo(design),
        parameter_mean(),
        num_agents=agents,
        agent_map=agents_map(DeepConfig(envs=environments)),
    )
    return Built(algorithm, FederationSettings(stacked, settings_of(DeepConfig(), task)), design)


def cartpole(constraints: int) -> Task:
    """CartPole with so many bands of the rail that cost something."""
    environment, params = gymnax.make("CartPole-v1")

    def band(centre: float) -> Callable[[Any, Any, Any], Any]:
        return lambda state, action, after: abs(state.x - centre) < 0.1

    centres = np.linspace(-2.0, 2.0, constraints)
    return constrained(
        "cartpole",
        environment,
        [Constraint(f"band-{j}", band(float(x)), 20.0) for j, x in enumerate(centres)],
        params=params,
    )


def measure(quick: bool) -> dict[str, Any]:
    """Runs both questions and prints a line for each."""
    seconds, repeats = (0.05, 2) if quick else (2.0, 7)
    figures: dict[str, Any] = {"environments": {}, "skipped": {}}
    for size in SIZES[: 1 if quick else None]:
        figures["environments"][str(size)] = against_peers(
            size, seconds, repeats, {} if quick else peers(figures["skipped"])
        )
    return figures | scaling(quick, seconds, repeats)


def scaling(quick: bool, seconds: float, repeats: int) -> dict[str, Any]:
    """Against the number of agents, and where each of them brings a constraint of its own."""
    counts = AGENTS[: 1 if quick else None]
    many = 2 if quick else 128
    return {
        "agents": {str(n): cost_of_agents(n, seconds, repeats) for n in counts},
        "own_constraints": {str(many): cost_of_agents(many, seconds, repeats, constraints=many)},
    }


def peers(skipped: dict[str, str]) -> dict[str, Any]:
    """The interpreter of every peer that could be installed; the others with the reason."""
    found = {}
    for name in ("rejax", "sb3"):
        try:
            found[name] = peer_environment(name, REQUIREMENTS[name])
        except PeerUnavailable as reason:
            skipped[name] = str(reason)
            print(f"{name} is skipped: {reason}")
    return found


def against_peers(
    size: int, seconds: float, repeats: int, pythons: dict[str, Any]
) -> dict[str, Any]:
    """Steps per second at so many environments, all competitors interleaved."""
    one, four = Ours(1, size, seconds), Ours(4, size, seconds)
    competitors: dict[str, Callable[[], object]] = {"one_agent": one.turn, "four_agents": four.turn}
    units: dict[str, float] = {"one_agent": one.agent_steps, "four_agents": four.agent_steps}
    own: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        for name, python in pythons.items():
            settings = {**WORK, "environments": size, "seconds": seconds, "threads": 1}
            try:
                worker = stack.enter_context(Worker(python, script(name), settings))
            except WorkerFailed as reason:
                print(f"{name} is skipped: {reason}")
                continue
            own[name] = []
            competitors[name] = lambda worker=worker, name=name: own[name].append(worker.turn())
        clock = interleaved(competitors, repeats)
    for name, turns in own.items():
        # What the peer measured itself: the words to and from it are not its work.
        units[name] = turns[-1]["environment_steps"]
        clock[name] = [turn["seconds"] for turn in turns[1:]]
    row: dict[str, Any] = {
        "steps_per_second": rates(clock, units),
        "compile_seconds": {"one_agent": one.compile_seconds, "four_agents": four.compile_seconds},
        "over": {
            peer: {mine: ratio(clock, units, mine, peer) for mine in ("one_agent", "four_agents")}
            for peer in own
        },
    }
    medians = {name: f"{rate['median']:.0f}" for name, rate in row["steps_per_second"].items()}
    print(f"{size} environments: agent-steps/s {medians}; over {row['over']}")
    return row


def cost_of_agents(
    agents: int, seconds: float, repeats: int, constraints: int = 4
) -> dict[str, float]:
    """Agent-steps per second and seconds to compile at so many agents."""
    ours = Ours(agents, ENVIRONMENTS_PER_AGENT, seconds, constraints)
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        ours.turn()
        times.append(time.perf_counter() - begun)
    rate = ours.agent_steps / statistics.median(times)
    rate_text = f"{rate:.0f} agent-steps/s, compiled in {ours.compile_seconds:.1f} s"
    print(f"N = {agents}, M = {constraints}: {rate_text}")
    return {"agent_steps_per_second": rate, "compile_seconds": ours.compile_seconds}
