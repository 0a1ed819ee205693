"""The occupancy-measure linear program (Altman 1999, *Constrained MDPs*, ch. 3).

    max ⟨q, r⟩ / (1 − γ)   over q ≥ 0
    s.t. Σ_a q(s', a) − γ Σ_{s,a} P(s' | s, a) q(s, a) = (1 − γ) ρ(s')
         ⟨q, c_j⟩ / (1 − γ) ≤ d_j

Only actions with support have a variable. The multipliers are minus the marginals of the
inequalities of the minimisation form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.cmdp.solve.evaluation import policy_of_occupancy
from fedjax_rl.cmdp.solve.highs import minimise
from fedjax_rl.cmdp.solve.process import Process, process_of


class ProgramSolution(NamedTuple):
    """Optimum of the occupancy program.

    Attributes:
        value: V*, in the reward's units.
        policy: [S, A], uniform over the support where the state is never visited.
        multipliers: [M], λ* ≥ 0 in reward per cost.
        occupancy: [S, A], q* as the program left it, non-negative; sums to one within 1e-9.
    """

    value: float
    policy: FloatArray
    multipliers: FloatArray
    occupancy: FloatArray


class SlackSolution(NamedTuple):
    """Optimum of the Slater program.

    Attributes:
        slack: ξ, the largest with V_cj ≤ d_j − ξ for every j; negative if infeasible.
        policy: [S, A] that attains it.
        value: its V_r, in the reward's units.
    """

    slack: float
    policy: FloatArray
    value: float


def solve_linear_program(problem: CMDP, process: Process | None = None) -> ProgramSolution:
    """V*, an optimal policy and optimal multipliers by HiGHS.

    Args:
        problem: the CMDP.
        process: `process_of(problem)` if the caller has it already.

    Raises:
        ProgramFailure: the problem is infeasible (status 2) or HiGHS failed.
    """
    process = process_of(problem) if process is None else process
    signals = process.signals[:, process.support]
    result = minimise(
        -signals[0],
        upper=(sparse.csr_array(signals[1:]), (1.0 - process.discount) * process.budgets),
        equal=_flow(problem),
    )
    occupancy = _scattered(process, result.x)
    multipliers = np.maximum(-result.ineqlin.marginals, 0.0) * process.multiplier_scales
    return ProgramSolution(
        value=float(signals[0] @ result.x) / (1.0 - process.discount) * process.reward_scale,
        policy=policy_of_occupancy(occupancy, problem.support),
        multipliers=multipliers,
        occupancy=occupancy,
    )


def solve_slack_program(problem: CMDP, process: Process | None = None) -> SlackSolution:
    """Slater slack max ξ s.t. V_cj ≤ d_j − ξ by HiGHS, ξ in the costs' units.

    Args:
        problem: the CMDP.
        process: `process_of(problem)` if the caller has it already.

    Raises:
        ProgramFailure: HiGHS failed; the program itself is always feasible and bounded.
    """
    process = process_of(problem) if process is None else process
    signals = process.signals[:, process.support]
    num_variables = signals.shape[1]
    flow, start = _flow(problem)
    widened = sparse.csr_array(sparse.hstack([flow, sparse.csr_array((flow.shape[0], 1))]))
    rows = np.concatenate([signals[1:], process.slack_weights[:, None]], axis=1)
    bounds = np.tile([0.0, np.inf], (num_variables + 1, 1))
    bounds[-1, 0] = -np.inf
    result = minimise(
        np.append(np.zeros(num_variables), -1.0),
        upper=(sparse.csr_array(rows), (1.0 - process.discount) * process.budgets),
        equal=(widened, start),
        bounds=bounds,
    )
    horizon = 1.0 / (1.0 - process.discount)
    occupancy = _scattered(process, result.x[:-1])
    return SlackSolution(
        slack=float(result.x[-1]) * horizon * process.slack_scale,
        policy=policy_of_occupancy(occupancy, problem.support),
        value=float(signals[0] @ result.x[:-1]) * horizon * process.reward_scale,
    )


def program_size(problem: CMDP) -> int:
    """Non-zero transition entries on the support, which is what HiGHS has to read."""
    return int(np.count_nonzero(problem.transition[problem.support]))


def _flow(problem: CMDP) -> tuple[sparse.csr_array, FloatArray]:
    """Flow matrix [S, variables] and its right side [S]."""
    discount = float(problem.discount)
    states = np.nonzero(problem.support)[0]
    num_variables = len(states)
    leaving = sparse.csr_array(
        (np.ones(num_variables), (states, np.arange(num_variables))),
        shape=(problem.num_states, num_variables),
    )
    entering = sparse.csr_array(problem.transition[problem.support]).T
    flow = sparse.csr_array(leaving - discount * entering)
    return flow, (1.0 - discount) * problem.initial


def _scattered(process: Process, variables: FloatArray) -> FloatArray:
    occupancy = np.zeros(process.support.shape)
    occupancy[process.support] = np.maximum(variables, 0.0)
    return occupancy
