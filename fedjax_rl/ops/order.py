"""Making one computation wait for another by a true data dependence."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def after(value: jax.Array, first: jax.Array) -> jax.Array:
    """``value``, available only once ``first`` is; NaN if ``first`` holds a NaN.

    For programs with two independent factorisations or solves, which must not run side by side
    (see ``docs/architecture.md``, "Why it never hangs"). A compiler cannot remove the dependence,
    because it cannot know that ``first`` has no NaN.

    Args:
        value: any shape.
        first: any shape.
    """
    return jnp.where(jnp.isnan(jnp.sum(first)), jnp.nan, value)
