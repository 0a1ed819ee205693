"""The cost contract, and what every registered task must keep of it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.classic_control.cartpole import CartPole
from gymnax.environments.environment import Environment, EnvParams, EnvState

import fedjax_rl.envs  # noqa: F401  registers the tasks
from fedjax_rl.algorithm import environments
from fedjax_rl.envs.costs import budget_as, indicator
from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import (
    KINDS,
    NO_LIMIT,
    Constraint,
    Task,
    constrained,
    is_discrete,
    time_left,
    vary,
)
from fedjax_rl.errors import InvalidInput
from tests.quick import quick_compilation  # noqa: F401

NAMES = (
    "acrobot-easier-empty-left-bottom",
    "acrobot-theta1-2",
    "cartpole-force-adj3",
    "cartpole-pos2",
    "inverted-pendulum-adj3",
    "mountain-car-continuous",
    "pendulum",
    "point-robot",
)
BATCH = 5


@functools.cache
def made(name: str) -> Task:
    return environments.make(name)


@functools.cache
def stepped(name: str) -> tuple[Any, Any, Any, Any]:
    """A batch of random steps from the start: (first observations, first states, actions, step)."""
    task = made(name)
    keys = jax.random.split(jax.random.key(0), BATCH)

    @jax.jit
    def play(keys: Any) -> Any:
        def one(key: Any) -> Any:
            key_reset, key_action, key_step = jax.random.split(key, 3)
            observation, state = task.environment.reset(key_reset, task.params)
            action = task.environment.action_space(task.params).sample(key_action)
            result = task.environment.step(key_step, state, action, task.params)
            return observation, state, action, result

        return jax.vmap(one)(keys)

    return play(keys)


def free(state: Any, action: Any, after: Any) -> float:
    return 0.0


def cartpole_with(*constraints: Constraint, **settings: Any) -> Task:
    return constrained("mine", CartPole(), constraints, **settings)


def test_the_tasks_are_registered() -> None:
    assert set(NAMES) <= set(environments)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_describes_itself(name: str) -> None:
    task = made(name)
    assert task.name == name
    assert isinstance(task, Task)
    assert task.num_constraints == len(task.budgets) == len(task.kinds)
    assert len(task.environment.costs) == task.num_constraints >= 2
    assert task.budgets.dtype == np.float32 and np.all(task.budgets > 0)
    assert set(task.kinds) == {"episode"}
    assert task.time_limit in {200, 500, 999}
    assert environments.describe(name).endswith(".")


@pytest.mark.parametrize(
    ("name", "budgets", "time_limit"),
    [
        ("cartpole-pos2", [20, 20], 200),
        ("acrobot-theta1-2", [50, 50], 500),
        ("acrobot-easier-empty-left-bottom", [40, 40], 500),
        ("inverted-pendulum-adj3", [15, 15, 15], 500),
        ("cartpole-force-adj3", [15, 15, 15], 500),
    ],
)
def test_the_paper_s_budgets(name: str, budgets: list[float], time_limit: int) -> None:
    assert made(name).budgets.tolist() == budgets
    assert made(name).time_limit == time_limit


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_converts_the_budgets(name: str, kind: str) -> None:
    task = environments.resolve(name)(kind=kind)
    episode = made(name)
    assert set(task.kinds) == {kind}
    limit = episode.time_limit
    weights = {
        "episode": 1.0,
        "step": 1 / limit,
        "discounted": np.sum(task.cost_discount ** np.arange(limit)) / limit,
    }
    np.testing.assert_allclose(task.budgets, episode.budgets * weights[kind], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_has_gymnax_s_six_results(name: str) -> None:
    task = made(name)
    first, state, actions, result = stepped(name)
    observation, after, reward, terminated, truncated, info = result
    space = task.environment.observation_space(task.params)
    assert observation.shape == first.shape == (BATCH, *space.shape)
    assert observation.dtype == reward.dtype == jnp.float32
    assert reward.shape == terminated.shape == truncated.shape == (BATCH,)
    assert terminated.dtype == truncated.dtype == jnp.bool_
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert info["cost"].shape == (BATCH, task.num_constraints)
    assert info["cost"].dtype == jnp.float32
    assert not terminated.any() and not truncated.any()
    np.testing.assert_array_equal(after.time, 1)
    action_space = task.environment.action_space(task.params)
    wanted = jnp.int32 if is_discrete(task) else jnp.float32
    assert actions.shape == (BATCH, *action_space.shape) and actions.dtype == wanted


@pytest.mark.parametrize("name", NAMES)
def test_jit_and_vmap_change_nothing(name: str) -> None:
    task = made(name)
    _, state, actions, result = stepped(name)
    for index in range(2):
        before = jax.tree.map(lambda leaf, index=index: leaf[index], state)
        with jax.disable_jit():
            _, after, reward, _, info = task.environment.step_env(
                jax.random.key(1), before, actions[index], task.params
            )
        batched = jax.tree.map(lambda leaf, index=index: leaf[index], result[1])
        for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(batched), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reward, result[2][index], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(info["cost"], result[5]["cost"][index])


def kinds_of_leaves(tree: Any) -> list[tuple]:
    weak = [bool(getattr(leaf, "weak_type", False)) for leaf in jax.tree.leaves(tree)]
    return [
        (leaf.shape, leaf.dtype, is_weak)
        for leaf, is_weak in zip(jax.tree.leaves(tree), weak, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_reset_and_step_give_the_same_types(name: str) -> None:
    """Outside jit, where a weak type or a Python number would survive; then a scan carries it."""
    task = made(name)
    key = jax.random.key(0)
    action = task.environment.action_space(task.params).sample(key)
    first, state = task.environment.reset_env(key, task.params)
    second, after, *_ = task.environment.step_env(key, state, action, task.params)
    assert kinds_of_leaves((first, state)) == kinds_of_leaves((second, after))
    assert state.time.dtype == jnp.int32
    assert not any(weak for _, _, weak in kinds_of_leaves((first, state)))

    def advance(carry: Any, key: Any) -> Any:
        observation, state = carry
        following = task.environment.step(key, state, action, task.params)
        return (observation + 0 * following[0], following[1]), following[2]

    shapes = jax.eval_shape(
        functools.partial(jax.lax.scan, advance), (first, state), jax.random.split(key, 3)
    )
    assert shapes[1].shape == (3,) and not shapes[1].weak_type


@pytest.mark.parametrize("name", NAMES)
def test_a_time_limit_truncates_and_does_not_terminate(name: str) -> None:
    task = made(name)
    key = jax.random.key(3)
    _, state = task.environment.reset(key, task.params)
    action = task.environment.action_space(task.params).sample(key)
    late = state.replace(time=jnp.int32(task.time_limit - 1))
    # From state.time on, nothing else differs: a step earlier does not cut.
    *_, early_terminated, early_truncated, _ = task.environment.step(
        key, late.replace(time=late.time - 1), action, task.params
    )
    observation, after, _, terminated, truncated, info = task.environment.step(
        key, late, action, task.params
    )
    assert not early_terminated and not early_truncated
    assert truncated and not terminated
    assert after.time == 0
    _, unreset, *_ = task.environment.step_env(key, late, action, task.params)
    expected = task.environment.observe(key, unreset, action, task.params)
    np.testing.assert_allclose(info["final_observation"], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(info["final_observation"], observation)


def test_a_fall_terminates_and_does_not_truncate() -> None:
    task = made("cartpole-pos2")
    key = jax.random.key(4)
    _, state = task.environment.reset(key, task.params)
    falling = state.replace(theta=jnp.float32(0.2), theta_dot=jnp.float32(3.0))
    _, after, _, terminated, truncated, info = task.environment.step(
        key, falling, jnp.int32(1), task.params
    )
    assert terminated and not truncated
    assert after.time == 0 and abs(after.theta) <= 0.05
    assert info["final_observation"][2] == pytest.approx(0.2 + 0.02 * 3.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_finite_shapes(name: str) -> None:
    task = made(name)
    _, states, *_ = stepped(name)
    assert task.picture is not None
    picture = task.picture(jax.tree.map(lambda leaf: np.asarray(leaf[0]), states), task.params)
    assert isinstance(picture, Picture)
    left, right, bottom, top = picture.limits
    assert left < right and bottom < top
    points = [point for line in picture.lines for point in line]
    points += [centre for centre, _ in picture.circles]
    assert points and np.all(np.isfinite(points))
    for low, high, below, above, index in picture.zones:
        assert low < high and below < above and 0 <= index < task.num_constraints


def test_the_discrete_tasks() -> None:
    discrete = {name for name in NAMES if is_discrete(made(name))}
    acrobots = {"acrobot-easier-empty-left-bottom", "acrobot-theta1-2"}
    assert discrete == {*acrobots, "cartpole-pos2"}


class Typeless(Environment):
    """A worst case: Python numbers at reset and step, and leaves that are no numbers at all."""

    @struct.dataclass
    class State(EnvState):
        position: Any
        open: Any
        key: Any

    def reset_env(self, key: Any, params: Any) -> Any:
        return jnp.zeros(1), self.State(time=0, position=0.0, open=jnp.array(True), key=key)

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        after = state.replace(time=state.time + 1, position=1.0)
        return jnp.ones(1), after, 1, jnp.array(False), {}

    def is_terminated(self, state: Any, params: Any) -> Any:
        return jnp.array(False)

    def action_space(self, params: Any) -> Any:
        return spaces.Dict({"push": spaces.Discrete(2)})


def test_any_gymnax_environment_gets_stable_types() -> None:
    task = constrained("typeless", Typeless(), [Constraint("free", free, 1.0)])
    key = jax.random.key(0)
    _, state = task.environment.reset_env(key, task.params)
    _, after, reward, _, info = task.environment.step_env(key, state, 0, task.params)
    assert kinds_of_leaves(state) == kinds_of_leaves(after)
    assert state.position.dtype == jnp.float32 and state.open.dtype == jnp.bool_
    assert jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    assert reward.dtype == jnp.float32
    assert info["cost"].tolist() == [0.0]
    with pytest.raises(InvalidInput, match="discrete actions or a box"):
        is_discrete(task)


def test_costs_see_both_states_and_the_action() -> None:
    task = cartpole_with(
        Constraint("moved", lambda state, action, after: after.time - state.time, 1.0),
        Constraint("right", lambda state, action, after: jnp.reshape(action == 1, (1,)), 1.0),
        Constraint("clock", lambda state, action, after: after.time, 1.0),
        params=CartPole().default_params.replace(max_steps_in_episode=1),
    )
    key = jax.random.key(0)
    _, state = task.environment.reset(key, task.params)
    *_, truncated, info = task.environment.step(key, state, jnp.int32(1), task.params)
    assert truncated
    # The state after is the one before the reset, whose time would be 0.
    assert info["cost"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("constraints", "settings", "field"),
    [
        ([], {}, "constraints"),
        ([Constraint("a", free, 1.0), Constraint("a", free, 2.0)], {}, "constraints"),
        ([Constraint("a", free, 1.0, "week")], {}, "kind"),
        ([Constraint("a", free, float("nan"))], {}, "budget"),
        ([Constraint("a", free, float("inf"))], {}, "budget"),
        ([Constraint("a", free, 1.0)], {"discount": 1.1}, "discount"),
        ([Constraint("a", free, 1.0)], {"discount": float("nan")}, "discount"),
        ([Constraint("a", free, 1.0)], {"cost_discount": -0.1}, "cost_discount"),
    ],
)
def test_a_task_that_is_none(constraints: list, settings: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cartpole_with(*constraints, **settings)
    assert caught.value.field == field


def test_defaults_of_a_task() -> None:
    task = cartpole_with(Constraint("a", free, 1.0), discount=0.9)
    assert task.cost_discount == task.discount == 0.9
    assert task.params == CartPole().default_params
    assert task.time_limit == 500
    assert task.environment.name == "CartPole-v1"
    assert task.environment.num_actions == 2
    endless = task._replace(params=task.params.replace(max_steps_in_episode=NO_LIMIT))
    assert endless.time_limit is None
    assert is_discrete(task)


def test_time_left_runs_from_one_to_zero() -> None:
    params = EnvParams(max_steps_in_episode=200)
    assert [float(time_left(EnvState(time=time), params)) for time in (0, 50, 200)] == [1, 0.75, 0]


def test_vary_recomputes_what_is_derived() -> None:
    lengths, masses = [0.3, 0.5, 0.8], [0.1, 0.2, 0.3]
    params = vary(made("cartpole-pos2"), {"length": lengths, "masspole": masses}, 3)
    np.testing.assert_allclose(params.length, lengths, rtol=1e-6)
    np.testing.assert_allclose(params.total_mass, [1.1, 1.2, 1.3], rtol=1e-6)
    np.testing.assert_allclose(params.polemass_length, [0.03, 0.1, 0.24], rtol=1e-6)
    assert all(leaf.shape == (3,) for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(params.max_steps_in_episode, 200)


@pytest.mark.parametrize("name", NAMES)
def test_varying_nothing_gives_the_same_dynamics(name: str) -> None:
    task = made(name)
    params = vary(task, {}, BATCH)
    _, state, actions, result = stepped(name)
    _, after, *_ = jax.vmap(task.environment.step_env)(
        jax.random.split(jax.random.key(0), BATCH), state, actions, params
    )
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(result[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_each_agent_runs_its_own_dynamics() -> None:
    task = made("cartpole-pos2")
    params = vary(task, {"force_mag": [5.0, 20.0]}, 2)
    _, state = task.environment.reset(jax.random.key(0), task.params)
    step = jax.vmap(task.environment.step, in_axes=(None, None, None, 0))
    *_, info = step(jax.random.key(1), state, jnp.int32(1), params)
    speeds = info["final_observation"][:, 1] - state.x_dot
    assert speeds[1] > 3 * speeds[0] > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lenght": [1.0, 1.0]}, "one of"),  # codespell:ignore
        ({"replace": [1.0, 1.0]}, "one of"),
        ({"length": [1.0]}, "one number for each of 2 agents"),
        ({"length": [1.0, float("nan")]}, "one number for each of 2 agents"),
        ({"total_mass": [1.0, 2.0]}, "not derived"),
        ({"max_steps_in_episode": [1.0, 2.0]}, "one of"),
    ],
)
def test_vary_refuses(values: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        vary(made("cartpole-pos2"), values, 2)
    assert caught.value.field == "--vary"


def test_vary_refuses_a_vector() -> None:
    with pytest.raises(InvalidInput, match="link_mass_1"):
        vary(made("acrobot-theta1-2"), {"available_torque": [1.0, 2.0]}, 2)


def test_an_indicator_is_closed() -> None:
    values = jnp.array([-1.01, -1.0, 0.0, 0.5, 1.0, 1.01], jnp.float32)
    paid = jax.vmap(lambda value: indicator(value, ((-1.0, 0.0), (0.75, 1.0))))(values)
    assert paid.tolist() == [0, 1, 1, 0, 1, 0]


def test_a_budget_needs_a_kind() -> None:
    assert budget_as("discounted", 20.0, 200, 0.99) == pytest.approx(
        0.1 * sum(0.99**step for step in range(200))
    )
    with pytest.raises(InvalidInput, match="episode, step, discounted"):
        budget_as("week", 20.0, 200)
