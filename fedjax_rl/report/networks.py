"""A run of networks, and one with its references, as sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.families.networks.figures import curves_of, figures_of
from fedjax_rl.families.networks.recommendation import HEADINGS, recommendation, rows_of
from fedjax_rl.figures.curves import overlaid
from fedjax_rl.figures.numbers import array, brief, estimate, mapping, number, plural
from fedjax_rl.report.common import finish_states, named, resources_of, section_of
from fedjax_rl.report.document import (
    KeyFigure,
    Satisfaction,
    Section,
    State,
    Table,
)
from fedjax_rl.report.reading import Source, open_source
from fedjax_rl.report.satisfaction import Members, budgets_kept, satisfaction, worst

TITLES = {"fedppo": "FedPPO", "fednatural": "federated natural policy gradient"}
REFERENCES = ("omniscient", "no-communication", "unconstrained", "one-shot")
"""Folders of references, where a run was compared with them."""


def networks_section(source: Source, name: str) -> Section:
    """A run of ``fedppo`` or ``fednatural``, with its references where there are any."""
    section = _run(source, name)
    if not source.config.get("compare"):
        return section
    parts = []
    for reference in REFERENCES:
        path = source.path / reference
        if (path / "config.yaml").is_file():
            inner = open_source(path)
            if inner.algorithm == source.algorithm:
                parts.append(_run(inner, reference))
    everyone = [section._replace(name="fed"), *parts]
    states = section.states
    if not source.has("comparison.csv"):
        states = (State("comparison unfinished", None), *(s for s in states if not s.good))
    overlays = overlaid({one.name: one.curves for one in everyone}, "Beside its references: ")
    return section._replace(
        kind=f"{section.kind}, with {plural(len(parts), 'reference')}",
        states=states,
        figures=(*overlays, *section.figures),
        tables=(_beside(everyone), *section.tables),
        parts=tuple(parts),
        diverged=tuple(f"{one.name}: {line}" for one in everyone for line in one.diverged),
    )


def _run(source: Source, name: str) -> Section:
    summary, rows = source.document("summary.json"), source.columns("metrics.csv")
    evaluations = source.columns("evaluations.csv")
    found = _satisfaction(summary)
    diverged = tuple(
        f"seed {one.get('seed')} diverged in round {one.get('round')} and is left out from there on"
        for one in summary.get("failed_seeds") or []
        if isinstance(one, dict)
    )
    reference = source.config.get("reference", "fed")
    agents = _agents(source, summary, rows)
    section = section_of(source, name, f"run of {TITLES[source.algorithm]}, {reference}")
    return section._replace(
        states=finish_states(source, rows, "round", "rounds", bool(diverged)),
        verdict=_verdict(summary, found),
        key_figures=_key_figures(summary, found),
        satisfaction=() if found is None else (found,),
        figures=figures_of(rows, evaluations, summary, agents),
        tables=(*_results(summary), *_played(source)),
        diverged=diverged,
        glance={
            "problem": source.config.get("problem"),
            "judged by": "reward",
            "its value": summary.get("reward"),
            "budgets kept": budgets_kept(found),
            **resources_of(summary),
        },
        curves=curves_of(evaluations, agents, mapping(summary, "budgets")),
    )


def _satisfaction(summary: Mapping[str, Any]) -> Satisfaction | None:
    costs = mapping(summary, "costs")
    by_member, what = mapping(summary, "costs_by_seed"), "seed"
    if summary.get("seeds") == 1 and "costs_by_agent" in summary:
        by_member, what = mapping(summary, "costs_by_agent"), "agent"
    members = None
    columns = [array(by_member.get(name)) for name in costs]
    if columns and len({len(column) for column in columns}) == 1:
        members = Members(what, np.stack(columns, 1))
    tolerance = number(summary.get("feasibility_tolerance", 0.0))
    whose = f"Mean over the last {brief(summary.get('evaluations_in_window'))} evaluations"
    cut_short = number(summary.get("unfinished_episodes", 0.0)) > 0
    budgets = mapping(summary, "budgets")
    return satisfaction(whose, costs, budgets, tolerance, members, unfinished=cut_short)


def _verdict(summary: Mapping[str, Any], found: Satisfaction | None) -> tuple[str, ...]:
    if not summary:
        return ()
    sentences = [
        f"Over the last {summary.get('evaluations_in_window')} evaluations the policy earns "
        f"{brief(summary.get('reward'))} per episode; budgets: {budgets_kept(found)} kept, "
        f"{worst(found)}."
    ]
    if (share := number(summary.get("unfinished_episodes"))) > 0:
        sentences.append(
            f"{100 * share:.3g} % of the episodes were given up before they ended: no budget "
            "counts as kept."
        )
    if line := recommendation(summary):
        sentences.append(line)
    if (count := number(summary.get("collapses"))) > 0:
        sentences.append(
            f"{plural(int(count), 'time')} the reward collapsed after every budget had been kept."
        )
    if "gap" in summary:
        sentences.append(
            f"Evaluated exactly, the last policy is {brief(summary['gap'])} below the optimum of "
            f"{brief(summary.get('optimal_value'))}."
        )
    return tuple(sentences)


def _key_figures(summary: Mapping[str, Any], found: Satisfaction | None) -> tuple[KeyFigure, ...]:
    if not summary:
        return ()
    share = number(summary.get("feasible_share"))
    note = f"all of them by {100 * share:.0f} % of the seeds" if summary.get("seeds") != 1 else ""
    mode = f"of its mode {brief(summary.get('mode_reward'))}"
    return (
        KeyFigure("Reward", brief(summary.get("reward")), mode),
        KeyFigure("Budgets kept", budgets_kept(found), note),
        *named(summary),
    )


def _results(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    """Reward and costs: over the window, of the last evaluation, and of the mode."""
    if not summary:
        return ()
    budgets = mapping(summary, "budgets")
    rows = [
        (
            "reward",
            None,
            summary.get("reward"),
            estimate(array(summary.get("reward_by_seed"))),
            summary.get("last_reward"),
            summary.get("mode_reward"),
        )
    ]
    for name, cost in mapping(summary, "costs").items():
        unit = mapping(summary, "budget_kinds").get(name)
        of_seeds = array(mapping(summary, "costs_by_seed").get(name))
        last, mode = (mapping(summary, each).get(name) for each in ("last_costs", "mode_costs"))
        label = f"cost {name}" + (f", per {unit}" if unit in ("episode", "step") else "")
        rows.append((label, budgets.get(name), cost, estimate(of_seeds), last, mode))
    headings = ("figure", "budget", "mean", "over seeds, IQM [95 %]", "last evaluation", "its mode")
    return (
        Table("Results", headings, tuple(rows)),
        *_recommended(summary),
        *_violations(summary),
        *_by_agent(summary),
    )


def _recommended(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    """What every seed recommends."""
    rows, terms = rows_of(summary), mapping(summary, "recommendation")
    if not rows:
        return ()
    note = (
        f"The best evaluated policy by reward that fresh episodes confirm; of at most "
        f"{brief(terms.get('attempts_at_most'))} candidates. All upper bounds of a seed's mean "
        f"costs hold with {100 * number(terms.get('confidence')):g} % confidence."
    )
    return (Table("Recommended policies", HEADINGS, rows, note),)


def _violations(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    """What the agents' own rollouts cost above the budgets, summed over rounds."""
    by_agent, budgets = mapping(summary, "cumulative_violation"), mapping(summary, "budgets")
    rows = []
    for agent in by_agent:
        for name, total in mapping(by_agent, agent).items():
            budget = abs(number(budgets.get(name)))
            relative = number(total) / budget if budget > 0 else None
            rows.append((f"agent {agent}", name, total, relative))
    note = "Sums over rounds of what a round's mean cost was above its budget; no round pays for "
    note += "another. Means over seeds."
    headings = ("agent", "constraint", "cost × rounds", "budgets × rounds")
    return (Table("Violations while learning", headings, tuple(rows), note),) if rows else ()


def _by_agent(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    rewards, costs = array(summary.get("reward_by_agent")), mapping(summary, "costs_by_agent")
    if not rewards.size:
        return ()
    columns = [rewards, *(array(by_agent) for by_agent in costs.values())]
    rows = tuple(
        (f"agent {agent}", *(float(c[agent]) if agent < len(c) else None for c in columns))
        for agent in range(len(rewards))
    )
    headings = ("policy", "reward", *(f"cost {name}" for name in costs))
    return (Table("Every agent's own policy, of all constraints", headings, rows),)


def _played(source: Source) -> tuple[Table, ...]:
    """What ``fedjax-rl eval`` found, where it was asked."""
    figures = source.document("evaluation.json")
    if not figures:
        return ()
    rows = []
    for name in ("reward", *mapping(figures, "costs")):
        row: list[Any] = [name if name == "reward" else f"cost {name}"]
        row.append(mapping(figures, "budgets").get(name))
        for prefix in ("", "mode_"):
            if name == "reward":
                mean, ends = figures.get(f"{prefix}reward"), figures.get(f"{prefix}reward_interval")
            else:
                mean = mapping(figures, f"{prefix}costs").get(name)
                ends = mapping(figures, f"{prefix}cost_intervals").get(name)
            row.append(f"{brief(mean)} {brief(ends)}")
        rows.append(tuple(row))
    headings = ("figure", "budget", "as it acts [95 %]", "its mode [95 %]")
    note = f"{brief(figures.get('episodes'))} episodes of every policy, seed "
    note += f"{brief(figures.get('eval_seed'))}; intervals are over episodes."
    if figures.get("policy") == "recommended":
        note += " The policies are those that the run recommends."
    return (Table("Played by fedjax-rl eval", headings, tuple(rows), note),)


def _agents(source: Source, summary: Mapping[str, Any], rows: Columns) -> float:
    """How many share the environment steps; of an unfinished run as far as its columns tell."""
    watching = {n.split("/")[1] for n in rows if n.startswith("multiplier/") and n.count("/") > 1}
    recorded = summary.get("num_agents", source.config.get("agents"))
    return number(recorded) if recorded else float(max(len(watching), 1))


def _beside(everyone: list[Section]) -> Table:
    """A row for each reference."""
    names = [bar.name for one in everyone[:1] for s in one.satisfaction for bar in s.bars]
    rows = []
    for one in everyone:
        bars = {bar.name: bar for s in one.satisfaction for bar in s.bars}
        costs = [
            f"{brief(bars[n].cost)} of {brief(bars[n].budget)}" if n in bars else None
            for n in names
        ]
        glance = one.glance
        rows.append(
            (
                one.name,
                glance.get("its value"),
                *costs,
                glance.get("budgets kept"),
                glance.get("exchanged"),
                glance.get("time"),
            )
        )
    headings = (
        "reference",
        "reward",
        *(f"cost {n}" for n in names),
        "budgets kept",
        "exchanged",
        "time",
    )
    return Table("Beside its references", headings, tuple(rows), sortable=True, marked=(0,))
