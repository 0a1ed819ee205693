"""Exact ground truth of finite CMDPs: two independent solvers and a certificate.

NumPy and SciPy on the host in float64; nothing here is traced by JAX.
"""

from fedjax_rl.cmdp.solve.certificate import (
    CERTIFICATE_VERSION,
    Certificate,
    from_arrays,
    problem_digest,
    to_arrays,
)
from fedjax_rl.cmdp.solve.evaluation import evaluate_policy, policy_of_occupancy
from fedjax_rl.cmdp.solve.highs import ProgramFailure
from fedjax_rl.cmdp.solve.solver import InfeasibleProblem, SolverDisagreement, SolverName, solve

__all__ = [
    "CERTIFICATE_VERSION",
    "Certificate",
    "InfeasibleProblem",
    "ProgramFailure",
    "SolverDisagreement",
    "SolverName",
    "evaluate_policy",
    "from_arrays",
    "policy_of_occupancy",
    "problem_digest",
    "solve",
    "to_arrays",
]
