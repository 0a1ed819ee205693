"""Dense random problems."""

from __future__ import annotations

import numpy as np

from fedjax_rl.checks import check_count
from fedjax_rl.cmdp.model import CMDP, from_arrays
from fedjax_rl.cmdp.problems.certified import (
    anchored_budgets,
    certified_draw,
    check_fraction,
)


def random_mdp(
    agents: int = 4,
    states: int = 5,
    actions: int = 5,
    seed: int = 0,
    discount: float = 0.9,
    budget_fraction: float = 0.7,
    infeasible: str = "redraw",
) -> CMDP:
    """Dense random problem with one constraint per agent (arXiv 2405.03236).

    P = U[0, 1]·Bernoulli(½), normalised (uniform where a row is empty); r ~ U[0, 1];
    c_j = U[0, 1]·Bernoulli(½); ρ uniform; d_j = fraction · V_cj of a random anchor policy with
    logits ~ U(−1, 1). Feasibility is certified by a linear program.

    Args:
        agents: number of constraints M.
        states: S.
        actions: A.
        seed: of the sequence of draws.
        discount: γ in [0, 1).
        budget_fraction: fraction of the anchor's costs that is allowed.
        infeasible: ``redraw``, ``error`` or ``keep``.

    Raises:
        InvalidInput: an argument is out of range, or no feasible draw was found.
    """
    for field, value in (("agents", agents), ("states", states), ("actions", actions)):
        check_count(field, value, least=1)
    check_fraction(budget_fraction)

    def draw(generator: np.random.Generator) -> CMDP:
        shape = (states, actions, states)
        transition = generator.random(shape) * generator.integers(0, 2, shape)
        sums = transition.sum(-1, keepdims=True)
        transition = np.where(sums > 0, transition / np.where(sums > 0, sums, 1.0), 1.0 / states)
        reward = generator.random((states, actions))
        problem = from_arrays(
            transition,
            reward,
            sparse_costs(generator, agents, states, actions),
            np.zeros(agents),
            np.full(states, 1.0 / states),
            discount,
        )
        return anchored_budgets(problem, generator, budget_fraction)

    return certified_draw("random-mdp", seed, infeasible, draw)


def sparse_costs(
    generator: np.random.Generator, agents: int, states: int, actions: int
) -> np.ndarray:
    """c_j ~ U[0, 1]·Bernoulli(½), [M, S, A].

    Args:
        generator: draws all magnitudes, then all Bernoulli variables.
        agents: M, one constraint for each.
        states: S.
        actions: A.
    """
    shape = (agents, states, actions)
    return generator.random(shape) * generator.integers(0, 2, shape)
