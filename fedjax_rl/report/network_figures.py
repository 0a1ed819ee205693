"""Figures of a run of networks: what its policy did at evaluations, and what its columns say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.report.common import BAND, MEMBERS_DRAWN, multiplier_figure, too_many
from fedjax_rl.report.curves import Axes, banded, curve, first_of, gathered, remaining
from fedjax_rl.report.document import Chart, Figure, Series
from fedjax_rl.report.numbers import mapping, plural
from fedjax_rl.report.reading import Columns

X_LABELS = ("environment steps of each agent", "round")


def figures_of(
    rows: Columns, evaluations: Columns, summary: Mapping[str, Any], agents: float
) -> tuple[Figure, ...]:
    """All of them.

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
    return (*figures, *multiplier_figure(axes, rows, optimal), *remaining(axes, rows, drawn, note))


def _evaluated(
    evaluations: Columns, agents: float, budgets: Mapping[str, Any]
) -> tuple[Figure, ...]:
    """Reward and costs of the policy at evaluations, averaged and seed by seed."""
    if not len(evaluations.get("round", ())):
        return ()
    axes = _axes(evaluations, agents)
    _, members, _ = gathered(evaluations, "round", ("seed", "policy"), "reward")
    figures = [
        _two_views(axes, evaluations, "reward per episode", {"as it acts": "reward"}, {}, "Reward"),
    ]
    if "mode_reward" in evaluations:
        both = {"as it acts": "reward", "its mode": "mode_reward"}
        figures = [_two_views(axes, evaluations, "reward per episode", both, {}, "Reward")]
    costs = {n.removeprefix("cost/"): n for n in evaluations if n.startswith("cost/")}
    if costs:
        figures.append(_two_views(axes, evaluations, "cost", costs, budgets, "Costs and budgets"))
    note = "" if len(members) == 1 else BAND.format(_who(members))
    return tuple(
        figure._replace(note=" ".join(filter(None, [figure.note, note]))) for figure in figures
    )


def _two_views(
    axes: Axes,
    evaluations: Columns,
    y_label: str,
    named_columns: Mapping[str, str],
    budgets: Mapping[str, Any],
    title: str,
) -> Figure:
    """A view of averages, and one of every member for each column where there are several."""
    averages, views, most = [], [], 0
    for place, (label, column) in enumerate(named_columns.items()):
        _, members, values = gathered(evaluations, "round", ("seed", "policy"), column)
        most = max(most, len(members))
        more = {"reference": budgets.get(label), "reference_name": "budget"}
        averages.append(banded(curve(axes, label, values[:, 0], place, **more), values))
        if 1 < len(members) <= MEMBERS_DRAWN:
            each = tuple(
                curve(axes, _member(member, members), values[:, at], at, **more)
                for at, member in enumerate(members)
            )
            each = tuple(one._replace(shown=True) for one in each)
            views.append(Chart(f"every seed: {label}", axes.labels, y_label, each))
    note = " ".join(filter(None, ["Budgets are dashed." if budgets else "", too_many(most)]))
    first = Chart("average", axes.labels, y_label, tuple(averages))
    return Figure(title, (first, *views), note)


def _axes(evaluations: Columns, agents: float) -> Axes:
    steps = first_of(evaluations, "round", "environment_steps") / agents
    return Axes(X_LABELS, (steps, np.unique(evaluations["round"])))


def _member(member: tuple[float, ...], members: list[tuple[float, ...]]) -> str:
    several = len({policy for _, policy in members}) > 1
    return f"seed {member[0]:g}" + f", agent {member[1]:g}" * several


def _who(members: list[tuple[float, ...]]) -> str:
    seeds, policies = (len({member[axis] for member in members}) for axis in (0, 1))
    if policies == 1:
        return plural(seeds, "seed")
    return plural(policies, "agent") if seeds == 1 else f"{seeds} seeds × {policies} agents"


def curves_of(
    evaluations: Columns, agents: float, budgets: Mapping[str, Any]
) -> dict[tuple[str, ...], Series]:
    """What can be laid beside other runs: reward and costs at evaluations."""
    if not len(evaluations.get("round", ())):
        return {}
    axes, found = _axes(evaluations, agents), {}
    for column in evaluations:
        if column == "reward" or column.startswith("cost/"):
            label = column.replace("cost/", "cost ")
            budget = budgets.get(column.removeprefix("cost/"))
            _, _, values = gathered(evaluations, "round", ("seed", "policy"), column)
            series = curve(axes, label, values[:, 0], reference=budget, reference_name="budget")
            found[label, *axes.labels] = banded(series, values)
    return found
