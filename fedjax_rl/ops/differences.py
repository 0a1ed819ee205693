"""Differences of pytrees, and their inverse."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree


def difference(after: Pytree, before: Pytree) -> Pytree:
    """After − before, leaf by leaf; leaves that are not floating point are those after."""
    return jax.tree.map(lambda one, other: one - other if _moves(one) else one, after, before)


def moved(change: Pytree, before: Pytree) -> Pytree:
    """Before + change, leaf by leaf; leaves that are not floating point are those of the change."""
    return jax.tree.map(lambda one, other: other + one if _moves(one) else one, change, before)


def _moves(leaf: jax.Array) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))
