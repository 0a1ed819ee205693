"""Running moments against NumPy in float64 over everything at once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.moments import (
    LEAST_DEVIATION,
    Moments,
    about,
    deviation,
    enlarged,
    from_sums,
    no_moments,
    normalized,
    pooled,
    updated,
)

pytestmark = pytest.mark.timeout(60)

DIMENSION = 3


def samples(seed, count, mean=0.0, spread=1.0):
    rng = np.random.default_rng(seed)
    scales = spread * np.array([1.0, 2.0, 0.1])
    return (mean + scales * rng.normal(size=(count, DIMENSION))).astype(np.float32)


def moments_of(array):
    exact = array.reshape(-1, array.shape[-1]).astype(np.float64)
    centred = exact - exact.mean(0)
    return Moments(
        jnp.float32(len(exact)),
        jnp.asarray(exact.mean(0), jnp.float32),
        jnp.asarray((centred**2).sum(0), jnp.float32),
    )


def test_the_start_is_one_sample_of_mean_zero_and_deviation_one():
    start = no_moments(DIMENSION)
    assert float(start.weight) == 1
    np.testing.assert_array_equal(start.mean, 0)
    np.testing.assert_array_equal(deviation(start), 1)


def test_pooled_is_the_moments_of_the_concatenation():
    left, right = samples(0, 40), samples(1, 7, mean=3.0)
    both = np.concatenate([left, right])
    chex.assert_trees_all_close(
        pooled(moments_of(left), moments_of(right)), moments_of(both), rtol=1e-5
    )
    np.testing.assert_allclose(
        deviation(pooled(moments_of(left), moments_of(right))), both.std(0), rtol=1e-5
    )


def test_pooling_does_not_depend_on_the_order():
    parts = [moments_of(samples(seed, 5 + seed, mean=seed)) for seed in range(3)]
    one = pooled(pooled(parts[0], parts[1]), parts[2])
    other = pooled(parts[2], pooled(parts[1], parts[0]))
    chex.assert_trees_all_close(one, other, rtol=1e-5)


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)])
def test_updating_takes_all_leading_axes_as_samples(shape):
    array = samples(2, 24).reshape(*shape, DIMENSION)
    after = jax.jit(updated)(no_moments(DIMENSION), jnp.asarray(array))
    expected = pooled(no_moments(DIMENSION), moments_of(array))
    chex.assert_trees_all_close(after, expected, rtol=1e-5)
    assert float(after.weight) == 25


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_many_updates_in_float32_stay_accurate(mean):
    """A naive sum of squares at a mean of 1e4 would have no correct digit left."""
    parts = [samples(seed, 500, mean=mean) for seed in range(20)]
    moments = moments_of(parts[0])
    for part in parts[1:]:
        moments = updated(moments, jnp.asarray(part))
    everything = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-6, atol=1e-6)
    # At 1e4 the samples are multiples of 1e-3: the smallest spread, 0.1, has 2 digits to lose.
    np.testing.assert_allclose(deviation(moments), everything.std(0), rtol=1e-2 if mean else 1e-4)


def test_normalising_gives_mean_zero_and_deviation_one():
    array = samples(3, 2000, mean=5.0)
    scaled = np.asarray(normalized(moments_of(array), jnp.asarray(array)))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-3)


def test_normalising_clips():
    moments = Moments(jnp.float32(4), jnp.array([1.0]), jnp.array([16.0]))
    far = normalized(moments, jnp.array([[1.0], [5.0], [1000.0], [-1000.0]]))
    assert far[:, 0].tolist() == [0, 2, 10, -10]
    assert normalized(moments, jnp.array([[1000.0]]), clip=3.0).tolist() == [[3.0]]


def test_what_is_small_is_enlarged_and_nothing_else_is_touched():
    moments = Moments(jnp.float32(4), jnp.array([0.06, 3.0, 0.0]), jnp.array([0.0256, 4.0, 0.0]))
    # Root mean squares √(0.0064 + 0.0036) = 0.1, √(1 + 9) above 1, and 0, of which 1e-3 is taken.
    got = enlarged(moments, jnp.array([[0.05, 50.0, 0.002], [-7.0, -50.0, 30.0]]))
    np.testing.assert_allclose(got, [[0.5, 50.0, 2.0], [-10.0, -50.0, 30.0]], rtol=1e-5)


def test_a_constant_can_be_divided():
    constant = jnp.full((50, DIMENSION), 7.0)
    moments = moments_of(np.asarray(constant))
    np.testing.assert_allclose(deviation(moments), LEAST_DEVIATION)
    np.testing.assert_array_equal(normalized(moments, constant), 0)


@pytest.mark.parametrize("origin", [0.0, 2.5])
def test_sums_about_an_origin_come_back(origin):
    moments = moments_of(samples(4, 100, mean=2.0))
    about_it = about(jnp.full(DIMENSION, origin), moments)
    chex.assert_trees_all_close(
        from_sums(jnp.full(DIMENSION, origin), about_it), moments, rtol=1e-4
    )


def test_sums_about_an_origin_are_plain_sums():
    array = samples(5, 30, mean=1.0)
    weight, first, second = about(jnp.full(DIMENSION, 0.5), moments_of(array))
    assert float(weight) == 30
    np.testing.assert_allclose(first, (array - 0.5).sum(0), rtol=1e-4)
    np.testing.assert_allclose(second, ((array - 0.5) ** 2).sum(0), rtol=1e-4)


def merged(origin, agents):
    """What a merge does: the plain mean of what the agents send."""
    sent = [about(origin, moments) for moments in agents]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *sent)
    return from_sums(origin, mean)


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_the_mean_of_the_agents_sums_is_the_pool_of_their_samples(mean):
    """With unequal numbers of samples and unequal distributions, from a common origin nearby."""
    arrays = [
        samples(seed, count, mean + shift, spread)
        for seed, count, shift, spread in [(6, 100, 0.0, 1.0), (7, 30, 4.0, 2.0), (8, 1, -3.0, 1.0)]
    ]
    origin = jnp.full(DIMENSION, mean + 1.0)
    result = merged(origin, [moments_of(array) for array in arrays])
    everything = np.concatenate(arrays).astype(np.float64)
    assert float(result.weight) == pytest.approx(131 / 3)
    np.testing.assert_allclose(result.mean, everything.mean(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(deviation(result), everything.std(0), rtol=1e-3)


def test_equal_agents_merge_to_themselves():
    moments = moments_of(samples(9, 64))
    chex.assert_trees_all_close(merged(jnp.zeros(DIMENSION), [moments] * 4), moments, rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_an_origin_far_away_loses_digits_but_never_gives_nan(seed):
    moments = moments_of(samples(seed, 6400 + 37 * seed, mean=1e4))
    far = from_sums(jnp.zeros(DIMENSION), about(jnp.zeros(DIMENSION), moments))
    assert np.all(far.squares >= 0)
    assert np.all(np.isfinite(deviation(far)))
    np.testing.assert_allclose(far.mean, moments.mean, rtol=1e-5)
