"""The figures of ``summary.json`` of a run of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.collapse import collapses
from fedjax_rl.families.networks.result import DeepResult
from fedjax_rl.families.tabular.summary import evaluate
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.precision import precision
from fedjax_rl.ranking import relative_violation

FEASIBILITY_TOLERANCE = 0.05
"""A mean cost counts as within budget up to this share of it above: episodes are noisy."""


def summarise(result: DeepResult, timing: Mapping[str, float]) -> dict[str, Any]:
    """Everything ``summary.json`` holds.

    ``reward`` and ``costs`` are means over the last ``window`` evaluations of the policy as it
    acts; ``last_…`` are of the last one alone and ``mode_…`` of the most likely actions there.
    """
    prepared, evaluations = result.prepared, result.evaluations
    config, task = prepared.config, prepared.task
    reward = evaluations.reward[-config.window :].mean(0)
    costs = evaluations.costs[-config.window :].mean(0)
    unfinished = evaluations.unfinished[-config.window :].mean(0)
    within = feasible(costs, task.budgets, unfinished)
    # Of episodes that were given up nobody knows what they would have cost.
    cut_short = np.nan if mean(unfinished) > 0 else 0.0
    names = task.constraint_names

    def named(values: np.ndarray) -> dict[str, Any]:
        return dict(zip(names, np.moveaxis(values, -1, 0), strict=True))

    summary: dict[str, Any] = {
        "algorithm": prepared.name,
        "reference": config.reference,
        "problem": config.problem,
        "num_agents": prepared.num_agents,
        "num_constraints": task.num_constraints,
        "rounds": int(result.history["round"][-1]),
        "local_steps": config.local_steps,
        "seed": config.seed,
        "seeds": config.seeds,
        "reward": mean(reward),
        "reward_by_seed": reward.mean(1),
        "costs": {name: mean(cost) for name, cost in named(costs).items()},
        "costs_by_seed": {name: cost.mean(1) for name, cost in named(costs).items()},
        "budgets": dict(zip(names, task.budgets, strict=True)),
        "budget_kinds": dict(zip(names, task.kinds, strict=True)),
        "feasible": bool(feasible(nanmean(costs), task.budgets, mean(unfinished)).all()),
        "relative_violation": relative_violation(nanmean(costs), task.budgets) + cut_short,
        "feasible_by_seed": within.all((1, 2)),
        "feasible_share": mean(within.all((1, 2)).astype(float)),
        "feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "unfinished_episodes": mean(unfinished),
        "evaluations_in_window": len(evaluations.reward[-config.window :]),
        "episodes_per_evaluation": config.episodes,
        "initial_reward": mean(evaluations.reward[0]),
        "last_reward": mean(evaluations.reward[-1]),
        "last_costs": {name: mean(cost) for name, cost in named(evaluations.costs[-1]).items()},
        "mode_reward": mean(evaluations.mode_reward[-1]),
        "mode_costs": {
            name: mean(cost) for name, cost in named(evaluations.mode_costs[-1]).items()
        },
        "mode_unfinished_episodes": mean(evaluations.mode_unfinished[-1]),
        "multipliers": multipliers(result),
        "cumulative_violation": cumulative_violation(result),
        **collapsed(result),
        "multipliers_at_cap": float(result.history["multipliers_at_cap"][-1]),
        "environment_steps": int(result.history["environment_steps"][-1]),
        "environment_steps_per_agent": int(
            result.history["environment_steps"][-1] // prepared.num_agents
        ),
        "bytes_exchanged": int(result.history["bytes_exchanged"][-1]),
        "failed_seeds": [
            {"seed": config.seed + index, "round": int(round)}
            for index, round in enumerate(result.failed_seeds)
            if round >= 0
        ],
    }
    if reward.shape[1] > 1:
        summary["reward_by_agent"] = means_by_agent(reward[..., None])[:, 0]
        summary["costs_by_agent"] = named(means_by_agent(costs))
        own, alone = means_by_agent(costs), means_by_agent(unfinished[..., None])[:, 0]
        summary["feasible"] = bool(feasible(own, task.budgets, alone).all())
        summary["relative_violation"] = relative_violation(own, task.budgets).max() + cut_short
    return {**summary, **timing, **exact_figures(result.policy, prepared)}


def feasible(costs: FloatArray, budgets: FloatArray, unfinished: Any) -> np.ndarray:
    """Whether each budget is kept, within tolerance: […, M] booleans.

    A cost that is not a number is not within its budget, nor is one of episodes that were given
    up before they ended: what they would have come to is not known.

    Args:
        costs: […, M].
        budgets: [M].
        unfinished: […], share of the episodes that were given up.
    """
    within: np.ndarray = costs <= budgets + FEASIBILITY_TOLERANCE * np.abs(budgets)
    return within & (np.asarray(unfinished) == 0)[..., None]


def exact_figures(policy: DeepShared, prepared: DeepPrepared) -> dict[str, Any]:
    """Exact value, gap and violation of policies of a finite problem.

    Args:
        policy: leading axes [K, P].
        prepared: networks and problem.

    Returns:
        Nothing unless the task is a finite problem.
    """
    certificate, problem = prepared.certificate, prepared.loaded.problem
    if certificate is None or problem is None:
        return {}
    probabilities = policy_matrix(policy, prepared)
    evaluated = evaluate(problem.cmdp, probabilities, certificate.optimal_value)
    return {
        "optimal_value": certificate.optimal_value,
        "optimal_multipliers": dict(
            zip(problem.cmdp.constraint_names, certificate.multipliers, strict=True)
        ),
        "gap": evaluated.gap.mean(),
        "gap_by_policy": evaluated.gap,
        "violation": evaluated.violation.mean(),
        "violation_by_policy": evaluated.violation,
        "exact_costs": dict(
            zip(problem.cmdp.constraint_names, evaluated.costs.mean(0), strict=True)
        ),
    }


@precision(False)
def policy_matrix(policy: DeepShared, prepared: DeepPrepared) -> FloatArray:
    """π(a | s) of every policy of a finite problem, by handing the network every state.

    Actions without support are as the environment takes them: one of the state's others.

    Args:
        policy: leading axes [K, P].
        prepared: networks and problem.

    Returns:
        [K·P, S, A] float64.
    """
    from fedjax_rl.learners.deep.batch import features_of

    problem = prepared.loaded.problem
    assert problem is not None
    states = np.eye(problem.cmdp.num_states, dtype=np.float32)

    def probabilities(shared: DeepShared) -> jax.Array:
        features = features_of(prepared.design, shared, jnp.asarray(states))
        return jax.nn.softmax(prepared.design.actor.apply(shared.actor, features))

    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), policy)
    chances = np.asarray(jax.vmap(probabilities)(flat), np.float64)
    support = problem.cmdp.support
    astray = np.where(support, 0.0, chances).sum(-1, keepdims=True)
    supported = np.where(support, chances + astray / support.sum(-1, keepdims=True), 0.0)
    matrix: FloatArray = supported / supported.sum(-1, keepdims=True)
    return matrix


def multipliers(result: DeepResult) -> dict[str, dict[str, float]]:
    """λ_ij after the last round, by agent and constraint; means over seeds."""
    names = result.prepared.task.constraint_names
    by_agent: dict[str, dict[str, float]] = {}
    for agent, _, constraint in result.prepared.watched:
        column = result.history[f"multiplier/{agent}/{names[constraint]}"]
        by_agent.setdefault(str(agent), {})[names[constraint]] = float(column[-1])
    return by_agent


def cumulative_violation(result: DeepResult) -> dict[str, dict[str, float]]:
    """Σ_t [J_c − d]₊ of the agents' own rollouts, by agent and constraint; means over seeds.

    Seeds that diverged are left out, unless all did.
    """
    finished = np.asarray(result.failed_seeds) < 0
    counted = finished if finished.any() else ~finished
    each: Any = result.violations[counted].mean(0)
    names = result.prepared.task.constraint_names
    return {
        str(agent): dict(zip(names, map(float, own), strict=True)) for agent, own in enumerate(each)
    }


def collapsed(result: DeepResult) -> dict[str, Any]:
    """How often the reward collapsed once every budget had been kept, in all and by seed."""
    evaluations, budgets = result.evaluations, result.prepared.task.budgets
    kept: Any = feasible(evaluations.costs, budgets, evaluations.unfinished).all(-1)
    by_seed = np.zeros(kept.shape[1], int)
    for seed, policy in np.ndindex(*kept.shape[1:]):
        reward = evaluations.reward[:, seed, policy]
        by_seed[seed] += collapses(evaluations.round, reward, kept[:, seed, policy])
    return {"collapses": int(by_seed.sum()), "collapses_by_seed": by_seed}


def mean(values: np.ndarray) -> float:
    """Mean over seeds and policies that did not diverge; NaN when all did."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")


def means_by_agent(costs: np.ndarray) -> np.ndarray:
    """[P, M], means over seeds without those that diverged; leading axes [K, P]."""
    return np.array([nanmean(costs[:, agent]) for agent in range(costs.shape[1])])


def nanmean(costs: np.ndarray) -> np.ndarray:
    """[M], means over all leading axes without seeds that diverged."""
    return np.array([mean(costs[..., index]) for index in range(costs.shape[-1])])
