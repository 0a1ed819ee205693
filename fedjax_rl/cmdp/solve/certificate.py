"""Certificates of a solved CMDP, and how they are stored and matched to their problem."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.cmdp.model import CMDP, FloatArray
from fedjax_rl.errors import InvalidInput

CERTIFICATE_VERSION = 1
"""Raised whenever the meaning of a stored field changes."""

SAME_VALUE = 1e-11
"""Values that differ by no more than this share of their size differ by rounding alone."""

_VERSION_FIELD = "certificate_version"
_TRUTH_CODES = {None: -1, False: 0, True: 1}


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """Exact solution of a feasible CMDP with the proof of its accuracy, in the problem's units.

    Attributes:
        optimal_value: V_r of `policy`, which is V* within `certified_gap`.
        policy: [S, A], optimal; uniform over the support where it never arrives.
        multipliers: [M], λ* ≥ 0, reward per cost.
        multiplier_intervals: [M, 2], least and greatest optimal λ_j (outer bounds, `inf` where
            unbounded); they contain `multipliers`.
        multipliers_unique: whether λ* is the only one, None if not certified; tolerances are in
            `fedjax_rl.cmdp.solve.uniqueness`.
        occupancy: [S, A] of `policy`; sums to one.
        costs: [M], V_c of `policy`.
        slater_slack: ξ, the largest with V_cj ≤ d_j − ξ for all j at some policy; 0 if no more
            than rounding (`fedjax_rl.cmdp.solve.solver.SLACK_TOLERANCE`), and then the budgets
            are met to that accuracy.
        multiplier_bound: Σ_j λ_j ≤ (V* − V_r(slater)) / ξ for every optimal λ; `inf` if ξ is 0.
        certified_gap: g(λ*) − V_r + Σ_j λ*_j [V_cj − d_j]₊ ≥ 0. V* is within it of
            `optimal_value`; it includes the rounding of the dual bound, not of V_r.
        solvers: names of the solvers run, the one whose figures these are first.
        disagreement: |difference of V*| over the larger |V*| (at least the largest |r|); None
            if one solver ran.
        num_columns: deterministic policies priced by the decomposition; 0 if it did not run.
        unconstrained_value: max_π V_r without budgets.
    """

    optimal_value: float
    policy: FloatArray
    multipliers: FloatArray
    multiplier_intervals: FloatArray
    multipliers_unique: bool | None
    occupancy: FloatArray
    costs: FloatArray
    slater_slack: float
    multiplier_bound: float
    certified_gap: float
    solvers: tuple[str, ...]
    disagreement: float | None
    num_columns: int
    unconstrained_value: float

    @property
    def dual_bound(self) -> float:
        """(max_π V_r − V_r(slater)) / ξ, reward per cost; `inf` if ξ is 0.

        It is exactly 0 where every policy earns the same, up to rounding (`SAME_VALUE`).

        Slater's bound with the unconstrained value in the place of V*, so that it says nothing
        of the answer: at least `multiplier_bound` and hence at least every optimal Σ_j λ_j.
        It is the usual interval of a primal–dual method's multipliers (arXiv 2206.02346).
        """
        if self.slater_slack == 0:
            return math.inf
        above = max(self.unconstrained_value - self.optimal_value, 0.0)
        spread = self.multiplier_bound * self.slater_slack + above
        return (
            0.0
            if spread <= SAME_VALUE * abs(self.unconstrained_value)
            else (self.multiplier_bound + above / self.slater_slack)
        )


def to_arrays(certificate: Certificate) -> dict[str, np.ndarray]:
    """The certificate as arrays that ``numpy.savez`` stores without pickling.

    Each has the shape of its field in `Certificate`; numbers are scalars, [].

    ``multipliers_unique`` becomes 1, 0 or −1 for None; ``disagreement`` NaN for None.
    """
    fields: dict[str, Any] = {
        field.name: getattr(certificate, field.name) for field in dataclasses.fields(certificate)
    }
    fields["multipliers_unique"] = _TRUTH_CODES[certificate.multipliers_unique]
    if certificate.disagreement is None:
        fields["disagreement"] = np.nan
    fields[_VERSION_FIELD] = CERTIFICATE_VERSION
    return {name: np.asarray(value) for name, value in fields.items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Certificate:
    """The certificate that `to_arrays` stored.

    Args:
        arrays: by name; those of numbers are scalars, [].

    Raises:
        InvalidInput: another version, or a field is missing.
    """
    version = int(arrays[_VERSION_FIELD]) if _VERSION_FIELD in arrays else None
    if version != CERTIFICATE_VERSION:
        raise InvalidInput(
            _VERSION_FIELD, version, f"version {CERTIFICATE_VERSION} is read; solve it again"
        )
    names = [field.name for field in dataclasses.fields(Certificate)]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InvalidInput("certificate", f"no field {missing[0]!r}", "solve it again")
    fields: dict[str, Any] = {name: np.asarray(arrays[name]) for name in names}
    for name in names:
        if fields[name].ndim == 0:
            fields[name] = fields[name].item()
    truths = {code: truth for truth, code in _TRUTH_CODES.items()}
    fields["multipliers_unique"] = truths[fields["multipliers_unique"]]
    fields["solvers"] = tuple(str(name) for name in fields["solvers"])
    if np.isnan(fields["disagreement"]):
        fields["disagreement"] = None
    return Certificate(**fields)


def problem_digest(problem: CMDP) -> str:
    """SHA-256 over the problem's arrays, in hexadecimal.

    Shapes and contents of transition, reward, costs, budgets, initial, discount and support
    count; constraint names and notes do not.
    """
    digest = hashlib.sha256()
    for name in (
        "transition",
        "reward",
        "costs",
        "budgets",
        "initial",
        "discount",
        "support",
    ):
        kind = "|u1" if name == "support" else "<f8"
        array = np.ascontiguousarray(getattr(problem, name), dtype=kind)
        digest.update(f"{name}{np.shape(getattr(problem, name))}".encode())
        digest.update(array.data)
    return digest.hexdigest()
