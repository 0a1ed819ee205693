"""Generic average reward non-stationary environment test-bench: sparse random problems."""

from __future__ import annotations

import numpy as np

from fedjax_rl.checks import check_count
from fedjax_rl.cmdp.model import CMDP, from_arrays
from fedjax_rl.cmdp.problems.certified import (
    anchored_budgets,
    certified_draw,
    check_fraction,
)
from fedjax_rl.cmdp.problems.random_mdp import sparse_costs
from fedjax_rl.errors import InvalidInput


def garnet(
    agents: int = 4,
    states: int = 20,
    actions: int = 5,
    branching: int = 4,
    seed: int = 0,
    discount: float = 0.9,
    budget_fraction: float = 0.7,
    infeasible: str = "redraw",
) -> CMDP:
    """Sparse random problem with b successors of each state and action (Archibald et al. 1995).

    The successors are drawn without replacement, their probabilities are the gaps between
    sorted uniform cut points; rewards, costs and budgets are those of random-mdp.

    Args:
        agents: number of constraints M.
        states: S.
        actions: A.
        branching: b, at most S.
        seed: of the sequence of draws.
        discount: γ in [0, 1).
        budget_fraction: fraction of a random anchor policy's costs that is allowed.
        infeasible: ``redraw``, ``error`` or ``keep``.

    Raises:
        InvalidInput: an argument is out of range, or no feasible draw was found.
    """
    sizes = {"agents": agents, "states": states, "actions": actions, "branching": branching}
    for field, value in sizes.items():
        check_count(field, value, least=1)
    check_fraction(budget_fraction)
    if branching > states:
        raise InvalidInput("branching", branching, f"at most the number of states, {states}")

    def draw(generator: np.random.Generator) -> CMDP:
        cuts = np.sort(generator.random((states, actions, branching - 1)), axis=-1)
        ends = np.concatenate(
            [np.zeros((states, actions, 1)), cuts, np.ones((states, actions, 1))], axis=-1
        )
        order = generator.permuted(np.tile(np.arange(states), (states, actions, 1)), axis=-1)
        transition = np.zeros((states, actions, states))
        np.put_along_axis(transition, order[..., :branching], np.diff(ends, axis=-1), axis=-1)
        problem = from_arrays(
            transition,
            generator.random((states, actions)),
            sparse_costs(generator, agents, states, actions),
            np.zeros(agents),
            np.full(states, 1.0 / states),
            discount,
        )
        return anchored_budgets(problem, generator, budget_fraction)

    return certified_draw("garnet", seed, infeasible, draw)
