"""The form in which the solvers read a CMDP: gathered successors, signals of size one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray
from fedjax_rl.cmdp.successors import IndexArray, gather_successors


class Process(NamedTuple):
    """A CMDP over S states and A actions with M constraints, in the solvers' units.

    Signals are divided by their largest magnitude on the support, so that one tolerance fits
    problems in any units: values by `reward_scale`, costs and budgets by `cost_scales`.

    Attributes:
        successor: [S, B], the states that any action of a state can reach; padding repeats
            other states with probability 0. B ≤ S.
        probability: [S, A, B], P(successor[s, b] | s, a).
        signals: [1 + M, S, A], the reward and then the costs, each at most 1 in magnitude.
        budgets: [M], d_j over the scale of the cost.
        initial: [S].
        discount: γ in [0, 1).
        support: [S, A], the actions a policy may take.
        reward_scale: reward of one unit of signal 0.
        cost_scales: [M], cost of one unit of signal 1 + j.
    """

    successor: IndexArray
    probability: FloatArray
    signals: FloatArray
    budgets: FloatArray
    initial: FloatArray
    discount: float
    support: BoolArray
    reward_scale: float
    cost_scales: FloatArray

    @property
    def slack_scale(self) -> float:
        """Slack, in the problem's units, of one unit of the solvers' slack."""
        return float(self.cost_scales.min())

    @property
    def slack_weights(self) -> FloatArray:
        """[M], how much one unit of slack tightens each scaled budget; u_j ≤ 1 in the Slater LP."""
        return self.slack_scale / self.cost_scales

    @property
    def multiplier_scales(self) -> FloatArray:
        """[M], multiplier in the problem's units of one unit in the solvers'."""
        return self.reward_scale / self.cost_scales


def process_of(problem: CMDP) -> Process:
    """The solvers' form of a CMDP; a problem with wide successors is copied once."""
    successor, probability = gather_successors(problem.transition)
    scale = _signal_scale(problem.reward[None], problem.support)[0]
    cost_scales = _signal_scale(problem.costs, problem.support)
    signals = np.concatenate(
        [problem.reward[None] / scale, problem.costs / cost_scales[:, None, None]]
    )
    return Process(
        successor=successor,
        probability=probability,
        signals=signals,
        budgets=problem.budgets / cost_scales,
        initial=problem.initial,
        discount=float(problem.discount),
        support=problem.support,
        reward_scale=float(scale),
        cost_scales=cost_scales,
    )


def expected_next(process: Process, values: FloatArray) -> FloatArray:
    """E[v(s') | s, a] as [S, A] of state values [S]."""
    return (process.probability @ values[process.successor][:, :, None])[:, :, 0]


def bellman_operator(process: Process, policy: FloatArray) -> FloatArray:
    """I − γ P_π, [S, S], of action probabilities [S, A]."""
    reached = (policy[:, None, :] @ process.probability)[:, 0]
    return _operator(process, reached)


def bellman_operator_of_actions(process: Process, actions: IndexArray) -> FloatArray:
    """I − γ P_π, [S, S], of a deterministic policy [S]."""
    return _operator(process, process.probability[np.arange(len(actions)), actions])


def _operator(process: Process, reached: FloatArray) -> FloatArray:
    num_states = reached.shape[0]
    # Column-major, which is what LAPACK factorises in place.
    operator = np.zeros((num_states, num_states), order="F")
    operator[np.arange(num_states)[:, None], process.successor] = -process.discount * reached
    operator[np.diag_indices(num_states)] += 1.0
    return operator


def _signal_scale(signals: FloatArray, support: BoolArray) -> FloatArray:
    largest = np.abs(np.where(support, signals, 0.0)).max((1, 2))
    return np.where(largest > 0, largest, 1.0)
