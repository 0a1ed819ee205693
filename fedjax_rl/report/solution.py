"""An exact solution as a section."""

from __future__ import annotations

from fedjax_rl.figures.numbers import brief, mapping
from fedjax_rl.report.common import finish_states, section_of
from fedjax_rl.report.document import KeyFigure, Section, Table
from fedjax_rl.report.reading import Source
from fedjax_rl.report.satisfaction import budgets_kept, satisfaction


def solution_section(source: Source, name: str) -> Section:
    """What ``solve`` wrote: the optimum and its certificate."""
    solution = source.document("solution.json")
    costs, budgets = mapping(solution, "costs"), mapping(solution, "budgets")
    optimal, free = (solution.get(name) for name in ("optimal_value", "unconstrained_value"))
    found = satisfaction("The optimal policy", costs, budgets, 0.0)
    rows = tuple(
        (each, cost, budgets.get(each), mapping(solution, "optimal_multipliers").get(each))
        for each, cost in costs.items()
    )
    section = section_of(source, name, "exact solution")
    return section._replace(
        states=finish_states(source, {}, "", "", False, "solution.json"),
        verdict=(
            f"The best value within the budgets is {brief(optimal)}; without them it would be "
            f"{brief(free)}. It is certified to {brief(solution.get('certified_gap'))}.",
        )
        if solution
        else (),
        key_figures=(
            KeyFigure("Optimal value V*", brief(optimal), f"without budgets {brief(free)}"),
            KeyFigure("Certified gap", brief(solution.get("certified_gap"))),
            KeyFigure("Slater slack", brief(solution.get("slater_slack"))),
            KeyFigure("Multipliers unique", brief(solution.get("multipliers_unique"))),
        ),
        satisfaction=() if found is None else (found,),
        tables=(Table("Optimum", ("constraint", "cost", "budget", "multiplier λ*"), rows),),
        glance={
            "problem": solution.get("problem", source.config.get("problem")),
            "judged by": "V*",
            "its value": optimal,
            "budgets kept": budgets_kept(found),
        },
    )
