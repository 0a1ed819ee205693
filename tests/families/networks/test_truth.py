"""Networks against known truth: closed forms, and the linear program of a finite problem."""

import pytest

from fedjax_rl.envs import known
from fedjax_rl.families.networks.training import fednatural, fedppo
from tests.quick import compiled_quickly, quick_compilation  # noqa: F401

SETTLING = {"learning_rate": 0.003, "learning_rate_decay": 1.0, "episodes": 1000}
"""Step lengths that fall to zero, so that the last policy is a point and not an orbit."""


PID = {"duals": "pid", "dual_smoothing": 0.0}
"""Multipliers without a floor."""
PLAIN = {"scale_observations": "none"}
AS_TOLD = {"kl_target": "none", "kl_limit": "none"}
"""Steps of the length that the learning rate says."""


def settled(problem, expected, **settings):
    result = fedppo(problem, **{**PID, **AS_TOLD, **SETTLING, **settings})
    (name,) = expected.task.constraint_names
    summary = result.summary
    return summary["last_reward"], summary["last_costs"][name], multiplier_of(result, 0, name)


def multiplier_of(result, agent, name):
    """Its mean over the last 100 rounds: the proportional part follows every noisy cost."""
    return float(result.history[f"multiplier/{agent}/{name}"][-100:].mean())


def test_constant_reward():
    expected = known.known_constant_reward()
    reward, cost, multiplier = settled(
        "constant-reward", expected, rounds=5, envs=8, rollout=20, hidden=(8,)
    )
    assert reward == expected.optimal_reward
    assert cost == expected.optimal_costs[0]
    assert multiplier == expected.optimal_multipliers[0] == 0.0


def test_constrained_bandit():
    expected = known.known_constrained_bandit()
    reward, cost, multiplier = settled(
        "constrained-bandit",
        expected,
        **{"rounds": 200, "envs": 64, "rollout": 16, "hidden": (16,), "entropy": 0.0},
        **{"proportional_gain": 0.5, "integral_gain": 0.05, "evaluate_every": 100},
    )
    # 1,000 episodes have a standard error of 0.015.
    assert reward == pytest.approx(expected.optimal_reward, abs=0.06)
    assert cost == pytest.approx(expected.optimal_costs[0], abs=0.06)
    assert multiplier == pytest.approx(expected.optimal_multipliers[0], abs=0.15)


@pytest.mark.slow
def test_chain():
    expected = known.known_chain()
    reward, cost, multiplier = settled(
        "chain",
        expected,
        # The entropy keeps the policy off the corners, where nothing is learned any more.
        **{"rounds": 400, "envs": 128, "rollout": 15, "hidden": (16,), "entropy": 0.2},
        **{"proportional_gain": 0.5, "integral_gain": 0.02, "evaluate_every": 200},
        **{"minibatches": 3, "epochs": 2},
    )
    assert reward == pytest.approx(expected.optimal_reward, abs=0.1)
    assert cost == pytest.approx(expected.optimal_costs[0], abs=0.3)
    assert multiplier == pytest.approx(expected.optimal_multipliers[0], abs=0.1)


@pytest.mark.parametrize(
    ("algorithm", "agents", "merge_by", "own"),
    [
        # Weighed: merged as equals, multipliers settle where the sum of ∇L_i / s_i vanishes.
        # Unclipped they settle higher; budgets are kept.
        (
            *(fedppo, 2, "lagrangian"),
            {"cost_surrogate": "clipped", **AS_TOLD, **PLAIN, "learning_rate": 0.001},
        ),
        (fednatural, 4, "lagrangian", {"radius": 0.002}),
    ],
)
def test_a_finite_problem_comes_within_5_percent_of_the_linear_program(
    algorithm, agents, merge_by, own
):
    # Merged as equals, four agents cannot: see docs/concepts.md, "What a normalised step costs".
    with compiled_quickly(False):  # a million steps
        result = algorithm(
            "random-mdp",
            **{"problem_args": ("states=5",), "agents": agents, "merge_by": merge_by},
            **{"rounds": 250, "envs": 128, "rollout": 32, "hidden": (32,), "entropy": 0.0},
            **{"proportional_gain": 0.5, "integral_gain": 0.1},
            **{**PID, **SETTLING, "episodes": 100, "evaluate_every": 250, **own},
        )
    summary = result.summary
    assert abs(summary["gap"]) < 0.05 * summary["optimal_value"]
    for name, cost in summary["exact_costs"].items():
        assert cost < 1.05 * summary["budgets"][name]
    if algorithm is fedppo:
        for agent, (name, optimal) in enumerate(summary["optimal_multipliers"].items()):
            assert multiplier_of(result, agent, name) == pytest.approx(optimal, abs=0.1)
