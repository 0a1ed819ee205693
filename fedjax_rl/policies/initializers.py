"""Orthogonal initialisation without LAPACK.

`jax.nn.initializers.orthogonal` calls QR; vmapped over members and layers, those calls can
deadlock XLA's CPU backend. Gram–Schmidt in a loop is plain arithmetic and cannot.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer

GAIN = 2.0**0.5
"""Usual scale of hidden layers."""


def orthogonal(scale: float = GAIN) -> Initializer:
    """A flax initialiser of scaled orthogonal kernels (Saxe et al. 2013, arXiv 1312.6120).

    Args:
        scale: every singular value of the kernel.

    Returns:
        (key, shape, dtype) -> kernel [..., outputs]; the leading axes are flattened into one.
        Uniform (Haar) over orthogonal matrices, as Gram–Schmidt of a Gaussian matrix is.
    """

    def initialise(key, shape, dtype=jnp.float32, out_sharding=None):  # type: ignore[no-untyped-def]
        outputs = shape[-1]
        inputs = 1
        for extent in shape[:-1]:
            inputs *= extent
        tall = (max(inputs, outputs), min(inputs, outputs))
        basis = orthonormal_columns(jax.random.normal(key, tall, dtype))
        kernel = basis if inputs >= outputs else basis.T
        return scale * kernel.reshape(shape)

    return initialise


def orthonormal_columns(matrix: jax.Array) -> jax.Array:
    """Orthonormal basis [n, k] of the columns of a matrix [n, k], n ≥ k, of full rank.

    Classical Gram–Schmidt, projected twice: orthogonal to rounding ("twice is enough").
    """

    def add_column(index: jax.Array, basis: jax.Array) -> jax.Array:
        column = lax.dynamic_index_in_dim(matrix, index, axis=1, keepdims=False)
        for _ in range(2):
            column = column - basis @ (basis.T @ column)
            column = column / jnp.linalg.norm(column)
        return lax.dynamic_update_index_in_dim(basis, column, index, axis=1)

    return lax.fori_loop(0, matrix.shape[1], add_column, jnp.zeros_like(matrix))
