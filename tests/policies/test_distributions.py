"""Distributions over actions, against SciPy and plain enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, softmax

from fedjax_rl.policies.distributions import categorical, diagonal_gaussian
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(60)

BATCH = 7
NEARLY_ONE = np.float32(1 - 2.0**-23)
"""The largest number that ``jax.random.uniform`` returns in float32."""


def logits(seed, actions=5, spread=2.0, batch=BATCH):
    rng = np.random.default_rng(seed)
    return (spread * rng.normal(size=(batch, actions))).astype(np.float32)


def gaussians(seed, dimension=3):
    rng = np.random.default_rng(seed)
    means, log_deviations = rng.normal(size=(2, BATCH, dimension))
    return np.concatenate([means, 0.7 * log_deviations], axis=-1).astype(np.float32)


def test_categorical_log_prob_of_every_action():
    parameters, distribution = logits(0), categorical(5)
    assert distribution.num_parameters == 5 and distribution.action_shape == ()
    for action in range(5):
        actions = jnp.full(BATCH, action)
        expected = log_softmax(parameters, axis=-1)[:, action]
        np.testing.assert_allclose(
            distribution.log_prob(parameters, actions), expected, rtol=1e-5, atol=1e-6
        )


def test_categorical_actions_may_have_been_packed_as_floats():
    parameters, distribution = logits(0), categorical(5)
    actions = jnp.arange(BATCH) % 5
    np.testing.assert_array_equal(
        distribution.log_prob(parameters, actions.astype(jnp.float32)),
        distribution.log_prob(parameters, actions),
    )


def test_categorical_entropy_and_divergence():
    left, right, distribution = logits(1), logits(2), categorical(5)
    ours, theirs = softmax(left, axis=-1), softmax(right, axis=-1)
    np.testing.assert_allclose(distribution.entropy(left), stats.entropy(ours, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(
        distribution.kl(left, right), stats.entropy(ours, theirs, axis=-1), rtol=1e-4
    )
    np.testing.assert_allclose(distribution.kl(left, left + 3.0), 0, atol=1e-6)


@pytest.mark.parametrize("actions", [1, 2, 9])
def test_uniform_logits(actions):
    distribution = categorical(actions)
    np.testing.assert_allclose(distribution.entropy(jnp.zeros(actions)), np.log(actions), atol=1e-6)
    noise = distribution.noise(jax.random.key(0), (1000,))
    drawn = distribution.sample(jnp.zeros((1000, actions)), noise)
    assert set(np.unique(drawn)) == set(range(actions))


def test_categorical_draws_have_the_right_frequencies():
    parameters, distribution, draws = logits(3, batch=1)[0], categorical(5), 40_000
    noise = distribution.noise(jax.random.key(1), (draws,))
    assert noise.shape == (draws, 5)
    actions = distribution.sample(jnp.tile(parameters, (draws, 1)), noise)
    assert actions.dtype == jnp.int32 and actions.shape == (draws,)
    frequencies = np.bincount(actions, minlength=5)
    expected = softmax(parameters.astype(np.float64))
    assert stats.chisquare(frequencies, draws * expected / expected.sum()).pvalue > 1e-4


def test_a_draw_is_the_largest_logit_with_its_noise():
    distribution = categorical(3)
    parameters = jnp.log(jnp.array([0.25, 0.5, 0.25]))
    noise = jnp.array([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0], [0.0, 0.0, 0.7], [0.6, 0.0, 0.0]])
    drawn = distribution.sample(jnp.tile(parameters, (4, 1)), noise)
    # log 2 = 0.69 is what an action of half the probability has to make up for.
    assert drawn.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("actions", [3, 7, 25, 100])
def test_an_action_of_probability_zero_is_never_drawn(actions):
    parameters = logits(actions, actions, batch=2000)
    parameters[:, [0, -1]] = -1e30
    distribution = categorical(actions)
    noise = distribution.noise(jax.random.key(2), (2000,))
    drawn = distribution.sample(jnp.asarray(parameters), noise)
    assert np.all(np.isfinite(noise))
    assert drawn.min() >= 1 and drawn.max() < actions - 1
    assert np.all(np.isfinite(distribution.log_prob(parameters, drawn)))


def test_extreme_logits_stay_finite():
    parameters, distribution = jnp.array([1e4, -1e4, 0.0]), categorical(3)
    assert float(distribution.entropy(parameters)) == 0.0
    assert float(distribution.log_prob(parameters, jnp.int32(0))) == 0.0
    assert float(distribution.log_prob(parameters, jnp.int32(1))) == -2e4
    gradient = jax.grad(lambda x: distribution.log_prob(x, jnp.int32(1)))(parameters)
    assert np.all(np.isfinite(gradient))


def test_categorical_mode():
    parameters = logits(4)
    mode = categorical(5).mode(parameters)
    np.testing.assert_array_equal(mode, parameters.argmax(-1))
    assert mode.dtype == jnp.int32


def test_gaussian_log_prob_and_entropy():
    parameters, distribution = gaussians(0), diagonal_gaussian(3)
    assert distribution.num_parameters == 6 and distribution.action_shape == (3,)
    actions = np.random.default_rng(1).normal(size=(BATCH, 3)).astype(np.float32)
    means, deviations = parameters[:, :3], np.exp(parameters[:, 3:])
    expected = [
        stats.multivariate_normal(mean, np.diag(deviation.astype(float) ** 2))
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    np.testing.assert_allclose(
        distribution.log_prob(parameters, actions),
        [one.logpdf(action) for one, action in zip(expected, actions, strict=True)],
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        distribution.entropy(parameters), [one.entropy() for one in expected], rtol=1e-5, atol=1e-6
    )


def test_gaussian_divergence_by_quadrature():
    distribution = diagonal_gaussian(1)
    left, right = np.array([0.3, -0.4], np.float32), np.array([-0.5, 0.2], np.float32)
    grid = np.linspace(-8, 8, 40_001)
    ours = stats.norm(left[0], np.exp(left[1]))
    theirs = stats.norm(right[0], np.exp(right[1]))
    expected = np.trapezoid(ours.pdf(grid) * (ours.logpdf(grid) - theirs.logpdf(grid)), grid)
    assert float(distribution.kl(left, right)) == pytest.approx(expected, rel=1e-5)


def test_gaussian_divergence_adds_up_over_the_entries():
    left, right = gaussians(2), gaussians(3)
    together = diagonal_gaussian(3).kl(left, right)
    alone = [
        diagonal_gaussian(1).kl(left[:, [entry, entry + 3]], right[:, [entry, entry + 3]])
        for entry in range(3)
    ]
    np.testing.assert_allclose(together, sum(alone), rtol=1e-5)
    np.testing.assert_allclose(diagonal_gaussian(3).kl(left, left), 0, atol=1e-6)


def test_gaussian_draws_have_the_right_distribution():
    parameters, distribution, draws = gaussians(4)[0], diagonal_gaussian(3), 20_000
    noise = distribution.noise(jax.random.key(2), (draws,))
    assert noise.shape == (draws, 3)
    actions = np.asarray(distribution.sample(jnp.tile(parameters, (draws, 1)), noise))
    for entry in range(3):
        exact = stats.norm(parameters[entry], np.exp(parameters[entry + 3]))
        assert stats.kstest(actions[:, entry], exact.cdf).pvalue > 1e-4
    assert np.abs(np.corrcoef(actions.T) - np.eye(3)).max() < 0.03


def test_gaussian_mode_is_its_mean_and_a_draw_without_noise():
    parameters, distribution = gaussians(5), diagonal_gaussian(3)
    np.testing.assert_array_equal(distribution.mode(parameters), parameters[:, :3])
    np.testing.assert_array_equal(
        distribution.sample(parameters, jnp.zeros((BATCH, 3))), parameters[:, :3]
    )


@pytest.mark.parametrize("distribution", [categorical(4), diagonal_gaussian(2)], ids=["c", "g"])
def test_entropy_and_divergence_are_means_of_log_prob(distribution):
    rng = np.random.default_rng(6)
    left, right = (
        jnp.asarray(rng.normal(size=distribution.num_parameters) * 0.5, jnp.float32)
        for _ in range(2)
    )
    draws = 100_000
    actions = distribution.sample(
        jnp.tile(left, (draws, 1)), distribution.noise(jax.random.key(3), (draws,))
    )
    surprise = -np.asarray(distribution.log_prob(left, actions), np.float64)
    excess = -np.asarray(distribution.log_prob(right, actions), np.float64) - surprise
    for sample, expected in (
        (surprise, distribution.entropy(left)),
        (excess, distribution.kl(left, right)),
    ):
        error = sample.std() / np.sqrt(draws)
        assert abs(sample.mean() - float(expected)) < 4 * error
