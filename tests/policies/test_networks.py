"""Networks of actors and critics."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.policies.distributions import categorical, diagonal_gaussian
from fedjax_rl.policies.networks import ACTIVATIONS, SMALL_GAIN, Network, actor, bounded, critic
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)

FEATURES = 6


def dense_layers(parameters):
    """(kernel, bias) of every dense layer, from the input on."""
    parameters = parameters.get("MLP_0", parameters)
    names = sorted(name for name in parameters if name.startswith("Dense"))
    return [(np.asarray(parameters[name]["kernel"]), parameters[name]["bias"]) for name in names]


def singular_values(kernel):
    return np.linalg.svd(kernel, compute_uv=False)


@pytest.mark.parametrize("leading", [(), (3,), (4, 3)])
@pytest.mark.parametrize(
    ("network", "outputs"),
    [
        (actor(categorical(5), FEATURES, (16, 8), "tanh"), 5),
        (actor(diagonal_gaussian(2), FEATURES, (16, 8), "tanh"), 4),
        (critic(FEATURES, 3, (16, 8), "tanh"), 3),
    ],
    ids=["categorical", "gaussian", "critic"],
)
def test_shapes(network, outputs, leading):
    parameters = network.init(jax.random.key(0))
    results = network.apply(parameters, jnp.ones((*leading, FEATURES)))
    assert results.shape == (*leading, outputs) and results.dtype == jnp.float32


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (4, 32, 4)])
def test_kernels_are_orthogonal_with_the_gains_of_their_layers(hidden):
    for network, last in (
        (actor(categorical(5), FEATURES, hidden, "tanh"), SMALL_GAIN),
        (actor(diagonal_gaussian(2), FEATURES, hidden, "tanh"), SMALL_GAIN),
        (critic(FEATURES, 3, hidden, "tanh"), 1.0),
    ):
        *layers, (kernel, bias) = dense_layers(network.init(jax.random.key(1)))
        assert [layer[0].shape[1] for layer in layers] == list(hidden)
        np.testing.assert_allclose(singular_values(kernel), last, rtol=1e-4)
        np.testing.assert_array_equal(bias, 0)
        for kernel, bias in layers:
            np.testing.assert_allclose(singular_values(kernel), np.sqrt(2), rtol=1e-4)
            np.testing.assert_array_equal(bias, 0)


def test_the_first_policy_is_nearly_uniform():
    distribution = categorical(5)
    network = actor(distribution, FEATURES, (64, 64), "tanh")
    observations = 3 * jax.random.normal(jax.random.key(2), (100, FEATURES))
    parameters = network.apply(network.init(jax.random.key(3)), observations)
    assert np.all(distribution.entropy(parameters) > np.log(5) - 0.01)
    assert np.asarray(parameters).std() > 0


def test_the_first_gaussian_policy_is_nearly_standard():
    network = actor(diagonal_gaussian(2), FEATURES, (64, 64), "tanh")
    observations = 3 * jax.random.normal(jax.random.key(4), (100, FEATURES))
    parameters = network.apply(network.init(jax.random.key(5)), observations)
    assert np.abs(parameters[:, :2]).max() < 0.2
    np.testing.assert_array_equal(parameters[:, 2:], 0)


def test_log_deviations_are_parameters_and_do_not_see_the_observation():
    network = actor(diagonal_gaussian(2), FEATURES, (8,), "tanh")
    parameters = network.init(jax.random.key(6))
    parameters = {**parameters, "log_deviation": jnp.array([0.5, -1.0])}
    outputs = network.apply(parameters, jax.random.normal(jax.random.key(7), (9, FEATURES)))
    np.testing.assert_array_equal(outputs[:, 2:], np.tile([[0.5, -1.0]], (9, 1)))
    gradient = jax.grad(lambda tree: network.apply(tree, jnp.ones((9, FEATURES)))[:, 2:].sum())(
        parameters
    )
    np.testing.assert_array_equal(gradient["log_deviation"], 9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_forward_pass_by_hand(activation):
    by_hand = {
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "silu": lambda x: x / (1 + np.exp(-x)),
    }[activation]
    network = critic(FEATURES, 2, (16, 8), activation)
    parameters = jax.tree.map(lambda leaf: leaf + 0.1, network.init(jax.random.key(8)))
    inputs = np.random.default_rng(0).normal(size=(5, FEATURES))
    *layers, (kernel, bias) = dense_layers(parameters)
    features = inputs
    for hidden_kernel, hidden_bias in layers:
        features = by_hand(features @ hidden_kernel + hidden_bias)
    expected = features @ kernel + bias
    np.testing.assert_allclose(
        network.apply(parameters, jnp.asarray(inputs, jnp.float32)), expected, rtol=1e-4, atol=1e-5
    )


def test_keys_give_networks_and_agents_may_be_mapped():
    network = actor(categorical(3), FEATURES, (8, 8), "tanh")
    keys = jax.random.split(jax.random.key(9), 4)
    together = jax.vmap(network.init)(keys)
    alone = [network.init(key) for key in keys]
    chex.assert_trees_all_close(
        together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), atol=1e-6
    )
    chex.assert_trees_all_equal(alone[0], network.init(keys[0]))
    assert not np.allclose(dense_layers(alone[0])[0][0], dense_layers(alone[1])[0][0])


@pytest.mark.parametrize(
    "make",
    [
        lambda *choices: actor(categorical(2), FEATURES, *choices),
        lambda *choices: critic(FEATURES, 1, *choices),
    ],
)
@pytest.mark.parametrize(
    ("choices", "field"),
    [
        (((), "tanh"), "--hidden"),
        (((64, 0), "tanh"), "--hidden"),
        (((-1,), "tanh"), "--hidden"),
        (((64,), "gelu"), "--activation"),
    ],
)
def test_what_is_no_network(make, choices, field):
    with pytest.raises(InvalidInput) as caught:
        make(*choices)
    assert caught.value.field == field


def test_means_of_actions_stay_within_their_bounds():
    """m + .9 h tanh(μ / h) + .1 μ by hand; infinite bounds and deviations change nothing."""
    plain = Network(lambda key: None, lambda parameters, observations: observations)
    low, high = np.array([-1.0, 0.0, -np.inf]), np.array([1.0, 4.0, np.inf])
    outputs = jnp.array([[0.0, 0.0, 7.0, -1.0, 2.0, 3.0], [9.0, -2.0, -7.0, 0.0, 0.0, 0.0]])
    got = np.asarray(bounded(plain, low, high).apply(None, outputs))
    first, second = 0.9 * np.tanh(9.0) + 0.9, 2.0 + 1.8 * np.tanh(-1.0) - 0.2
    np.testing.assert_allclose(got[0], [0.0, 2.0, 7.0, -1.0, 2.0, 3.0])
    np.testing.assert_allclose(got[1, :3], [first, second, -7.0], rtol=1e-6)
    slope = jax.grad(lambda mean: bounded(plain, low, high).apply(None, jnp.full(6, mean))[0])
    assert float(slope(0.0)) == 1.0, "near the middle it is as if there were no bounds"
    assert float(slope(20.0)) == pytest.approx(0.1), "and far beyond it finds its way back"
