"""Minibatches that are dealt and not drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from fedjax_rl.ops import minibatches
from fedjax_rl.ops.minibatches import mean_over_blocks, stratified_minibatches

pytestmark = pytest.mark.timeout(60)

STEPS, BATCH = 12, 5


def numbered(steps=STEPS, batch=BATCH):
    """[T, B, 3]: step, environment, and one number for both."""
    step, environment = np.meshgrid(np.arange(steps), np.arange(batch), indexing="ij")
    rows = np.stack([step, environment, step * batch + environment], axis=-1)
    return jnp.asarray(rows, jnp.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_is_in_exactly_one_minibatch(count, seed):
    dealt = stratified_minibatches(jax.random.key(seed), numbered(), count)
    assert dealt.shape == (count, STEPS * BATCH // count, 3)
    np.testing.assert_array_equal(np.sort(dealt[..., 2].ravel()), np.arange(STEPS * BATCH))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
def test_rows_stay_whole(count):
    rows = np.asarray(stratified_minibatches(jax.random.key(0), numbered(), count)).reshape(-1, 3)
    np.testing.assert_array_equal(rows[:, 2], rows[:, 0] * BATCH + rows[:, 1])


@pytest.mark.parametrize("count", [2, 3, 4, 6, 12])
def test_every_minibatch_has_one_step_of_every_group(count):
    dealt = np.asarray(stratified_minibatches(jax.random.key(3), numbered(), count), int)
    groups = {(group, env) for group in range(STEPS // count) for env in range(BATCH)}
    for minibatch in dealt:
        assert {(step // count, env) for step, env, _ in minibatch} == groups


def test_a_single_minibatch_is_the_rollout_in_order():
    dealt = stratified_minibatches(jax.random.key(0), numbered(), 1)
    np.testing.assert_array_equal(dealt[0], numbered().reshape(-1, 3))


def test_every_step_is_equally_likely_in_every_minibatch():
    """And groups and environments turn independently: pairs are uniform too."""
    count, draws = 4, 6000
    keys = jax.random.split(jax.random.key(7), draws)
    rows = numbered(8, 2)
    deal = jax.jit(jax.vmap(lambda key: stratified_minibatches(key, rows, count)))
    first = np.asarray(deal(keys)[:, 0], int)
    minibatch_of = np.full((draws, 2, 2), -1)
    for index in range(first.shape[1]):
        step, environment = first[:, index, 0], first[:, index, 1]
        minibatch_of[np.arange(draws), step // count, environment] = step % count
    assert minibatch_of.min() == 0
    flat = minibatch_of.reshape(draws, 4)
    for column in range(4):
        assert chisquare(np.bincount(flat[:, column], minlength=count)).pvalue > 1e-4
        for other in range(column):
            pairs = np.bincount(count * flat[:, column] + flat[:, other], minlength=count**2)
            assert chisquare(pairs).pvalue > 1e-4


def test_another_key_deals_otherwise_and_the_same_one_alike():
    deals = [stratified_minibatches(jax.random.key(seed), numbered(), 4) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(deals[0], deals[1])
    assert not np.array_equal(deals[0], deals[2])


def test_blocks_are_as_large_as_the_kind_of_processor_has_them(monkeypatch):
    rows, seen = jnp.arange(12.0).reshape(6, 2), []

    def mean(block):
        seen.append(len(block))
        return block.mean(0)

    for kinds in ({"cpu": 2}, {}):
        monkeypatch.setattr(minibatches, "BLOCK_ROWS", kinds)
        np.testing.assert_array_equal(mean_over_blocks(mean, rows), rows.mean(0))
    assert set(seen[:-1]) == {2} and seen[-1] == 6
