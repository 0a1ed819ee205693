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


def initial_columns(row: Observation, layout: Layout) -> Columns:
    """The columns of round 0, whose averages are its own values."""
    table, _ = columns(1, row, no_sums(*row.costs.shape[1:]), layout)
    return table | {"round": np.array([0]), "bytes_exchanged": np.array([0])}


def columns(
    first_round: int, rows: Observation, before: Sums, layout: Layout
) -> tuple[Columns, Sums]:
    """The columns of consecutive rounds from round 1 on, and the sums to go on from.

    With several policies (agents that do not communicate) a column is the mean over them, and
    ``worst_…`` columns hold the worst one. ``gap`` is V* − V_r, ``violation`` is
    max_j (V_cj − d_j), both signed; ``average_…`` are of the averages over rounds 1 … t;
    ``strong_violation`` averages max_j [V_cj − d_j]₊ over rounds, so nothing cancels.

    Args:
        first_round: round of the first row.
        rows: R rows as `by_policy` shapes them.
        before: sums over the rounds before.
        layout: names and references.
    """
    rounds = first_round + np.arange(len(rows.value))
    count = rounds[:, None]
    violation = (rows.costs - layout.budgets).max(-1)
    value_sum = before.value + np.cumsum(rows.value, axis=0)
    cost_sum = before.costs + np.cumsum(rows.costs, axis=0)
    strong_sum = before.strong + np.cumsum(np.maximum(violation, 0.0), axis=0)
    steps = before.environment_steps + np.cumsum(rows.environment_steps)
    measures = {
        "gap": layout.optimal_value - rows.value,
        "average_gap": layout.optimal_value - value_sum / count,
        "violation": violation,
        "average_violation": (cost_sum / count[..., None] - layout.budgets).max(-1),
        "strong_violation": strong_sum / count,
    }
    table: Columns = {"round": rounds, "value": _mean(rows.value)}
    table |= {name: _mean(measure) for name, measure in measures.items()}
    if rows.value.shape[1] > 1:
        table |= {f"worst_{name}": measure.max(1) for name, measure in measures.items()}
    for index, name in enumerate(layout.constraint_names):
        table[f"cost/{name}"] = _mean(rows.costs[:, :, index])
    for agent, slot, constraint in layout.watched:
        name = layout.constraint_names[constraint]
        table[f"multiplier/{agent}/{name}"] = rows.multipliers[:, agent, slot]
    table["environment_steps"] = steps
    table["bytes_exchanged"] = rounds * layout.bytes_per_round
    return table, Sums(value_sum[-1], cost_sum[-1], strong_sum[-1], float(steps[-1]))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the P policies of [R, P]."""
    mean: np.ndarray = values[:, 0] if values.shape[1] == 1 else values.mean(1)
    return mean
