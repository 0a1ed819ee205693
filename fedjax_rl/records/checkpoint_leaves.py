"""A state as named arrays, and named arrays as a state: what a checkpoint keeps of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree


class OtherState(ValueError):
    """Arrays are not those of a state.

    Attributes:
        name: of the first that differs.
        ours: data type and shape that the state has there, or ``nothing``.
        theirs: data type and shape that the arrays have there, or ``nothing``.
    """

    def __init__(self, name: str, ours: str, theirs: str) -> None:
        super().__init__(f"{name} is {theirs}, not {ours}")
        self.name, self.ours, self.theirs = name, ours, theirs


def named(state: Pytree) -> dict[str, Any]:
    """The leaves of a state by their path; a random key's kind is part of its path."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if _is_key(leaf):
            name, leaf = f"{name}<{jax.random.key_impl(leaf)}>", jax.random.key_data(leaf)
        leaves[name] = leaf
    return leaves


def flat(state: Pytree) -> dict[str, np.ndarray]:
    """The leaves of a state on the host, as of `named`."""
    return {name: np.asarray(jax.device_get(leaf)) for name, leaf in named(state).items()}


def restored(template: Pytree, arrays: Mapping[str, np.ndarray]) -> Pytree:
    """The state with the template's structure whose leaves are the arrays, as of `flat`.

    Raises:
        OtherState: names, data types or shapes are not the template's.
    """
    expected = flat(template)
    for name in {**expected, **arrays}:
        ours, theirs = (_described(part.get(name)) for part in (expected, arrays))
        if ours != theirs:
            raise OtherState(name, ours, theirs)
    leaves, structure = jax.tree.flatten(template)
    values = [_like(leaf, arrays[name]) for leaf, name in zip(leaves, expected, strict=True)]
    return jax.tree.unflatten(structure, values)


def _described(array: np.ndarray | None) -> str:
    return "nothing" if array is None else f"{array.dtype}{list(array.shape)}"


def _like(leaf: Any, value: Any) -> Any:
    """The value, as a random key where the leaf is one."""
    if not _is_key(leaf):
        return value
    return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
