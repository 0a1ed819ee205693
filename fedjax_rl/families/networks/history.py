"""From rows of the device to columns of ``metrics.csv`` and ``evaluations.csv``, on the host."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.federation.evaluated import Row


class Evaluations(NamedTuple):
    """Every evaluation of a run: Q rounds, K seeds, P policies (N when nothing is merged).

    Attributes:
        round: [Q].
        environment_steps: [Q], of all agents of one seed so far.
        reward: [Q, K, P], means over episodes.
        costs: [Q, K, P, M].
        mode_reward: [Q, K, P], of the most likely actions.
        mode_costs: [Q, K, P, M].
        unfinished: [Q, K, P], share of episodes that were given up before they ended.
        mode_unfinished: [Q, K, P], likewise.
        cost_errors: [Q, K, P, M], standard errors of ``costs``.
    """

    round: np.ndarray
    environment_steps: np.ndarray
    reward: np.ndarray
    costs: np.ndarray
    mode_reward: np.ndarray
    mode_costs: np.ndarray
    unfinished: np.ndarray
    mode_unfinished: np.ndarray
    cost_errors: np.ndarray


def shaped(rows: Row, prepared: DeepPrepared) -> Row:
    """Leaves [R, …] with axes of seeds and policies put where there is only one: [R, K, P, …]."""
    seeds, policies = prepared.config.seeds, prepared.policies
    agents, slots = prepared.num_agents, prepared.design.slots

    def spread(leaf: np.ndarray) -> np.ndarray:
        members = prepared.member_axes
        return np.reshape(leaf, (len(leaf), seeds, policies, *np.shape(leaf)[1 + members :]))

    # Those of agents that learn alone have the axis of agents among those of members.
    each, constraints = (len(rows.reward), seeds, agents), prepared.task.num_constraints
    own = {
        "multipliers": np.reshape(rows.multipliers, (*each, slots)),
        "agent_costs": np.reshape(rows.agent_costs, (*each, constraints)),
    }
    nothing: Any = np.zeros(0)
    others = rows._replace(multipliers=nothing, agent_costs=nothing)
    fields = {name: _mapped(spread, leaf) for name, leaf in others._asdict().items()}
    return Row(**{**fields, **own})


def _mapped(spread, leaf):  # type: ignore[no-untyped-def]
    if isinstance(leaf, tuple):
        return type(leaf)(*(spread(part) for part in leaf))
    return leaf if np.size(leaf) == 0 else spread(leaf)


def violations_summed(
    costs: np.ndarray, before: np.ndarray, budgets: np.ndarray, alive: np.ndarray
) -> np.ndarray:
    """Σ_t [J_c − d]₊ up to each of R rounds: [R, K, N, M], in the cost's unit times rounds.

    No round pays for another. One in which none of an agent's episodes ended counts nothing, since
    what they cost is not known; nor does one of a seed that had diverged.

    Args:
        costs: [R, K, N, M], of every agent's own rollouts; NaN where it is not known.
        before: [K, N, M], the sum over earlier rounds.
        budgets: [M].
        alive: [R, K] booleans, false where a seed had diverged.
    """
    excess = np.asarray(costs, np.float64) - budgets
    counts = alive[..., None, None] & np.isfinite(excess)
    excess = np.where(counts, np.maximum(excess, 0.0), 0.0)
    # Added one by one and from the left, so that where spans end changes no bit of it.
    sums: np.ndarray = np.cumsum(np.concatenate([before[None], excess]), axis=0)[1:]
    return sums


def columns(
    first_round: int,
    rows: Row,
    steps_before: int,
    prepared: DeepPrepared,
    alive: np.ndarray,
    violations: np.ndarray,
) -> tuple[Columns, int]:
    """Means over seeds and policies of consecutive rounds, and the environment steps so far.

    Args:
        first_round: round of the first row.
        rows: `shaped`.
        steps_before: environment steps of all agents of one seed before.
        prepared: names and budgets.
        alive: [R, K] booleans, false where a seed had diverged; those are left out.
        violations: [R, K, N, M], of `violations_summed`.
    """
    task, rounds = prepared.task, first_round + np.arange(len(rows.reward))
    steps = steps_before + np.cumsum(rows.environment_steps[:, 0].astype(np.int64).sum(1))

    def mean(values: Any) -> np.ndarray:
        return _mean(np.where(_like(alive, values), values, np.nan))

    costs = [mean(rows.costs[..., index]) for index in range(task.num_constraints)]
    evaluated = [mean(rows.evaluation.costs[..., index]) for index in range(len(costs))]
    names = task.constraint_names
    table: Columns = {"round": rounds, "reward": mean(rows.reward)}
    table["violation"] = np.max(np.array(costs) - task.budgets[:, None], axis=0)
    table |= {f"cost/{name}": cost for name, cost in zip(names, costs, strict=True)}
    for index, name in enumerate(names):
        table[f"cumulative_violation/{name}"] = mean(violations[..., index])
    for agent, slot, constraint in prepared.watched:
        column = mean(rows.multipliers[:, :, agent, slot])
        table[f"multiplier/{agent}/{names[constraint]}"] = column
    table["multipliers_at_cap"] = mean(rows.at_cap.sum(2))
    table["evaluation/reward"] = mean(rows.evaluation.reward)
    table |= {f"evaluation/cost/{name}": cost for name, cost in zip(names, evaluated, strict=True)}
    table["episodes"] = mean(rows.episodes.sum(2))
    for field, values in rows.improvement._asdict().items():
        table[field] = mean(values)
    table["environment_steps"] = steps
    table["bytes_exchanged"] = rounds * prepared.bytes_per_round
    return table, int(steps[-1])


def evaluations_of(
    first_round: int, rows: Row, steps: np.ndarray, alive: np.ndarray
) -> Evaluations:
    """The evaluated rounds among consecutive rows; NaN for seeds that had diverged."""
    due = rows.evaluated[:, 0, 0].astype(bool)
    parts = [
        np.where(_like(alive, part), part, np.nan)[due].astype(np.float64)
        for part in rows.evaluation
    ]
    return Evaluations((first_round + np.arange(len(due)))[due], steps[due], *parts)


def together(parts: list[Evaluations]) -> Evaluations:
    """Evaluations of consecutive spans as one."""
    return Evaluations(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def to_rows(
    evaluations: Evaluations, prepared: DeepPrepared
) -> tuple[list[str], list[list[object]]]:
    """Header and rows of ``evaluations.csv``: one row per round, seed and policy."""
    names = prepared.task.constraint_names
    header = ["round", "seed", "policy", "environment_steps", "reward"]
    header += [f"cost/{name}" for name in names]
    header += ["mode_reward", *(f"mode_cost/{name}" for name in names)]
    header += ["unfinished", "mode_unfinished"]
    rows: list[list[object]] = []
    for at, seed, policy in np.ndindex(*evaluations.reward.shape):
        where = (at, seed, policy)
        rows.append(
            [
                int(evaluations.round[at]),
                prepared.config.seed + seed,
                policy,
                int(evaluations.environment_steps[at]),
                float(evaluations.reward[where]),
                *map(float, evaluations.costs[where]),
                float(evaluations.mode_reward[where]),
                *map(float, evaluations.mode_costs[where]),
                float(evaluations.unfinished[where]),
                float(evaluations.mode_unfinished[where]),
            ]
        )
    return header, rows


def _like(alive: np.ndarray, values: Any) -> np.ndarray:
    return alive.reshape(alive.shape + (1,) * (values.ndim - 2))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over everything but rounds, without what is undefined; NaN where all of it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a row that is undefined throughout
        means: np.ndarray = np.nanmean(values.reshape(len(values), -1), axis=1)
    return means
