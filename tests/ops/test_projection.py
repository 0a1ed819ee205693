"""Projection onto the simplex, and the order of computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.ops.order import after
from fedjax_rl.ops.projection import onto_simplex
from fedjax_rl.precision import precision
from tests import support

pytestmark = pytest.mark.timeout(60)


def projected(points):
    with precision(True):
        return np.asarray(jax.vmap(onto_simplex)(jnp.asarray(points)))


def test_projection_agrees_with_bisection():
    points = np.random.default_rng(0).normal(size=(300, 6)) * 3
    np.testing.assert_allclose(projected(points), support.project(points), atol=1e-12)


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ([1.2, 1.3, 1.5], [0.2, 0.3, 0.5]),
        ([9.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([0.5, 0.5, -1e30], [0.5, 0.5, 0.0]),
        ([3.0], [1.0]),
    ],
)
def test_projection_by_hand(point, nearest):
    np.testing.assert_allclose(projected([point])[0], nearest, atol=1e-15)


def test_after_keeps_the_value_and_passes_on_a_nan():
    assert float(after(jnp.array(2.0), jnp.ones(3))) == 2.0
    assert np.isnan(float(after(jnp.array(2.0), jnp.array([1.0, jnp.nan]))))


def test_the_dependence_survives_compilation():
    compiled = jax.jit(lambda x, y: after(x, jnp.cos(y))).lower(1.0, jnp.ones(5)).compile()
    assert "cosine" in compiled.as_text()
