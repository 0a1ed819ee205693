"""Problems whose optimum is known from elsewhere."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest

from fedjax_rl.cmdp.model import from_arrays
from fedjax_rl.cmdp.solve import solve

SEPSIS = importlib.util.find_spec("icu_sepsis")


def windy_cliff():
    """4×10 grid of the FedNPG experiments: four segments of the bottom row cost 10 a step."""
    rows, columns = 4, 10
    transition = np.zeros((rows * columns, 4, rows * columns))
    for row, column in np.ndindex(rows, columns):
        state, below = row * columns + column, min(row + 1, rows - 1) * columns + column
        moves = ((0, 1), (0, -1), (1, 0), (-1, 0))
        for action, (down, right) in enumerate(moves):
            target = np.clip(row + down, 0, rows - 1) * columns
            target += np.clip(column + right, 0, columns - 1)
            slip = 0.0 if down == 1 else 0.4
            transition[state, action, target] += 1.0 - slip
            transition[state, action, below] += slip
    reward = np.full((rows * columns, 4), -0.1)
    reward[-1] = 20.0
    bottom = (rows - 1) * columns
    costs = np.zeros((4, rows * columns, 4))
    costs[np.arange(4), bottom + 2 + np.arange(4)] = 10.0
    initial = np.eye(rows * columns)[bottom]
    return from_arrays(transition, reward, costs, np.full(4, 2.0), initial, 0.9)


def sepsis():
    assert SEPSIS is not None
    assert SEPSIS.submodule_search_locations is not None
    package = pathlib.Path(SEPSIS.submodule_search_locations[0])
    with np.load(package / "envs" / "assets" / "dynamics.npz") as data:
        transition, expert = data["tx_mat"], data["expert_policy"]
        reward = np.einsum("sat,sat->sa", transition, data["r_mat"])
        sofa, initial = data["sofa_scores"], data["d_0"]
    states, actions = reward.shape
    in_care = (np.arange(states) < states - 3)[:, None]
    action = np.arange(actions)
    costs = [
        in_care * (action % 5) / 4,
        in_care * (action // 5) / 4,
        np.repeat(in_care * sofa[:, None] / 24, actions, axis=1),
        in_care * (expert == 0),
    ]
    transition = transition / transition.sum(-1, keepdims=True)
    return from_arrays(transition, reward, costs, [0.1, 1.0, 3.0, 0.1], initial, 0.99)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("solver", ["both", "linear-program"])
def test_windy_cliff(solver):
    certificate = solve(windy_cliff(), solver)
    assert certificate.optimal_value == pytest.approx(23.84, abs=5e-3)
    assert certificate.unconstrained_value == pytest.approx(42.56, abs=5e-3)
    np.testing.assert_allclose(certificate.multipliers, [0.533, 0.471, 0.516, 2.518], atol=5e-4)
    assert certificate.multipliers_unique is True
    assert certificate.certified_gap <= 1e-8


@pytest.mark.timeout(120)
@pytest.mark.skipif(SEPSIS is None, reason="icu-sepsis is not installed")
def test_sepsis():
    certificate = solve(sepsis())
    assert certificate.solvers == ("decomposition",)
    assert certificate.optimal_value == pytest.approx(0.7556, abs=5e-5)
    assert certificate.unconstrained_value == pytest.approx(0.8013, abs=5e-5)
    expected = [0.0194, 0.0771, 0.0, 0.0241]
    np.testing.assert_allclose(certificate.multipliers, expected, atol=5e-5)
    assert certificate.multipliers_unique is True
    assert certificate.certified_gap <= 1e-8
    assert (certificate.costs <= np.array([0.1, 1.0, 3.0, 0.1]) + 1e-8).all()
