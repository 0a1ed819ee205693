"""Pricing: the best deterministic policy for a weighted sum of signals.

Howard's policy iteration with one LU factorisation per policy, whose factors give the values
of the reward and of all costs at once. A warm start reuses the state values of a policy that
was factorised before, so that a start that is optimal already costs no factorisation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from fedjax_rl.cmdp.model import FloatArray
from fedjax_rl.cmdp.solve.process import (
    IndexArray,
    Process,
    bellman_operator_of_actions,
    expected_next,
)
from fedjax_rl.errors import SolverFailure

IMPROVEMENT_TOLERANCE = 1e-13
"""Advantage under which a switch would chase rounding, over Σ_k |weights_k| times the largest
magnitude of signal or value k: the weighted sum itself may cancel to less than its terms' error."""
MAX_POLICIES = 1000


class PricedPolicy(NamedTuple):
    """A deterministic policy with the values of all K = 1 + M signals.

    Attributes:
        actions: [S].
        state_values: [S, K], in the units of the process.
        values: [K], their mean under ρ.
    """

    actions: IndexArray
    state_values: FloatArray
    values: FloatArray


class Price(NamedTuple):
    """The result of pricing.

    Attributes:
        policy: a policy that is optimal up to rounding.
        upper: no policy's weighted value is above it: weights·values plus the largest
            Bellman residual over 1 − γ.
    """

    policy: PricedPolicy
    upper: float


def evaluate_actions(process: Process, actions: IndexArray) -> PricedPolicy:
    """Values of all signals of the policy [S] from one LU factorisation."""
    factors = lu_factor(
        bellman_operator_of_actions(process, actions), overwrite_a=True, check_finite=False
    )
    per_state = process.signals[:, np.arange(len(actions)), actions].T
    state_values = lu_solve(factors, per_state, check_finite=False)
    return PricedPolicy(actions, state_values, process.initial @ state_values)


def first_policy(process: Process, weights: FloatArray) -> PricedPolicy:
    """The policy that is greedy for the immediate signal Σ_k weights_k signal_k.

    Args:
        process: the problem in the solvers' units.
        weights: [1 + M], of the signals.
    """
    immediate = np.tensordot(weights, process.signals, 1)
    return evaluate_actions(process, _greedy(process, immediate))


def price(process: Process, weights: FloatArray, start: PricedPolicy) -> Price:
    """max_π Σ_k weights_k V_k(ρ) by policy iteration from `start`.

    An action is switched only where its advantage exceeds the rounding of the values, so the
    weighted value rises strictly and no policy comes back.

    Args:
        process: the problem in the solvers' units.
        weights: [K], of the reward and of each cost; (1, −λ) for the Lagrangian.
        start: any priced policy; the nearer to optimal the better.

    Raises:
        SolverFailure: no optimum within `MAX_POLICIES` policies, which rounding cannot cause.
    """
    combined = np.tensordot(weights, process.signals, 1)
    policy = start
    states = np.arange(len(start.actions))
    for _ in range(MAX_POLICIES):
        values = policy.state_values @ weights
        action_values = combined + process.discount * expected_next(process, values)
        greedy = _greedy(process, action_values)
        advantage = action_values[states, greedy] - values
        sizes = np.maximum(np.abs(policy.state_values).max(0), 1.0)
        better = advantage > IMPROVEMENT_TOLERANCE * float(np.abs(weights) @ sizes)
        if not better.any():
            residual = max(float(advantage.max()), 0.0)
            upper = float(weights @ policy.values) + residual / (1.0 - process.discount)
            return Price(policy, upper)
        policy = evaluate_actions(process, np.where(better, greedy, policy.actions))
    raise SolverFailure(f"policy iteration did not settle within {MAX_POLICIES} policies")


def _greedy(process: Process, action_values: FloatArray) -> IndexArray:
    return np.where(process.support, action_values, -np.inf).argmax(1)
