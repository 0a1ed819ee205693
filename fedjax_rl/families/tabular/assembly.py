"""From settings to everything a FedNPG run needs, validated before its first round."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.algorithm import Algorithm, Learner
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.cmdp.dynamics import GatheredDynamics, Model, model_of
from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray
from fedjax_rl.cmdp.solve import Certificate
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.history import Layout
from fedjax_rl.families.tabular.programs import (
    aggregator_of,
    algorithm_of,
    evaluation_of,
    merge_of,
    seed_sweep,
    tabular_learner,
    unread,
)
from fedjax_rl.federation.observed import ObservedSettings
from fedjax_rl.federation.round import FederationSettings
from fedjax_rl.federation.traffic import message_bytes
from fedjax_rl.learners.tabular.agent import TabularSettings, federated_agents, lone_agents
from fedjax_rl.plugins import NoSettings
from fedjax_rl.settings.fields import by_name, check_effect
from fedjax_rl.settings.own import own_values
from fedjax_rl.settings.values import named_values
from fedjax_rl.sources.problems import Problem, load_problem
from fedjax_rl.sources.solutions import certify

SECONDS_PER_SPAN = 0.5
"""Aim for the time between two visits of the host."""
FLOPS_PER_SECOND = 2e10
SECONDS_PER_AGENT_STEP = 1e-6
MOST_ROUNDS_PER_SPAN = 8192
"""Rows of so many rounds still fit the caches of the host."""


class Prepared(NamedTuple):
    """A run on a finite problem whose settings were validated: problem, certificate, algorithm.

    Attributes:
        config: its settings.
        problem: the problem and who watches what.
        certificate: the exact optimum.
        algorithm: FedNPG or a reference, observed.
        hparams: traced settings.
        layout: names and references of the columns.
        span_rounds: rounds between two visits of the host.
    """

    config: FedNPGConfig
    problem: Problem
    certificate: Certificate
    algorithm: Algorithm
    hparams: ObservedSettings
    layout: Layout
    span_rounds: int


def prepare(
    config: FedNPGConfig, problem: Problem | None = None, devices: DeviceSettings = ONE
) -> Prepared:
    """Validates everything, solves the problem exactly and builds the algorithm.

    Args:
        config: settings.
        problem: used in place of ``config.problem`` when given.
        devices: over which it is spread.

    Raises:
        InvalidInput: a setting or the problem cannot be used, or its budgets are infeasible.
    """
    check_effect(config, unread("fednpg", by_name(config)))
    loaded = problem or load_configured(config)
    cmdp, access = loaded.cmdp, loaded.access
    if config.participants is not None and config.participants > len(access):
        raise InvalidInput("--participants", config.participants, f"at most {len(access)} agents")
    access = simulated(config, access)
    learner = tabular_learner(config.learner, evaluation_of(config), config.correction)
    placement = devices.placement(len(access), config.seeds)
    algorithm = algorithm_of(config, len(access), placement)
    if config.seeds > 1:
        if config.reference == "no-communication":
            raise InvalidInput("--seeds", config.seeds, "1 with --reference no-communication")
        algorithm = seed_sweep(algorithm, config.seeds, placement)
    certificate = certify(cmdp)
    hparams = settings(config, cmdp, access, certificate.dual_bound, pace=1 / len(loaded.access))
    agents = hparams.federation.agents
    watched = tuple(
        (int(agent), int(slot), int(agents.constraint[agent, slot]))
        for agent, slot in np.argwhere(agents.watches)
    )
    layout = Layout(
        certificate.optimal_value,
        cmdp.budgets,
        cmdp.constraint_names,
        watched,
        bytes_per_round(config, learner, hparams, len(access)),
    )
    return Prepared(
        config,
        loaded,
        certificate,
        algorithm,
        hparams,
        layout,
        span_rounds(config, hparams.federation.learner.model, agents.costs.shape),
    )


def load_configured(config: FedNPGConfig) -> Problem:
    """The problem that a configuration names.

    Raises:
        InvalidInput: no such problem, or it does not fit its arguments.
    """
    return load_problem(
        config.problem,
        agents=config.agents,
        arguments=named_values("--problem-args", config.problem_args),
        budgets=config.budgets,
        discount=config.discount,
        access=config.access,
    )


def simulated(config: FedNPGConfig, access: BoolArray) -> BoolArray:
    """The access matrix of the agents that are simulated, [N, M] or [1, M]."""
    return np.ones_like(access[:1]) if config.reference == "omniscient" else access


def settings(
    config: FedNPGConfig, cmdp: CMDP, access: BoolArray, dual_bound: float, pace: float
) -> ObservedSettings:
    """Traced settings of a run.

    ``auto`` is η = 2/√T and η_λ = 0.1 η on the problem with rewards and costs rescaled to unit
    range. In the problem's own units, with reward range R and cost ranges C_j, that is exactly
    a step of η/R for the policy and η_λ R/C_j² for multiplier j, so nothing is rescaled.

    Args:
        config: settings.
        cmdp: the problem.
        access: [N, M] access of the agents that are simulated.
        dual_bound: of the problem's `Certificate`, the automatic cap of multipliers.
        pace: factor on the step of a reference whose reward is not divided by the number of
            agents, so that all advance at equal pace: one over that number.
    """
    reward_range = _range(cmdp.reward[cmdp.support])
    cost_ranges = np.array([_range(cost[cmdp.support]) for cost in cmdp.costs])
    step_size = config.step_size
    if step_size == "auto":
        step_size = 2.0 / np.sqrt(config.rounds) / reward_range
    dual_step_size, dual_scale = config.dual_step_size, np.ones(cmdp.num_constraints)
    if dual_step_size == "auto":
        dual_step_size = 0.1 * step_size * reward_range
        dual_scale = reward_range / cost_ranges**2
    alone = config.reference == "no-communication"
    weights = merge_weights(config, len(access))
    agents = (lone_agents if alone else federated_agents)(cmdp, access, dual_scale)
    learner = TabularSettings(
        step_size=np.float64(step_size if config.reference == "fed" else step_size * pace),
        dual_step_size=np.float64(dual_step_size),
        multiplier_cap=np.float64(
            multiplier_cap(config, dual_bound or reward_range / cost_ranges.min(), weights)
        ),
        model=known_model(cmdp),
        own=own_values(config, tabular_learner(config.learner, "exact").settings, np.float64),
    )
    federation = FederationSettings(agents, learner, weights, merge_settings(config))
    return ObservedSettings(federation, cmdp.costs, cmdp.budgets)


def merge_settings(config: FedNPGConfig) -> Any:
    """What the aggregator has of its own; the automatic one has nothing."""
    kind = NoSettings if config.merge == "auto" else aggregator_of(config.merge).settings
    return own_values(config, kind, np.float64)


def multiplier_cap(config: FedNPGConfig, dual_bound: float, weights: FloatArray | None) -> float:
    """λ_max of every agent, reward per cost.

    ``auto`` is the dual bound over `least_share`.

    Args:
        config: settings.
        dual_bound: of the problem's `Certificate`, or, where every policy earns the same and it is
            0, any positive number.
        weights: p [N], or None for equal ones.
    """
    if config.multiplier_cap != "auto":
        return config.multiplier_cap
    return dual_bound / least_share(weights)


def least_share(weights: FloatArray | None) -> float:
    """The smallest N p_i, at most 1: what a multiplier counts, since λ_j = N Σ_i p_i w_ij λ_ij.

    Args:
        weights: p [N], or None for equal ones.
    """
    return 1.0 if weights is None else min(1.0, len(weights) * float(weights.min()))


@functools.lru_cache(maxsize=4)
def known_model(cmdp: CMDP) -> Model:
    """`model_of` a problem, the same arrays for all runs on it."""
    return model_of(cmdp)


def merge_weights(config: FedNPGConfig, num_agents: int) -> FloatArray | None:
    """Each agent's weight in the merge [N], summing to one; None when all are equal.

    Raises:
        InvalidInput: not one weight for each agent.
    """
    if config.merge_weights is None:
        return None
    weights = np.array(config.merge_weights)
    if len(weights) != num_agents:
        raise InvalidInput(
            "--merge-weights", config.merge_weights, f"one weight for each of {num_agents} agents"
        )
    total: FloatArray = weights / weights.sum()
    return total


def bytes_per_round(
    config: FedNPGConfig, learner: Learner, hparams: ObservedSettings, num_agents: int
) -> int:
    """Up and down once for each agent of a round; nothing when there is nobody to talk to."""
    if config.reference != "fed" or num_agents == 1:
        return 0
    aggregator = aggregator_of(merge_of(config))
    each = message_bytes(learner, aggregator, hparams.federation)
    return (config.participants or num_agents) * each + num_agents * each


def span_rounds(config: FedNPGConfig, model: Model, cost_shape: tuple[int, ...]) -> int:
    """Rounds that take about half a second, from a count of floating-point operations."""
    num_agents, slots, num_states, num_actions = cost_shape
    dynamics = model.dynamics
    breadth = dynamics.successor.shape[1] if isinstance(dynamics, GatheredDynamics) else num_states
    pairs = num_states * num_actions
    agent_steps = num_agents * config.local_steps * config.seeds
    factorisations = config.seeds * (num_agents * (config.local_steps - 1) + 1)
    step = 4 * num_states**2 + 2 * pairs * (breadth + slots)
    operations = factorisations * (num_states**3 + 2 * pairs * breadth) + agent_steps * step
    seconds = operations / FLOPS_PER_SECOND + agent_steps * SECONDS_PER_AGENT_STEP
    if config.evaluation == "sampled":
        horizon = 10.0 / (1.0 - float(model.discount))
        seconds += agent_steps * pairs * config.rollouts * horizon * 1e-7
    return int(np.clip(SECONDS_PER_SPAN / seconds, 1, MOST_ROUNDS_PER_SPAN))


def _range(signal: FloatArray) -> float:
    return float(np.ptp(signal)) or 1.0
