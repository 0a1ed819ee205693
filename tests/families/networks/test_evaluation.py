"""Intervals, and policies that are merged once at the end."""

import jax
import numpy as np
import pytest

from fedjax_rl.families.networks.confidence import interval
from fedjax_rl.families.networks.one_shot import merged_at_the_end
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.ops.moments import Moments

pytestmark = pytest.mark.timeout(60)


def test_an_interval_covers_the_mean_nineteen_times_in_twenty():
    """Policies that differ do not widen it: they are what they are."""
    rng = np.random.default_rng(0)
    means, deviations = np.array([[0.0], [10.0]]), np.array([[1.0], [3.0]])
    covered, widths = [], []
    for _ in range(2000):
        noise = rng.standard_normal((2, 1, 100))
        low, high = interval(means[..., None] + deviations[..., None] * noise)
        covered.append(low <= 5.0 <= high)
        widths.append(high - low)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(10) / 2 / 10, rel=0.02)


def test_an_interval_of_episodes_that_are_all_alike_is_a_point():
    assert interval(np.full((1, 1, 100), 3.0)) == (3.0, 3.0)


def test_policies_are_merged_by_their_mean_and_moments_by_their_samples():
    """Two seeds, three agents; the moments of all samples come out whoever saw them."""
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((2, 3, 4)).astype(np.float32)
    samples = [[rng.standard_normal((count, 5)) for count in (10, 20, 70)] for _ in range(2)]

    def each(statistic):
        return np.array([[statistic(seen) for seen in own] for own in samples], np.float32)

    moments = Moments(
        each(len), each(lambda x: x.mean(0)), each(lambda x: ((x - x.mean(0)) ** 2).sum(0))
    )
    merged = merged_at_the_end(DeepShared({"kernel": kernel}, None, moments, None, None))
    np.testing.assert_allclose(merged.actor["kernel"], kernel.mean(1, keepdims=True), atol=1e-6)
    for seed in range(2):
        seen = np.concatenate(samples[seed])
        own = jax.tree.map(lambda leaf, seed=seed: np.asarray(leaf)[seed, 0], merged.observations)
        np.testing.assert_allclose(own.weight, 100)
        np.testing.assert_allclose(own.mean, seen.mean(0), atol=1e-5)
        np.testing.assert_allclose(own.squares, ((seen - seen.mean(0)) ** 2).sum(0), rtol=1e-4)
