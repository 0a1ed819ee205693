"""From observations to columns: gaps, violations and averages over rounds, on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.federation.observed import Observation

Columns = dict[str, np.ndarray]


class Layout(NamedTuple):
    """What the columns are named after and measured against.

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


class Sums(NamedTuple):
    """Sums over rounds 1 … t, for each of the P policies observed (one, or one per agent).

    Attributes:
        value: [P].
        costs: [P, M].
        strong: [P], sum of max_j [V_cj − d_j]₊.
        environment_steps: transitions drawn so far.
    """

    value: FloatArray
    costs: FloatArray
    strong: FloatArray
    environment_steps: float


def no_sums(num_policies: int, num_constraints: int) -> Sums:
    """Sums before the first round."""
    return Sums(
        np.zeros(num_policies),
        np.zeros((num_policies, num_constraints)),
        np.zeros(num_policies),
        0.0,
    )


def by_policy(observation: Observation) -> Observation:
    """Gives every field of rows [R, …] an axis of policies: [R, P, …], multipliers [R, N, K]."""
    value, costs = observation.value, observation.costs
    if value.ndim == 1:
        value, costs = value[:, None], costs[:, None]
    rounds = len(value)
    return Observation(
        value,
        costs,
        observation.multipliers.reshape(rounds, -1, observation.multipliers.shape[-1]),
        observation.environment_steps.reshape(rounds, -1).sum(1),
    )


def columns(
    first_round: int, rows: Observation, before: Sums, layout: Layout
) -> tuple[Columns, Sums]:
    """The columns of consecutive rounds, and the sums to go on from.

    With several policies (agents that do not communicate) a column is the mean over them, and
    ``worst_…`` columns hold the worst one. ``gap`` is V* − V_r, ``violation`` is
    max_j (V_cj − d_j), both signed; ``average_…`` are of the averages over rounds 1 … t;
    ``strong_violation`` averages max_j [V_cj − d_j]₊ over rounds, so nothing cancels.
    Round 0 has no average: its averages are its own values.

    Args:
        first_round: round of the first row.
        rows: R rows as `by_policy` shapes them.
        before: sums over the rounds before.
        layout: names and references.
    """
    rounds = first_round + np.arange(len(rows.value))
    counted = (rounds > 0).astype(np.float64)
    excess = rows.costs - layout.budgets
    strong = np.maximum(excess.max(-1), 0.0)

    def running(values: FloatArray, start: FloatArray) -> FloatArray:
        weight = counted.reshape(-1, *(1,) * (values.ndim - 1))
        return start + np.cumsum(weight * values, axis=0)

    value_sum = running(rows.value, before.value)
    cost_sum = running(rows.costs, before.costs)
    strong_sum = running(strong, before.strong)
    steps = before.environment_steps + np.cumsum(rows.environment_steps)
    after = Sums(value_sum[-1], cost_sum[-1], strong_sum[-1], float(steps[-1]))

    count = np.maximum(rounds, 1)[:, None]
    initial = counted[:, None] == 0
    average_value = np.where(initial, rows.value, value_sum / count)
    average_excess = (
        np.where(initial[..., None], rows.costs, cost_sum / count[..., None]) - layout.budgets
    )
    measures = {
        "gap": layout.optimal_value - rows.value,
        "average_gap": layout.optimal_value - average_value,
        "violation": excess.max(-1),
        "average_violation": average_excess.max(-1),
        "strong_violation": np.where(initial, strong, strong_sum / count),
    }
    table: Columns = {"round": rounds, "value": rows.value.mean(1)}
    table |= {name: measure.mean(1) for name, measure in measures.items()}
    if rows.value.shape[1] > 1:
        table |= {f"worst_{name}": measure.max(1) for name, measure in measures.items()}
    for index, name in enumerate(layout.constraint_names):
        table[f"cost/{name}"] = rows.costs[:, :, index].mean(1)
    for agent, slot, constraint in layout.watched:
        name = layout.constraint_names[constraint]
        table[f"multiplier/{agent}/{name}"] = rows.multipliers[:, agent, slot]
    table["environment_steps"] = steps
    table["bytes_exchanged"] = rounds * layout.bytes_per_round
    return table, after
