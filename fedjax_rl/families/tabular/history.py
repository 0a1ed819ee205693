"""From observations to columns: gaps, violations and averages over rounds, on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.columns import Columns
from fedjax_rl.federation.observed import Observation


class Layout(NamedTuple):
    """Names of the columns of a run, and the optimum and budgets they are measured against.

    Attributes:
        optimal_value: V* of the certificate.
        budgets: [M].
        constraint_names: M names.
        watched: (agent, slot, constraint index) of every multiplier.
        bytes_per_round: what crosses between agents in one round.
    """

    optimal_value: float
    budgets: FloatArray
    constraint_names: tuple[str, ...]
    watched: tuple[tuple[int, int, int], ...]
    bytes_per_round: int


class Rows(NamedTuple):
    """R consecutive rounds of P policies (one, or one per agent), with rounds as the last axis.

    Attributes:
        value: [P, R], V_r(ρ).
        costs: [P, M, R], V_cj(ρ).
        multipliers: [N, K, R], λ_ij.
        environment_steps: [R], transitions drawn in each round.
        counted: [P, R], 1 where a policy counts in averages, else 0.
    """

    value: FloatArray
    costs: FloatArray
    multipliers: FloatArray
    environment_steps: np.ndarray
    counted: FloatArray


class Sums(NamedTuple):
    """Sums over those of the rounds 1 … t that count.

    Attributes:
        counted: [P], how many.
        value: [P].
        costs: [P, M].
        strong: [P], sum of max_j [V_cj − d_j]₊.
        environment_steps: transitions drawn so far.
    """

    counted: FloatArray
    value: FloatArray
    costs: FloatArray
    strong: FloatArray
    environment_steps: float


def no_sums(num_policies: int, num_constraints: int) -> Sums:
    """Sums before the first round."""
    none = np.zeros(num_policies)
    return Sums(none, none, np.zeros((num_policies, num_constraints)), none, 0.0)


def rows_of(observations: Observation, seeds: int = 1) -> Rows:
    """Observations with a leading axis of rounds, and maybe one of policies, as `Rows`.

    Over several seeds, which are then the policies, multipliers and environment steps are means.
    """
    if seeds > 1:
        observations = observations._replace(
            multipliers=observations.multipliers.mean(1),
            environment_steps=observations.environment_steps.mean(1),
        )
    rounds = len(observations.value)
    value, costs = observations.value, observations.costs
    slots = observations.multipliers.shape[-1]
    return Rows(
        _rounds_last(value.reshape(rounds, -1)),
        _rounds_last(costs.reshape(rounds, -1, costs.shape[-1])),
        _rounds_last(observations.multipliers.reshape(rounds, -1, slots)),
        observations.environment_steps.reshape(rounds, -1).sum(1),
        _rounds_last(observations.counted.reshape(rounds, -1)),
    )


def initial_columns(row: Rows, layout: Layout) -> Columns:
    """The columns of round 0, whose averages are its own values."""
    table, _ = columns(1, row, no_sums(*row.costs.shape[:2]), layout)
    return table | {"round": np.array([0]), "bytes_exchanged": np.array([0])}


def columns(first_round: int, rows: Rows, before: Sums, layout: Layout) -> tuple[Columns, Sums]:
    """The columns of consecutive rounds from round 1 on, and the sums to go on from.

    With several policies (agents that do not communicate) a column is the mean over them, and
    ``worst_…`` columns hold the worst one. ``gap`` is V* − V_r, ``violation`` is
    max_j (V_cj − d_j), both signed; ``average_…`` are of the averages over rounds 1 … t (those
    that count; while there is none, of the round itself); ``strong_violation`` averages
    max_j [V_cj − d_j]₊ over the same rounds, so nothing cancels.

    Args:
        first_round: round of the first row.
        rows: what was observed.
        before: sums over the rounds before.
        layout: names and references.
    """
    round = first_round + np.arange(rows.value.shape[-1])
    budgets = layout.budgets[:, None]
    violation = (rows.costs - budgets).max(1)
    strong = np.maximum(violation, 0.0)
    count = _running(rows.counted, before.counted)
    value_sum = _running(rows.counted * rows.value, before.value)
    cost_sum = _running(rows.counted[:, None] * rows.costs, before.costs)
    strong_sum = _running(rows.counted * strong, before.strong)
    average_costs = average(cost_sum, count[:, None], rows.costs)
    steps = before.environment_steps + np.cumsum(rows.environment_steps)
    measures = {
        "gap": layout.optimal_value - rows.value,
        "average_gap": layout.optimal_value - average(value_sum, count, rows.value),
        "violation": violation,
        "average_violation": (average_costs - budgets).max(1),
        "strong_violation": average(strong_sum, count, strong),
    }
    table: Columns = {"round": round, "value": rows.value.mean(0)}
    table |= {name: measure.mean(0) for name, measure in measures.items()}
    if len(rows.value) > 1:
        table |= {f"worst_{name}": measure.max(0) for name, measure in measures.items()}
    for index, name in enumerate(layout.constraint_names):
        table[f"cost/{name}"] = rows.costs[:, index].mean(0)
    for agent, slot, constraint in layout.watched:
        name = layout.constraint_names[constraint]
        table[f"multiplier/{agent}/{name}"] = rows.multipliers[agent, slot]
    table["environment_steps"] = steps
    table["bytes_exchanged"] = round * layout.bytes_per_round
    after = Sums(
        count[:, -1], value_sum[:, -1], cost_sum[..., -1], strong_sum[:, -1], float(steps[-1])
    )
    return table, after


def average(sums: FloatArray, count: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Sums over how many there are; what is to stand in where there is none yet."""
    if (count > 0).all():
        quotient: FloatArray = sums / count
        return quotient
    return np.where(count > 0, sums / np.maximum(count, 1), otherwise)


def _running(values: FloatArray, before: FloatArray) -> FloatArray:
    """Sums that go on from ``before``, added in one order however rounds are cut into spans."""
    sums: FloatArray = np.empty((*values.shape[:-1], values.shape[-1] + 1))
    sums[..., 0], sums[..., 1:] = before, values
    return np.cumsum(sums, axis=-1)[..., 1:]


def _rounds_last(values: FloatArray) -> FloatArray:
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))
