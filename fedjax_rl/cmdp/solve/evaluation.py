"""Exact value, costs and occupancy of one stationary policy."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray
from fedjax_rl.cmdp.solve.process import Process, bellman_operator, process_of
from fedjax_rl.errors import InvalidInput

PROBABILITY_TOLERANCE = 1e-8
UNVISITED_BELOW = 1e-14
"""Occupancy of a state under which its actions are rounding and any allowed one will do."""


def evaluate_policy(problem: CMDP, policy: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """V_r(ρ), V_c(ρ) and the occupancy of a policy by one linear solve.

    The occupancy solves (I − γ P_π)ᵀ x = (1 − γ) ρ, q(s, a) = x(s) π(a | s), and a value is
    ⟨q, signal⟩ / (1 − γ).

    Args:
        problem: the CMDP, S states, A actions and M constraints.
        policy: [S, A] action probabilities, zero outside the support.

    Returns:
        The value, the costs [M] and the occupancy [S, A], which sums to one.

    Raises:
        InvalidInput: `policy` has the wrong shape, its rows are no distributions, or it takes
            an action without support.
    """
    policy = _checked_policy(problem, policy)
    return evaluate_in(problem, process_of(problem), policy)


def evaluate_in(
    problem: CMDP, process: Process, policy: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """`evaluate_policy` for a policy known to be valid and a process already gathered.

    Args:
        problem: for its reward and costs, in their own units.
        process: the same problem in the solvers' form.
        policy: π [S, A], valid.

    Returns:
        V_r(ρ), V_c(ρ) [M] and the occupancy [S, A], which sums to one.
    """
    visits = state_visits(process, bellman_operator(process, policy))
    occupancy = visits[:, None] * policy
    horizon = 1.0 / (1.0 - process.discount)
    value = float(np.vdot(occupancy, problem.reward)) * horizon
    costs = np.tensordot(problem.costs, occupancy, axes=2) * horizon
    return value, costs, occupancy


def state_visits(process: Process, operator: FloatArray) -> FloatArray:
    """(1 − γ) Σ_t γᵗ P(s_t = s), [S], of a policy with Bellman operator [S, S]."""
    start = (1.0 - process.discount) * process.initial
    visits = lu_solve(lu_factor(operator, check_finite=False), start, trans=1, check_finite=False)
    return np.maximum(visits, 0.0)


def policy_of_occupancy(occupancy: FloatArray, support: BoolArray) -> FloatArray:
    """π(a | s) = q(s, a) / Σ_a q(s, a), [S, A]; uniform over the support where q(s) = 0."""
    clipped = np.where(support, np.maximum(occupancy, 0.0), 0.0)
    visits = clipped.sum(1, keepdims=True)
    uniform = support / support.sum(1, keepdims=True)
    visited = visits > UNVISITED_BELOW
    return np.where(visited, clipped / np.where(visited, visits, 1.0), uniform)


def _checked_policy(problem: CMDP, policy: FloatArray) -> FloatArray:
    policy = np.asarray(policy, np.float64)
    if policy.shape != problem.support.shape:
        raise InvalidInput(
            "policy", f"shape {policy.shape}", f"expected [S, A] = {problem.support.shape}"
        )
    wrong = (
        ~np.isfinite(policy).all(1)
        | (policy < 0).any(1)
        | (np.abs(policy.sum(1) - 1.0) > PROBABILITY_TOLERANCE)
    )
    if wrong.any():
        state = int(np.argmax(wrong))
        raise InvalidInput(
            "policy", f"no distribution in state {state}", "each row must be one over the actions"
        )
    if (policy[~problem.support] > 0).any():
        state, action = (int(i) for i in np.argwhere((policy > 0) & ~problem.support)[0])
        raise InvalidInput(
            "policy",
            f"{policy[state, action]:g} at state {state}, action {action}",
            "actions without support cannot be taken",
        )
    return policy
