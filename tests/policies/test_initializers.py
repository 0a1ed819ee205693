"""Orthogonal kernels without QR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.policies.initializers import orthogonal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.mark.parametrize("shape", [(64, 64), (4, 64), (64, 2), (3, 3, 4, 16), (5, 1)])
def test_kernels_have_equal_singular_values(shape):
    kernel = orthogonal(scale=1.7)(jax.random.key(0), shape, jnp.float32)
    singular = np.linalg.svd(np.asarray(kernel).reshape(-1, shape[-1]), compute_uv=False)
    assert kernel.shape == shape and kernel.dtype == jnp.float32
    np.testing.assert_allclose(singular, 1.7, rtol=2e-5)


def test_vmapped_equals_one_at_a_time():
    keys = jax.random.split(jax.random.key(1), 5)
    together = jax.vmap(lambda key: orthogonal()(key, (6, 4), jnp.float32))(keys)
    for index, key in enumerate(keys):
        alone = orthogonal()(key, (6, 4), jnp.float32)
        np.testing.assert_allclose(together[index], alone, atol=1e-6)


def test_directions_are_uniform():
    keys = jax.random.split(jax.random.key(2), 4000)
    kernels = jax.vmap(lambda key: orthogonal(1.0)(key, (3, 3), jnp.float32))(keys)
    np.testing.assert_allclose(kernels.mean(0), 0.0, atol=0.05)
    np.testing.assert_allclose((kernels**2).mean(0), 1 / 3, atol=0.03)
