"""The result of a run of networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fedjax_rl.columns import Columns
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.confirmation import Recommended
from fedjax_rl.families.networks.history import Evaluations
from fedjax_rl.learners.deep.state import DeepShared


@dataclasses.dataclass(frozen=True)
class DeepResult:
    """A finished (or diverged) run.

    Attributes:
        prepared: what was run.
        history: one array over rounds 0 … T for each column of ``metrics.csv``.
        evaluations: of the merged policy of every seed, or of every agent's.
        policy: `DeepShared` after the last round, on the host, leading axes [K, P]; P is 1 but
            for agents that never communicate.
        violations: [K, N, M], Σ_t [J_c − d]₊ of every agent's own rollouts; see
            `history.violations_summed`.
        summary: what ``summary.json`` holds.
        recommended: the policies that fresh episodes confirmed; None where none was asked for.
        failed_seeds: for each of the K seeds the round that was not finite, or −1.
    """

    prepared: DeepPrepared
    history: Columns
    evaluations: Evaluations
    policy: DeepShared
    violations: np.ndarray
    summary: dict[str, Any]
    failed_seeds: np.ndarray
    recommended: Recommended | None = None
