"""Solving F x = g when only products F v are at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

TINY = 1e-20


class _Iterate(NamedTuple):
    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    energy: jax.Array


def conjugate_gradient(
    product: Callable[[jax.Array], jax.Array], target: jax.Array, steps: int
) -> jax.Array:
    """Solves F x ≈ g for x [n] in so many iterations from zero (Hestenes and Stiefel 1952).

    Args:
        product: v [n] -> F v [n], F symmetric and positive definite.
        target: g [n].
        steps: iterations, static; n of them solve exactly up to rounding. Once the residual is
            nothing but rounding the iterate stays.
    """
    chex.assert_rank(target, 1)

    def iterate(now: _Iterate, _: None) -> tuple[_Iterate, None]:
        image = product(now.direction)
        curvature = jnp.vdot(now.direction, image)
        moving = (now.energy > TINY) & (curvature > 0)
        length = jnp.where(moving, now.energy / jnp.where(moving, curvature, 1.0), 0.0)
        residual = now.residual - length * image
        energy = jnp.vdot(residual, residual)
        turn = jnp.where(moving, energy / jnp.where(moving, now.energy, 1.0), 0.0)
        after = _Iterate(
            now.solution + length * now.direction,
            residual,
            residual + turn * now.direction,
            jnp.where(moving, energy, now.energy),
        )
        return after, None

    start = _Iterate(jnp.zeros_like(target), target, target, jnp.vdot(target, target))
    end, _ = jax.lax.scan(iterate, start, None, length=steps)
    return end.solution
