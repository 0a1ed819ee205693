"""Tools show the names that their users know."""

import numpy as np
import pytest

from fedjax_rl.records.sinks.names import PREFIXES, TABLE, metrics_of

pytestmark = pytest.mark.timeout(60)


def columns(*names):
    return {name: np.arange(2.0) for name in names}


def test_several_constraints_keep_their_names():
    logged = columns(
        *("round", "value", "cost/a", "cost/b/c", "multiplier/0/a", "multiplier/1/b/c", "kl"),
        *("evaluation/reward", "evaluation/cost/a", "evaluation/cost/b/c", "environment_steps"),
    )
    assert list(metrics_of(logged, "round")) == [
        *("Metrics/EpRet", "Metrics/EpCost/a", "Metrics/EpCost/b/c"),
        *("Metrics/LagrangeMultiplier/0/a", "Metrics/LagrangeMultiplier/1/b/c", "Train/KL"),
        *("Metrics/TestEpRet", "Metrics/TestEpCost/a", "Metrics/TestEpCost/b/c", "TotalEnvSteps"),
    ]


def test_the_only_constraint_needs_no_name_and_multipliers_keep_theirs():
    logged = columns("round", "reward", "cost/a", "evaluation/cost/a", "multiplier/1/a")
    assert list(metrics_of(logged, "round")) == [
        *("Metrics/EpRet", "Metrics/EpCost", "Metrics/TestEpCost"),
        "Metrics/LagrangeMultiplier/1/a",
    ]


def test_values_are_handed_on_as_they_are():
    logged = {"step": np.arange(3), "accuracy": np.array([0.1, np.nan, 0.3])}
    metrics = metrics_of(logged, "step")
    assert list(metrics) == ["Metrics/Accuracy"]
    assert metrics["Metrics/Accuracy"] is logged["accuracy"]


def test_only_what_never_stands_side_by_side_shares_a_name():
    names = sorted([*TABLE.values(), *PREFIXES.values()])
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"Metrics/EpRet"}  # `value` of finite problems, `reward` of the others
