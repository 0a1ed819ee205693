"""Agents in groups compute what agents side by side compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.grouped import in_groups
from fedjax_rl.federation.round import federate
from tests.learners.deep.conftest import quick_compilation  # noqa: F401
from tests.learners.deep.harness import agents_of, close, federation, moved, run, strip


def scaled(key, common, own, absent):
    noise = jax.random.randint(key, (), 0, 100)  # whole numbers: no compiler rounds their sums
    return common["a"] * own + noise, {"own": own, "common": common["a"]}


ARGUMENTS = (
    jax.random.split(jax.random.key(0), 7),
    {"a": jnp.arange(3.0)},
    jnp.arange(7.0),
    None,
)
AXES = (0, None, 0, None)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_groups_of_any_size_are_vmap(size):
    got = jax.jit(in_groups(size)(scaled, in_axes=AXES))(*ARGUMENTS)
    expected = jax.vmap(scaled, AXES)(*ARGUMENTS)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_axes_may_be_trees(size):
    """As those of members that share some of their settings."""

    def one(own, settings):
        return own * settings["rate"] + settings["common"][0] + settings["both"].sum()

    settings = {
        "rate": jnp.arange(6.0),
        "common": (jnp.float32(3.0), None),
        "both": jnp.ones((6, 0)),
    }
    axes = 0, {"rate": 0, "common": None, "both": 0}
    got = jax.jit(in_groups(size)(one, in_axes=axes))(jnp.ones(6), settings)
    np.testing.assert_array_equal(got, jax.vmap(one, axes)(jnp.ones(6), settings))


def test_outputs_common_to_all_agents_stay_common():
    def adopt(common, own):
        return 2.0 * common, own + common

    mapped = in_groups(2)(adopt, in_axes=(None, 0), out_axes=(None, 0))
    common, own = mapped(jnp.float32(3.0), jnp.arange(5.0))
    assert common.shape == () and common == 6.0
    np.testing.assert_array_equal(own, 3.0 + np.arange(5.0))


def test_arrays_without_entries_go_around():
    """As the multipliers of agents without constraints, or the cuts where no time limit cuts."""

    def one(own, nothing):
        return {"sum": own + nothing.sum(), "nothing": nothing, "none": jnp.zeros((0, 2), int)}

    arguments = jnp.arange(5.0), jnp.zeros((5, 0, 3))
    got, expected = in_groups(2)(one)(*arguments), jax.vmap(one)(*arguments)
    assert got["none"].shape == (5, 0, 2) and got["none"].dtype == expected["none"].dtype
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "choices"), [("ppo", {}), ("natural", {"common_step": True})])
def test_federated_agents_learn_the_same_in_groups(kind, choices):
    world = strip("episode", "step", budgets=(4.0, 0.2), max_steps_in_episode=5, spread=0.9)
    agents = agents_of(world, [[1, 1], [0, 1], [1, 0]])
    _, learner, together = federation("two", kind, 2, 3, **choices)
    grouped = federate(learner, parameter_mean(), num_agents=3, agent_map=in_groups(2))
    first, expected, _ = run(together, agents, 3)
    _, got, _ = run(grouped, agents, 3)
    close(got, expected)
    assert moved(first.shared, got.shared) > 1e-3


def test_a_group_of_nobody_is_refused():
    with pytest.raises(InvalidInput, match="--agents-at-once: got 0; at least 1"):
        in_groups(0)
