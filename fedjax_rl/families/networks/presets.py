"""Settings of networks by name."""

from __future__ import annotations

from typing import Any

from fedjax_rl.checks import check_choice
from fedjax_rl.families.networks.config import OWN

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "envs": 50,
        "rollout": 200,
        "epochs": 20,
        "minibatches": 1,
        "learning_rate": 1e-4,
        "kl_target": "none",
        "kl_limit": 0.1,
        "standardize": False,
        "merge_by": "equal",
        "natural_step": "own",
        "scale_observations": "none",
        "entropy": 0.0,
        "gradient_norm": 1e9,
        "scale_returns": False,
        "duals": "gradient",
        "dual_units": "raw",
        "dual_step_size": 1e-3,
        "budget_margin": 0.0,
        "multiplier_cap": 1.0,
        "gae": 0.95,
        "cost_gae": 0.95,
    },
}
"""Settings by name: ours, and those of the experiments of arXiv 2405.03236 (Adam 1e-4, 10,000
steps per agent and update, up to 20 full-batch epochs with a KL stop at 0.1, λ in [0, 1])."""


def preset(algorithm: str, name: str) -> dict[str, Any]:
    """The settings of a preset that an algorithm reads, on top of the defaults.

    Raises:
        InvalidInput: an unknown name.
    """
    check_choice("--preset", name, tuple(PRESETS))
    others = [setting for one, own in OWN.items() if one != algorithm for setting in own]
    return {setting: value for setting, value in PRESETS[name].items() if setting not in others}
