"""Random draws that are certified feasible, or drawn again, and say which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from fedjax_rl.checks import check_count, checked, positive
from fedjax_rl.cmdp.model import CMDP
from fedjax_rl.cmdp.solve.evaluation import evaluate_policy
from fedjax_rl.cmdp.solve.linear_program import solve_slack_program
from fedjax_rl.errors import InvalidInput

CHOICES = ("redraw", "error", "keep")
MAX_DRAWS = 100
MINIMAL_SLACK = 1e-6
"""A draw whose Slater slack is smaller is as good as infeasible."""


def certified_draw(
    name: str, seed: int, infeasible: str, draw: Callable[[np.random.Generator], CMDP]
) -> CMDP:
    """The first feasible of a seed's draws; ``notes`` say which, and its Slater slack.

    Draw k of a seed uses ``SeedSequence([seed, k])``.

    Args:
        name: for the notes and errors.
        seed: of the whole sequence of draws.
        infeasible: ``redraw``; ``error``, to refuse a seed whose first draw is infeasible; or
            ``keep``, to take the first draw unseen.
        draw: builds a problem from a generator.

    Raises:
        InvalidInput: the choice is unknown, or no feasible draw was allowed or found.
    """
    if infeasible not in CHOICES:
        raise InvalidInput("infeasible", repr(infeasible), f"one of {', '.join(CHOICES)}")
    check_count("seed", seed, least=0, most=None)
    for attempt in range(1 if infeasible == "error" else MAX_DRAWS):
        problem = draw(np.random.default_rng(np.random.SeedSequence([seed, attempt])))
        if infeasible == "keep":
            return dataclasses.replace(problem, notes=f"seed {seed}, feasibility not checked")
        slack = solve_slack_program(problem).slack
        if slack > MINIMAL_SLACK:
            notes = f"seed {seed}, draw {attempt}, Slater slack {slack:.4g}"
            return dataclasses.replace(problem, notes=notes)
    raise InvalidInput(
        "seed",
        seed,
        f"no feasible draw of {name} ({attempt + 1} tried, Slater slack {slack:.4g}): another "
        "seed, fewer agents or larger budgets",
    )


def anchored_budgets(problem: CMDP, generator: np.random.Generator, fraction: float) -> CMDP:
    """Budgets d_j = fraction · V_cj of an anchor policy with logits ~ U(−1, 1).

    Args:
        problem: whose budgets are replaced.
        generator: draws the anchor.
        fraction: of the anchor's costs; below 1 the anchor itself violates the budgets.
    """
    logits = generator.uniform(-1.0, 1.0, problem.reward.shape)
    weights = np.exp(logits)
    _, costs, _ = evaluate_policy(problem, weights / weights.sum(1, keepdims=True))
    return dataclasses.replace(problem, budgets=fraction * costs)


def check_fraction(value: object) -> None:
    """Raises InvalidInput unless the budget fraction is a positive number."""
    checked("budget_fraction", value, positive)
