"""Sepsis treatment in intensive care, shared by four hospitals that audit different harms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedjax_rl.cmdp.model import CMDP, from_arrays

DOSE_LEVELS = 5
OUTCOME_STATES = 3
"""The last states: death, survival, and the absorbing state after either."""
LARGEST_SOFA = 24.0
BUDGETS = (0.1, 1.0, 3.0, 0.1)
HOSPITALS = ("vasopressor", "fluid", "sofa", "unusual-treatment")


def icu_sepsis(arrays: Mapping[str, Any], discount: float = 0.99) -> CMDP:
    """The ICU-Sepsis model with one cost for each of four hospitals.

    The model (Choudhary, Gupta, Thomas: arXiv 2406.05646) was estimated from MIMIC-III: 716
    states, 25 actions of five fluid by five vasopressor levels, reward 1 on survival. While a
    patient is in the ICU the hospitals count the vasopressor level / 4, the fluid level / 4,
    the SOFA score / 24, and 1 for a treatment that no clinician gave in that state.

    Args:
        arrays: ``tx_mat`` and ``r_mat`` [S, A, S], ``d_0`` [S], ``expert_policy`` [S, A] and
            ``sofa_scores`` [S], as the icu-sepsis package ships them.
        discount: γ in [0, 1).
    """
    transition = np.asarray(arrays["tx_mat"])
    reward = np.einsum("sat,sat->sa", transition, arrays["r_mat"])
    num_states, num_actions = reward.shape
    in_icu = np.ones((num_states, 1))
    in_icu[-OUTCOME_STATES:] = 0.0
    fluid, vasopressor = np.divmod(np.arange(num_actions), DOSE_LEVELS)
    costs = np.stack(
        [
            in_icu * vasopressor / (DOSE_LEVELS - 1),
            in_icu * fluid / (DOSE_LEVELS - 1),
            in_icu
            * np.asarray(arrays["sofa_scores"])[:, None]
            * np.ones(num_actions)
            / LARGEST_SOFA,
            in_icu * (np.asarray(arrays["expert_policy"]) == 0.0),
        ]
    )
    return from_arrays(
        transition,
        reward,
        costs,
        BUDGETS,
        arrays["d_0"],
        discount,
        constraint_names=HOSPITALS,
        notes="estimated from MIMIC-III; a simulation, not clinical evidence",
    )
