"""What the tasks allow: the planner, the search and the figures that others are held against."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench import attainable, attainable_search, controllers, measured
from bench.attainable_search import Found, evolve, mixed
from bench.attainable_tasks import METHODS, PENDULUM, Search, cartpole
from bench.planning import Axis, Grid, closed, interpolated, located, planned
from fedjax_rl.algorithm import environments

BENT = Grid(
    (Axis("theta", -np.pi, np.pi, 12, periodic=True), Axis("theta_dot", -8.0, 8.0, 9, bend=2.0)),
    np.array([[-2.0], [0.0], [2.0]], np.float32),
    discount=0.9,
    sweeps=1,
)


def state_at(theta: float, theta_dot: float) -> Any:
    task = environments.make("pendulum")
    _, state = task.environment.reset_env(jax.random.key(0), task.params)
    return state.replace(theta=jnp.float32(theta), theta_dot=jnp.float32(theta_dot))


def test_a_table_is_read_at_its_points_and_linear_between() -> None:
    angles, speeds = (axis.place() for axis in BENT.axes)
    values = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    table = closed(BENT, jnp.asarray(values))

    def read(theta: float, theta_dot: float) -> float:
        return float(interpolated(BENT, table, *located(BENT, state_at(theta, theta_dot))))

    for row, column in ((0, 0), (5, 3), (11, 8)):
        at = read(angles[row], speeds[column])
        assert at == pytest.approx(values[row, column], abs=1e-4)
    # Between the last angle and the first, which is one turn on.
    beyond = read(angles[11] + np.pi / 12, speeds[3])
    assert beyond == pytest.approx((values[11, 3] + values[0, 3]) / 2, abs=1e-4)
    assert read(angles[2] + 6 * np.pi, speeds[3]) == pytest.approx(values[2, 3], abs=1e-3)
    # Outside of the speeds it is what it is at their end.
    assert read(angles[2], 9.0) == pytest.approx(values[2, 8], abs=1e-4)


def test_two_sweeps_are_the_best_of_two_steps() -> None:
    """Against the reward minus prices, added up by hand over all pairs of actions."""
    task, prices = environments.make("pendulum"), np.array([2.0, 3.0])
    one = planned(task, BENT, prices)
    two = planned(task, BENT._replace(sweeps=2), prices)
    key = jax.random.key(0)

    def step(state: Any, action: Any) -> tuple[float, Any]:
        _, after, reward, _, info = task.environment.step_env(key, state, action, task.params)
        return float(reward - info["cost"] @ prices), after

    angles, speeds = (axis.place() for axis in BENT.axes)
    for row, column in ((0, 0), (4, 6)):
        gains = [step(state_at(angles[row], speeds[column]), a) for a in BENT.actions]
        place = row * 9 + column
        assert one[place] == pytest.approx(max(gain for gain, _ in gains), abs=1e-4)
        later = [gain + 0.9 * interpolated(BENT, one, *located(BENT, s)) for gain, s in gains]
        assert two[place] == pytest.approx(float(max(later)), abs=1e-4)


def test_the_best_mixture_of_careless_and_careful() -> None:
    found = Found(
        parameters=np.array([[0.0], [1.0], [2.0]]),
        rewards=np.array([10.0, 2.0, 4.0]),
        costs=np.array([[30.0, 0.0], [0.0, 0.0], [0.0, 50.0]]),
    )
    mixture = mixed(found, [15.0, 20.0], aim=1.0)
    # Half of the first is all that the first budget allows, 0.4 of the third all of the second.
    np.testing.assert_allclose(mixture.weights, [0.5, 0.1, 0.4], atol=1e-6)
    with pytest.raises(ValueError, match="no mixture of 1 controllers"):
        mixed(Found(found.parameters[:1], found.rewards[:1], found.costs[:1]), [15.0, 20.0], 1.0)


def test_evolution_learns_to_balance() -> None:
    task = environments.make("cartpole-pos2")
    search = Search(generations=10, pairs=16, episodes=4, candidates=64, every=5)
    passed = evolve(task, cartpole(task), search, seed=0)
    assert passed.shape == (3, len(cartpole(task).start))
    found = attainable_search.judged(task, METHODS["cartpole-pos2"], passed, episodes=20)
    assert found.costs.shape == (3, 2)
    assert found.rewards[-1] > 60, "a uniform policy has 22"


def test_a_controller_attains_what_is_said() -> None:
    name = "cartpole-pos2"
    task = environments.make(name)
    row = attainable.row(task, METHODS[name], controllers.read(name), episodes=100)
    assert row["within_every_budget"] and row["reward"]["mean"] == pytest.approx(200, abs=0.5)
    assert row["first_reward"]["mean"] == pytest.approx(22, abs=4)
    said = figures()[name]
    assert said["reward"]["mean"] == pytest.approx(row["reward"]["mean"], abs=0.5)


def figures() -> dict[str, Any]:
    text = (measured.RESULTS / "attainable.json").read_text(encoding="utf-8")
    assert not json.loads(text)["quick"]
    tasks: dict[str, Any] = json.loads(text)["tasks"]
    return tasks


def test_every_task_has_its_figures() -> None:
    elsewhere = ("fedjax_rl.envs.finite", "fedjax_rl.envs.known")
    ours = {
        name
        for name in environments
        if environments.resolve(name).__module__.startswith("fedjax_rl.envs.")
        and not environments.resolve(name).__module__.startswith(elsewhere)
    }
    assert ours == set(METHODS) == set(figures())


@pytest.mark.parametrize("name", METHODS)
def test_what_is_attained_keeps_every_budget(name: str) -> None:
    row, task = figures()[name], environments.make(name)
    assert row["budgets"] == dict(zip(task.constraint_names, task.budgets.tolist(), strict=True))
    assert all(row["costs"][key]["mean"] <= budget for key, budget in row["budgets"].items())
    assert row["first_reward"]["high"] < row["reward"]["low"]
    assert row["reward"]["mean"] <= row["upper_bound"] + 1e-6
    mixture = controllers.read(name)
    assert mixture.weights.sum() == pytest.approx(1) and len(mixture.weights) == row["controllers"]


def test_a_mixture_is_kept_beside_others(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllers, "FILE", tmp_path / "controllers.json")
    one = controllers.Mixture(np.array([1.0]), np.array([[1.0, 2.5]]))
    controllers.write("one", one)
    controllers.write("two", controllers.Mixture(np.array([0.25, 0.75]), np.ones((2, 3))))
    assert controllers.read("one").parameters.tolist() == [[1.0, 2.5]]
    assert controllers.read("two").weights.tolist() == [0.25, 0.75]


def test_a_coarse_grid_is_small() -> None:
    assert attainable.coarse(PENDULUM).axes[0].points < 50
