"""The named random problems of the studies, and one compiled sweep over them."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.cmdp.access import default_access
from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.problems import random_mdp
from fedjax_rl.cmdp.solve import Certificate, solve
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import start, train
from fedjax_rl.families.tabular.assembly import settings
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.programs import fednpg_algorithm
from fedjax_rl.learners.tabular.agent import effective_multipliers

ACTIVE = 1e-6
CAP = 10.0
"""λ_max of the published experiments (arXiv 2405.03236), in place of each problem's own bound."""


class Named(NamedTuple):
    """random-mdp with 5 states, 5 actions, 4 agents and this seed, and its exact solution."""

    seed: int
    cmdp: CMDP
    certificate: Certificate


class Trajectories(NamedTuple):
    """Rounds 1 … T of B problems.

    Attributes:
        value: [T, B], V_r(ρ) of the merged policy.
        costs: [T, B, M].
        multipliers: [T, B, M], effective.
    """

    value: np.ndarray
    costs: np.ndarray
    multipliers: np.ndarray


def named_problems(count: int, active: int = 3) -> list[Named]:
    """The first seeds whose λ* is certified unique, with so many active constraints."""
    found: list[Named] = []
    seed = 0
    while len(found) < count:
        cmdp = random_mdp(agents=4, states=5, actions=5, seed=seed)
        certificate = solve(cmdp)
        if certificate.multipliers_unique and (certificate.multipliers > ACTIVE).sum() >= active:
            found.append(Named(seed, cmdp, certificate))
        seed += 1
    return found


def trajectories(
    problems: list[Named], config: FedNPGConfig, keep_last: int | None = None
) -> Trajectories:
    """Runs one configuration, with λ_max = `CAP`, on all problems as members of one sweep."""
    members = len(problems)
    access = default_access(4, 4)
    each = [settings(config, named.cmdp, access, CAP, pace=0.25) for named in problems]
    hparams = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    learner = "npg" if config.learner == "npg" else config.learner
    merge = "points" if learner == "optimistic" else config.merge.replace("auto", "logits")
    algorithm = fednpg_algorithm(
        learner, "exact", config.correction, merge, "fed", 4, config.local_steps, None
    )
    together = sweep_of(algorithm, members)
    keys = jax.vmap(jax.random.key)(jnp.full(members, config.seed))
    state, _ = start(together, keys, hparams)
    parts: list[Any] = []
    for span in train(together, keys, state, hparams, rounds=config.rounds, span_rounds=2000):
        assert span.failed_members is not None and (span.failed_members < 0).all()
        parts.append((span.info.value, span.info.costs, span.info.multipliers))
        if keep_last is not None:
            parts = parts[-keep_last:]
    value, costs, own = (np.concatenate(part) for part in zip(*parts, strict=True))
    agents = each[0].federation.agents
    return Trajectories(value, costs, effective_multipliers(agents, own, 4))


_SWEEPS: dict[Any, Any] = {}


def sweep_of(algorithm: Any, members: int) -> Any:
    """The same sweep object for the same algorithm, so that it is compiled once."""
    return _SWEEPS.setdefault((algorithm, members), sweep(algorithm, 0, members))


def dual_value(named: Named, multipliers: np.ndarray) -> float:
    """g(λ) = max_π V_r − λ·(V_c − d), by policy iteration."""
    cmdp = named.cmdp
    signal = cmdp.reward - np.einsum("m,msa->sa", multipliers, cmdp.costs)
    actions = np.zeros(cmdp.num_states, int)
    states = np.arange(cmdp.num_states)
    while True:
        operator = np.eye(cmdp.num_states) - cmdp.discount * cmdp.transition[states, actions]
        values = np.linalg.solve(operator, signal[states, actions])
        action_values = signal + cmdp.discount * cmdp.transition @ values
        better = action_values.max(1) > action_values[states, actions] + 1e-12
        if not better.any():
            return float(cmdp.initial @ values + multipliers @ cmdp.budgets)
        actions = np.where(better, action_values.argmax(1), actions)


def with_rounds(config: FedNPGConfig, rounds: int, **changes: Any) -> FedNPGConfig:
    """The configuration with T rounds and the step η = 2/√T, η_λ = 0.1 η, of the theory."""
    step = 2 / np.sqrt(rounds)
    changes = {"step_size": step, "dual_step_size": 0.1 * step} | changes
    return dataclasses.replace(config, rounds=rounds, **changes)
