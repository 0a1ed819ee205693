"""The programs of FedNPG: equal arguments give the same object, which is compiled once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax

import fedjax_rl.federation.aggregate
import fedjax_rl.learners.tabular  # noqa: F401  both register
from fedjax_rl import algorithm as contract
from fedjax_rl.algorithm import Aggregator, Algorithm, Learner
from fedjax_rl.cmdp.evaluate import evaluate_exactly
from fedjax_rl.cmdp.sample import evaluate_by_sampling
from fedjax_rl.execution.placement import ONE_DEVICE, Placement
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.federation.correction import control_variate
from fedjax_rl.federation.isolated import isolated
from fedjax_rl.federation.observed import OBSERVED_AXES, alone_settings, observed
from fedjax_rl.federation.participation import sampled
from fedjax_rl.federation.round import federate
from fedjax_rl.settings.own import Named, extended, named_in

NAMED = ("learner", "merge")
"""Settings that name what has settings of its own."""


def own_settings(algorithm: str, named: Named) -> tuple[Any, ...]:
    """The settings that learners and merges have of their own.

    Args:
        algorithm: ``fednpg``.
        named: for ``learner`` and ``merge`` the values that they may have.

    Raises:
        InvalidInput: no such learner or merge.
    """
    kinds = [tabular_learner(name, "exact").settings for name in named["learner"]]
    kinds += [aggregator_of(name).settings for name in named["merge"] if name != "auto"]
    return tuple(dict.fromkeys(kinds))


def unread(algorithm: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that a learner does not read, and what they would need, in words.

    Raises:
        InvalidInput: no such learner.
    """
    if tabular_learner(str(settings["learner"]), "exact").multipliers:
        return {}
    return dict.fromkeys(("dual_step_size", "multiplier_cap"), "a --learner that has multipliers")


def settings_type(entries: Mapping[str, Any]) -> type[FedNPGConfig]:
    """The type of the settings of FedNPG with the plug-ins that these entries name.

    Examples:
        >>> kind = settings_type({"learner": "crpo"})
        >>> kind(learner="crpo", tolerance=0.5).tolerance
        0.5
    """
    named = named_in(FedNPGConfig, NAMED, [entries])
    return extended(FedNPGConfig, *own_settings("fednpg", named))


@functools.lru_cache(maxsize=64)
def aggregator_of(merge: str) -> Aggregator:
    """A registered aggregator, or that of a ``module:factory``."""
    aggregator: Aggregator = contract.aggregators.make(merge)
    return aggregator


def evaluation_of(config: FedNPGConfig) -> str | int:
    """``exact``, or K rollouts."""
    return "exact" if config.evaluation == "exact" else config.rollouts


def merge_of(config: FedNPGConfig) -> str:
    """The name of the merge; the automatic one is the mean of what the learner sends."""
    if config.merge != "auto":
        return config.merge
    return tabular_learner(config.learner, evaluation_of(config), config.correction).message_kind


def algorithm_of(config: FedNPGConfig, num_agents: int, placement: Placement) -> Algorithm:
    """The algorithm of a single member; see `fednpg_algorithm`."""
    return fednpg_algorithm(
        config.learner,
        evaluation_of(config),
        config.correction,
        merge_of(config),
        config.reference,
        num_agents,
        config.local_steps,
        config.participants,
        placement,
    )


@functools.lru_cache(maxsize=64)
def tabular_learner(name: str, evaluation: str | int, correction: str = "none") -> Learner:
    """A registered tabular learner with exact evaluation, or with K rollouts per pair."""
    evaluate = evaluate_exactly if evaluation == "exact" else evaluate_by_sampling(int(evaluation))
    learner: Learner = contract.learners.make(name, evaluate)
    return control_variate(learner) if correction == "control-variate" else learner


@functools.lru_cache(maxsize=64)
def fednpg_algorithm(
    learner_name: str,
    evaluation: str | int,
    correction: str,
    merge: str,
    reference: str,
    num_agents: int,
    local_steps: int,
    participants: int | None,
    placement: Placement = ONE_DEVICE,
) -> Algorithm:
    """FedNPG or a reference as one algorithm; equal arguments give the same compiled program.

    Args:
        learner_name: registered name or module:factory.
        evaluation: ``exact``, or K rollouts.
        correction: ``none`` or ``control-variate``.
        merge: registered name or module:factory of an aggregator.
        reference: ``fed``, ``omniscient`` or ``no-communication``.
        num_agents: N.
        local_steps: E.
        participants: agents drawn in each round, or None for all.
        placement: where agents are computed.

    Raises:
        InvalidInput: unknown names, or a merge that cannot take what the learner sends.
    """
    learner = tabular_learner(learner_name, evaluation, correction)
    aggregator = aggregator_of(merge)
    contract.check_merge(learner, merge, aggregator)
    alone, agent_map = reference == "no-communication", placement.map_of("agents")
    federation = federate(
        learner,
        aggregator,
        num_agents=1 if alone else num_agents,
        local_steps=local_steps,
        participation=sampled(participants) if participants is not None else None,
        agent_map=jax.vmap if alone else agent_map,
    )
    algorithm = observed(federation, counts=learner.counts)
    if not alone:
        return algorithm
    return isolated(algorithm, num_agents, OBSERVED_AXES, alone_settings, agent_map=agent_map)


@functools.lru_cache(maxsize=64)
def seed_sweep(algorithm: Algorithm, seeds: int, placement: Placement = ONE_DEVICE) -> Algorithm:
    """K members that differ in their keys alone."""
    return sweep(algorithm, None, seeds, placement.map_of("members"))
