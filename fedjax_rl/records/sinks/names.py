"""Names of the columns of ``metrics.csv`` in other tools: those of safe reinforcement learning."""

from __future__ import annotations

from fedjax_rl.columns import Columns

TABLE = {
    "value": "Metrics/EpRet",
    "reward": "Metrics/EpRet",
    "evaluation/reward": "Metrics/TestEpRet",
    "accuracy": "Metrics/Accuracy",
    "gap": "Metrics/Gap",
    "average_gap": "Metrics/AverageGap",
    "worst_gap": "Metrics/WorstGap",
    "worst_average_gap": "Metrics/WorstAverageGap",
    "violation": "Metrics/Violation",
    "average_violation": "Metrics/AverageViolation",
    "strong_violation": "Metrics/StrongViolation",
    "worst_violation": "Metrics/WorstViolation",
    "worst_average_violation": "Metrics/WorstAverageViolation",
    "worst_strong_violation": "Metrics/WorstStrongViolation",
    "multipliers_at_cap": "Metrics/MultipliersAtCap",
    "loss": "Loss/Loss_pi",
    "value_loss": "Loss/Loss_reward_critic",
    "kl": "Train/KL",
    "entropy": "Train/Entropy",
    "clip_fraction": "Train/ClipFraction",
    "gradient_norm": "Train/GradientNorm",
    "episodes": "Train/Episodes",
    "staleness": "Train/Staleness",
    "weight_mean": "Train/WeightMean",
    "weight_variance": "Train/WeightVariance",
    "weight_cv2": "Train/WeightCV2",
    "effective_sample_size": "Train/EffectiveSampleSize",
    "group_variation": "Train/GroupVariation",
    "estimation_error": "Train/EstimationError",
    "environment_steps": "TotalEnvSteps",
    "bytes_exchanged": "Communication/Bytes",
    "virtual_seconds": "Time/Virtual",
}
PREFIXES = {
    "cost/": "Metrics/EpCost",
    "evaluation/cost/": "Metrics/TestEpCost",
    "cumulative_violation/": "Metrics/CumulativeViolation",
    "multiplier/": "Metrics/LagrangeMultiplier",
}
"""Beginnings of columns of which there is one for each constraint; what follows is kept."""
SPEED = "Time/FPS"


def metrics_of(columns: Columns, unit: str) -> Columns:
    """The columns under the names that tools show, without the one that counts rows.

    The cost of the only constraint is ``Metrics/EpCost`` itself.
    """
    alone = sum(name.startswith("cost/") for name in columns) == 1
    return {name_of(name, alone): leaf for name, leaf in columns.items() if name != unit}


def name_of(column: str, alone: bool) -> str:
    """The name that tools show of a column; ``alone`` says that there is only one constraint."""
    if column in TABLE:
        return TABLE[column]
    for beginning, family in PREFIXES.items():
        if column.startswith(beginning):
            single = alone and beginning != "multiplier/"
            return family if single else f"{family}/{column.removeprefix(beginning)}"
    return f"Train/{column}"
