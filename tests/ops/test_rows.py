"""Packing a pytree into rows and back."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.minibatches import stratified_minibatches
from fedjax_rl.ops.rows import packed

pytestmark = pytest.mark.timeout(60)

STEPS, BATCH = 6, 4


class Samples(NamedTuple):
    observation: Any
    action: Any
    ended: Any
    matrix: Any
    nothing: Any = None


def tree():
    rng = np.random.default_rng(0)
    return Samples(
        observation=jnp.asarray(rng.normal(size=(STEPS, BATCH, 3)), jnp.float32),
        action=jnp.asarray(rng.integers(0, 2**24, size=(STEPS, BATCH)), jnp.int32),
        ended=jnp.asarray(rng.random((STEPS, BATCH)) < 0.5),
        matrix={"deep": jnp.asarray(rng.normal(size=(STEPS, BATCH, 2, 5)), jnp.float32)},
    )


def test_unpacking_gives_back_every_bit_shape_and_type():
    rows = packed(tree())
    assert rows.values.shape == (STEPS, BATCH, 3 + 1 + 1 + 10)
    assert rows.values.dtype == jnp.float32
    back = rows.unpack(rows.values)
    chex.assert_trees_all_equal(back, tree())
    chex.assert_trees_all_equal_shapes_and_dtypes(back, tree())


@pytest.mark.parametrize("shape", [(STEPS * BATCH,), (3, 8), ()])
def test_rows_are_unpacked_with_any_leading_axes(shape):
    rows = packed(tree())
    if shape:
        some = rows.values.reshape(*shape, -1)
        expected = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[2:]), tree())
    else:
        some, expected = rows.values[2, 1], jax.tree.map(lambda leaf: leaf[2, 1], tree())
    chex.assert_trees_all_equal(rows.unpack(some), expected)


def test_a_shuffle_moves_each_sample_as_a_whole():
    samples = tree()
    rows = packed(samples)
    shuffled = rows.unpack(stratified_minibatches(jax.random.key(0), rows.values, 3))
    order = [
        int(np.flatnonzero(np.asarray(samples.action).ravel() == action)[0])
        for action in np.asarray(shuffled.action).ravel()
    ]
    assert sorted(order) == list(range(STEPS * BATCH)) != order
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[jnp.array(order)], samples)
    chex.assert_trees_all_equal(
        jax.tree.map(lambda leaf: leaf.reshape(STEPS * BATCH, *leaf.shape[2:]), shuffled), flat
    )


def test_gradients_pass_through():
    samples = tree()

    def loss(observation):
        rows = packed(samples._replace(observation=observation))
        return (rows.unpack(rows.values).observation ** 2).sum()

    gradient = jax.grad(loss)(samples.observation)
    np.testing.assert_allclose(gradient, 2 * samples.observation, rtol=1e-6)
