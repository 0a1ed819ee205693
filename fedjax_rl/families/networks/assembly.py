"""From settings to everything a run of networks needs, validated before its first round."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from fedjax_rl import algorithm as contract
from fedjax_rl.algorithm import Algorithm, Learner
from fedjax_rl.backend import platform
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.cmdp.model import BoolArray
from fedjax_rl.cmdp.solve import Certificate
from fedjax_rl.envs.task import Task
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.families.networks.confidence import ATTEMPTS, margin
from fedjax_rl.families.networks.config import DeepConfig, aggregator_of, unread
from fedjax_rl.families.networks.traced import choices_of, merge_settings, settings_of, sized
from fedjax_rl.federation.candidates import with_candidates
from fedjax_rl.federation.evaluated import (
    EVALUATED_AXES,
    EvaluatedSettings,
    alone_settings,
    evaluated,
)
from fedjax_rl.federation.grouped import even_size, in_groups
from fedjax_rl.federation.isolated import isolated
from fedjax_rl.federation.round import AgentMap, FederationSettings, federate
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.deep.agent import DeepAgent, deep_agents
from fedjax_rl.learners.deep.design import Design, design_of
from fedjax_rl.learners.deep.evaluation import evaluate
from fedjax_rl.learners.deep.natural import natural
from fedjax_rl.learners.deep.ppo import ppo
from fedjax_rl.precision import precision
from fedjax_rl.settings.fields import by_name, check_effect
from fedjax_rl.settings.values import named_values
from fedjax_rl.sources.solutions import certify
from fedjax_rl.sources.tasks import LoadedTask, agents_dynamics, load_task

LEARNERS: dict[str, Callable[[Design], Learner]] = {"fedppo": ppo, "fednatural": natural}
SAMPLES_PER_SECOND = 100_000
"""A guess of how fast agents learn, for the length of a span."""
SECONDS_PER_SPAN = 1.0
ENVIRONMENTS_AT_ONCE = 128
"""Of all agents and seeds that a run computes at a time on a processor: what they do fits its
second-level caches (bench/fedppo)."""
ENVIRONMENTS_ON_A_CORE = 64
"""Likewise of a sweep, whose members are dealt to workers with a core each."""
ALONE = ("no-communication", "one-shot")
ONE_AGENT = ("omniscient", "unconstrained")


class DeepPrepared(NamedTuple):
    """A run of networks whose settings were validated: task, algorithm, traced settings.

    Attributes:
        name: ``fedppo`` or ``fednatural``.
        config: its settings.
        loaded: task, who watches what, and the finite problem behind it, if any.
        certificate: the exact optimum of that problem, or None.
        design: networks and static choices.
        algorithm: the federation or a reference, evaluated; a sweep when there are several seeds.
        hparams: traced settings.
        watched: (agent, slot, constraint index) of every multiplier.
        bytes_per_round: what crosses between agents in one round.
        span_rounds: rounds between two visits of the host.
    """

    name: str
    config: DeepConfig
    loaded: LoadedTask
    certificate: Certificate | None
    design: Design
    algorithm: Algorithm
    hparams: EvaluatedSettings
    watched: tuple[tuple[int, int, int], ...]
    bytes_per_round: int
    span_rounds: int

    @property
    def task(self) -> Task:
        return self.loaded.task

    @property
    def agents(self) -> DeepAgent:
        agents: DeepAgent = self.hparams.federation.agents
        return agents

    @property
    def num_agents(self) -> int:
        return len(self.agents.weights)

    @property
    def policies(self) -> int:
        """The number of policies of a member: N when nothing is merged, else 1."""
        return self.num_agents if self.config.reference in ALONE else 1

    @property
    def member_axes(self) -> int:
        """Leading axes of the algorithm's state: of seeds, and of agents that learn alone."""
        return (self.config.seeds > 1) + (self.config.reference in ALONE)


@precision(False)
def prepare(
    name: str, config: DeepConfig, loaded: LoadedTask | None = None, devices: DeviceSettings = ONE
) -> DeepPrepared:
    """Validates everything and builds the algorithm.

    Args:
        name: ``fedppo`` or ``fednatural``.
        config: settings.
        loaded: used in place of ``config.problem`` when given.
        devices: over which it is spread.

    Raises:
        InvalidInput: a setting or the task cannot be used.
    """
    check_effect(config, unread(name, by_name(config)))
    loaded = loaded or load_task(
        config.problem,
        agents=config.agents,
        arguments=named_values("--problem-args", config.problem_args),
        budgets=config.budgets,
        access=config.access,
    )
    task = loaded.task
    config = sized(config, task)
    access = access_of(config, loaded.access)
    num_agents, alone = len(access), config.reference in ALONE
    # A single agent that stands for all has the dynamics that the task comes with.
    varied = () if config.reference in ONE_AGENT else config.vary
    agents = deep_agents(
        task,
        access,
        agents_dynamics(task, varied, num_agents),
        alone=alone,
        relative=config.dual_units == "budget",
    )
    design = design_of(task, agents.weights.shape[1], choices_of(config))
    learner = LEARNERS[name](design)
    placement = placement_of(config, devices, num_agents)
    at_once = members_at_once(config, num_agents, placement.share("members", config.seeds))
    algorithm = algorithm_of(learner, config, design, task, num_agents, placement, at_once)
    if config.seeds > 1:
        members_map = placement.map_of("members", in_groups(at_once))
        algorithm = sweep(algorithm, None, config.seeds, members_map)
    hparams = EvaluatedSettings(
        FederationSettings(agents, settings_of(config, task), None, merge_settings(config)),
        every=np.int32(config.evaluate_every),
        last=np.int32(config.rounds),
    )
    silent = config.reference != "fed" or num_agents == 1
    aggregator = aggregator_of(config.merge)
    each = 0 if silent else message_bytes(learner, aggregator, hparams.federation)
    samples = design.choices.envs * design.choices.rollout * config.local_steps
    samples *= num_agents * config.seeds
    rounds = int(np.clip(SAMPLES_PER_SECOND * SECONDS_PER_SPAN / samples, 1, 1000))
    return DeepPrepared(
        name=name,
        config=config,
        loaded=loaded,
        certificate=None if loaded.problem is None else certify(loaded.problem.cmdp),
        design=design,
        algorithm=algorithm,
        hparams=hparams,
        watched=tuple(
            (int(agent), int(slot), int(agents.constraint[agent, slot]))
            for agent, slot in np.argwhere(agents.watches)
        ),
        bytes_per_round=2 * num_agents * each,
        span_rounds=rounds,
    )


def algorithm_of(
    learner: Learner,
    config: DeepConfig,
    design: Design,
    task: Task,
    num_agents: int,
    placement: Placement,
    members: int = 1,
) -> Algorithm:
    """The federation or a reference of one seed, evaluated.

    Args:
        learner: of every agent.
        config: settings, sized.
        design: task and networks.
        task: that the agents share.
        num_agents: N.
        placement: the devices.
        members: how many such algorithms are computed at a time on each device.

    Raises:
        InvalidInput: a merge that cannot take what the learner sends.
    """
    alone = config.reference in ALONE
    each = 1 if alone else num_agents
    aggregator = aggregator_of(config.merge)
    contract.check_merge(learner, config.merge, aggregator)
    federation = federate(
        learner,
        aggregator,
        num_agents=each,
        local_steps=config.local_steps,
        agent_map=jax.vmap if alone else agents_map(config, placement, members),
    )
    episodes = -(-config.episodes // each) * each
    algorithm = evaluated(
        federation,
        partial(evaluate, design=design, episodes=episodes),
        tuple(kind == "step" for kind in task.kinds),
    )
    if recommends(config):
        assert config.confirm_episodes != "none"
        likely = margin(episodes, config.confirm_episodes, task.num_constraints)
        return with_candidates(algorithm, ATTEMPTS, tuple(map(float, task.budgets)), likely)
    if not alone:
        return algorithm
    return isolated(
        algorithm,
        num_agents,
        EVALUATED_AXES,
        alone_settings,
        common_start=True,
        agent_map=agents_map(config, placement, members),
    )


def recommends(config: DeepConfig) -> bool:
    """Whether the run recommends a policy: only a federation's own, never a reference's."""
    return config.reference == "fed" and config.confirm_episodes != "none"


def placement_of(config: DeepConfig, devices: DeviceSettings, num_agents: int) -> Placement:
    """The devices of a run; a reference of one agent may leave devices unused.

    Raises:
        InvalidInput: more devices than there are, or nothing to deal to them.
    """
    if config.reference in ONE_AGENT:
        devices = dataclasses.replace(devices, shard="auto")
    return devices.placement(num_agents, config.seeds)


def agents_map(config: DeepConfig, placement: Placement = ONE_DEVICE, members: int = 1) -> AgentMap:
    """How agents are mapped over on each device: in groups on processors, else all at once.

    Args:
        config: settings, sized.
        placement: the devices.
        members: whose agents are computed at a time.
    """
    assert config.envs != "auto"
    if config.agents_at_once is not None:
        inner = in_groups(config.agents_at_once)
    elif platform() != "cpu":
        inner = jax.vmap
    else:
        inner = in_groups(max(2, ENVIRONMENTS_AT_ONCE // (config.envs * members)))
    return placement.map_of("agents", inner)


def members_at_once(
    config: DeepConfig, num_agents: int, members: int, environments: int = ENVIRONMENTS_AT_ONCE
) -> int:
    """How many of so many members are computed at a time on a device.

    On a processor as many as have so many environments with all their agents, and divide the
    members evenly, but one at least; elsewhere all.
    """
    assert config.envs != "auto"
    if platform() != "cpu":
        return members
    return even_size(members, environments // (config.envs * num_agents))


def access_of(config: DeepConfig, access: BoolArray) -> BoolArray:
    """The access matrix Γ of the agents that are simulated."""
    if config.reference == "omniscient":
        return np.ones_like(access[:1])
    return np.zeros_like(access[:1]) if config.reference == "unconstrained" else access
