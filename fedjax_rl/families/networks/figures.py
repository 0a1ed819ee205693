"""Figures of a run of networks: what its policy did at evaluations, and what its columns say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.figures import curves
from fedjax_rl.figures.averages import averaged
from fedjax_rl.figures.curves import MEMBERS_DRAWN, Axes, budget_of, curve, gathered, too_many
from fedjax_rl.figures.description import Chart, Figure, FloatArray, Series
from fedjax_rl.figures.numbers import mapping

X_LABELS = ("environment steps of each agent", "round")
Members = Sequence[tuple[float, ...]]


def figures_of(
    rows: Columns, evaluations: Columns, summary: Mapping[str, Any], agents: float
) -> tuple[Figure, ...]:
    """All figures of a run of networks.

    Args:
        rows: of ``metrics.csv``.
        evaluations: of ``evaluations.csv``.
        summary: of the run, or nothing.
        agents: how many share the environment steps.
    """
    figures = _evaluated(evaluations, agents, mapping(summary, "budgets"))
    if not len(rows.get("round", ())):
        return figures
    axes = Axes(X_LABELS, (rows["environment_steps"] / agents, rows["round"]))
    optimal = mapping(summary, "optimal_multipliers")
    drawn = {"round", "environment_steps", *(n for n in rows if n.startswith("multiplier/"))}
    note = "reward, violation and cost/… are what the agents met in their own rollouts."
    own = curves.multipliers(axes, rows, optimal)
    return (*figures, *own, *curves.remaining(axes, rows, drawn, note))


def _evaluated(
    evaluations: Columns, agents: float, budgets: Mapping[str, Any]
) -> tuple[Figure, ...]:
    """Reward and costs of the policy at evaluations, averaged and seed by seed."""
    if not len(evaluations.get("round", ())):
        return ()
    axes = _axes(evaluations, agents)
    rewards = {"as it acts": "reward", "its mode": "mode_reward"}
    rewards = {label: name for label, name in rewards.items() if name in evaluations}
    costs = {n.removeprefix("cost/"): n for n in evaluations if n.startswith("cost/")}
    reward = _views(axes, evaluations, "reward per episode", rewards, {})
    cost = _views(axes, evaluations, "cost", costs, budgets)
    note = too_many(len(_members(evaluations, "reward")[0]))
    return (
        Figure("Reward", reward, note, "reward.png"),
        *([Figure("Costs and budgets", cost, note, "costs.png")] if costs else []),
    )


def _views(
    axes: Axes,
    evaluations: Columns,
    y_label: str,
    named_columns: Mapping[str, str],
    budgets: Mapping[str, Any],
) -> tuple[Chart, ...]:
    """A view of averages, and one of every member for each column where there are several."""
    averages, views = [], []
    for index, (label, column) in enumerate(named_columns.items()):
        members, values = _members(evaluations, column)
        more = budget_of(label, budgets) if budgets else {}
        averages.append(_averaged(curve(axes, label, values[:, 0], index, **more), members, values))
        if 1 < len(members) <= MEMBERS_DRAWN:
            each = (
                curve(axes, _member(member, members), values[:, at], at, **more)
                for at, member in enumerate(members)
            )
            series = tuple(one._replace(visible=True) for one in each)
            views.append(Chart(f"every seed: {label}", axes.labels, y_label, series, detail=True))
    return (Chart("average", axes.labels, y_label, tuple(averages)), *views)


def _axes(evaluations: Columns, agents: float) -> Axes:
    steps = curves.first_of(evaluations, "round", "environment_steps") / agents
    return Axes(X_LABELS, (steps, np.unique(evaluations["round"])))


def _members(evaluations: Columns, column: str) -> tuple[Members, FloatArray]:
    _, members, values = gathered(evaluations, "round", ("seed", "policy"), column)
    return members, values


def _averaged(series: Series, members: Members, values: FloatArray) -> Series:
    """Averages over seeds; agents that were never merged are strata."""
    seeds, policies = (len({member[axis] for member in members}) for axis in (0, 1))
    if seeds * policies == len(members):
        values = values.reshape(len(values), seeds, policies)
    return averaged(series, values)


def _member(member: tuple[float, ...], members: Members) -> str:
    several = len({policy for _, policy in members}) > 1
    return f"seed {member[0]:g}" + f", agent {member[1]:g}" * several


def curves_of(
    evaluations: Columns, agents: float, budgets: Mapping[str, Any]
) -> dict[tuple[str, ...], Series]:
    """The curves that a page overlays with other runs': reward and costs at evaluations."""
    if not len(evaluations.get("round", ())):
        return {}
    axes, found = _axes(evaluations, agents), {}
    for column in evaluations:
        if column == "reward" or column.startswith("cost/"):
            label = column.replace("cost/", "cost ")
            members, values = _members(evaluations, column)
            more = budget_of(column.removeprefix("cost/"), budgets)
            series = curve(axes, label, values[:, 0], **more)
            found[label, *axes.labels] = _averaged(series, members, values)
    return found
