"""A run of FedNPG as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.families.tabular.figures import curves_of, figures_of
from fedjax_rl.figures.numbers import (
    array,
    brief,
    estimate,
    mapping,
    number,
    percent,
    plural,
)
from fedjax_rl.report.common import finish_states, named, resources_of, section_of
from fedjax_rl.report.document import KeyFigure, Satisfaction, Section, Table
from fedjax_rl.report.reading import Source
from fedjax_rl.report.satisfaction import Members, budgets_kept, satisfaction, worst

POLICIES = {"averaged": "occupancy", "last": "last"}
"""Prefixes of the summary's figures by policy."""


def finite_section(source: Source, name: str) -> Section:
    """A run of ``fednpg``."""
    summary, rows = source.document("summary.json"), source.columns("metrics.csv")
    found = {policy: _satisfaction(summary, policy) for policy in POLICIES}
    recommended = str(summary.get("recommended_policy", "averaged"))
    failed = summary.get("failed_round")
    diverged = () if failed is None else (f"diverged in round {failed}; rows before it are kept",)
    section = section_of(source, name, f"run of FedNPG, {source.config.get('reference', 'fed')}")
    problem = summary.get("problem", source.config.get("problem"))
    return section._replace(
        states=finish_states(source, rows, "round", "rounds", bool(diverged)),
        verdict=_verdict(summary, found),
        key_figures=_key_figures(summary, found.get(recommended), recommended),
        satisfaction=tuple(one for one in found.values() if one is not None),
        figures=figures_of(rows, summary),
        tables=_results(summary),
        diverged=diverged,
        glance={
            "problem": problem,
            "judged by": f"gap, {recommended} policy",
            "its value": summary.get(f"{POLICIES.get(recommended, 'last')}_gap"),
            "budgets kept": budgets_kept(found.get(recommended)),
            **resources_of(summary),
        },
        curves=curves_of(rows, summary),
    )


def _satisfaction(summary: Mapping[str, Any], policy: str) -> Satisfaction | None:
    prefix = POLICIES[policy]
    costs, members = mapping(summary, f"{prefix}_costs"), None
    for what in ("seed", "agent"):
        by_member = array(summary.get(f"{prefix}_costs_by_{what}"))
        if by_member.ndim == 2:
            members = Members(what, by_member)
    recommended = " (recommended)" if summary.get("recommended_policy") == policy else ""
    whose = f"The {policy} policy{recommended}"
    tolerance = number(summary.get("feasibility_tolerance", 0.0))
    return satisfaction(whose, costs, mapping(summary, "budgets"), tolerance, members)


def _verdict(
    summary: Mapping[str, Any], found: Mapping[str, Satisfaction | None]
) -> tuple[str, ...]:
    optimum, sentences = number(summary.get("optimal_value")), []
    for policy, prefix in POLICIES.items():
        gap = number(summary.get(f"{prefix}_gap"))
        if np.isfinite(gap) and np.isfinite(optimum):
            side = "below" if gap >= 0 else "above"
            sentences.append(
                f"The {policy} policy earns {brief(optimum - gap)}, {percent(abs(gap), optimum)} "
                f"{side} the optimum of {brief(optimum)}; budgets: "
                f"{budgets_kept(found[policy])} kept, {worst(found[policy])}."
            )
    if capped := summary.get("multipliers_at_cap"):
        sentences.append(f"Multipliers at their cap: {brief(capped)}.")
    return tuple(sentences)


def _key_figures(
    summary: Mapping[str, Any], found: Satisfaction | None, recommended: str
) -> tuple[KeyFigure, ...]:
    if not summary:
        return ()
    prefix = POLICIES.get(recommended, "last")
    optimum, gap = number(summary.get("optimal_value")), number(summary.get(f"{prefix}_gap"))
    return (
        KeyFigure("Value", brief(optimum - gap), f"{recommended} policy; optimum {brief(optimum)}"),
        KeyFigure("Budgets kept", budgets_kept(found), f"{recommended} policy"),
        KeyFigure("Strong violation", brief(summary.get("strong_violation")), "mean over rounds"),
        *named(summary),
    )


def _results(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    if not summary:
        return ()
    optimum = number(summary.get("optimal_value"))
    headings = ["policy", "value", "gap V* − V", "largest violation", "feasible"]
    member = next((m for m in ("seed", "agent") if f"last_gap_by_{m}" in summary), None)
    if member:
        headings += [f"gap over {member}s, IQM [95 %]", f"violation over {member}s, IQM [95 %]"]
    rows = []
    for policy, prefix in POLICIES.items():
        gap = number(summary.get(f"{prefix}_gap"))
        flag = "feasible_average" if policy == "averaged" else "feasible_last"
        row = [policy, optimum - gap, gap, summary.get(f"{prefix}_violation"), summary.get(flag)]
        if member:
            row += [
                estimate(array(summary.get(f"{prefix}_{figure}_by_{member}")))
                for figure in ("gap", "violation")
            ]
        rows.append(tuple(row))
    note = ""
    if member:
        note = f"Means over {plural(len(array(summary[f'last_gap_by_{member}'])), member)}. "
    note += "Read the gap beside the violation: a policy that breaks its budgets can beat V*."
    names = list(mapping(summary, "budgets"))
    prices = tuple(
        (
            name,
            mapping(summary, "effective_multipliers").get(name),
            mapping(summary, "optimal_multipliers").get(name),
        )
        for name in names
    )
    return (
        Table("Policies", tuple(headings), tuple(rows), note),
        Table("Multipliers", ("constraint", "effective λ", "optimal λ*"), prices),
    )
