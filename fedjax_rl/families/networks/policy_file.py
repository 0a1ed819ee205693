"""Policies of networks as ``policy.npz``: plain arrays, named after where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.ops.moments import Moments
from fedjax_rl.precision import precision
from fedjax_rl.records.directory import UNREADABLE


def policy_arrays(policy: DeepShared) -> dict[str, np.ndarray]:
    """Arrays by name, such as ``actor/MLP_0/Dense_0/kernel``; leading axes [K, P] each."""
    named = jax.tree_util.tree_flatten_with_path(_acting(policy))[0]
    return {_name(path): np.asarray(leaf) for path, leaf in named}


@precision(False)
def read_policy(path: Path, prepared: DeepPrepared) -> DeepShared:
    """The policies of a run, seeds and policies as leading axes [K, P].

    Args:
        path: a ``policy.npz``.
        prepared: the run, which says what networks there are.

    Raises:
        InvalidInput: the file cannot be read or is of other networks.
    """
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with stored:
            arrays = dict(stored)
    except FileNotFoundError:
        raise InvalidInput("policy", path, "no such file") from None
    except UNREADABLE:
        raise InvalidInput("policy", path, "a readable npz file of plain arrays") from None
    alone = prepared.config.reference == "no-communication"
    policies = (prepared.config.seeds, prepared.num_agents if alone else 1)
    wanted = jax.eval_shape(lambda: _acting(_blank(prepared)))
    named, structure = jax.tree_util.tree_flatten_with_path(wanted)
    leaves = [_checked(path, arrays, _name(key), (*policies, *leaf.shape)) for key, leaf in named]
    policy: DeepShared = jax.tree.unflatten(structure, leaves)
    return policy


def _checked(
    path: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]
) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.shape != shape:
        found = "missing" if array is None else f"of shape {array.shape}"
        raise InvalidInput("policy", path, f"array {name!r} of shape {shape}; it is {found}")
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise InvalidInput("policy", path, f"array {name!r} of finite float32 numbers")
    return array


def _acting(policy: DeepShared) -> DeepShared:
    """The parameters that acting needs; critics are left out."""
    return policy._replace(critic=None, origin=None, lengths=None)


def _blank(prepared: DeepPrepared) -> DeepShared:
    design = prepared.design
    moments = None
    if design.choices.normalize_observations:
        zeros = np.zeros(design.features, np.float32)
        moments = Moments(np.float32(0), zeros, zeros)  # type: ignore[arg-type]
    actor: Pytree = design.actor.init(jax.random.key(0))
    return DeepShared(actor, None, moments, None, None)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(getattr(key, "name", getattr(key, "key", key))) for key in path)
