"""Policies of networks as ``policy.npz``: plain arrays, named after where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_rl.algorithm import Pytree
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.assembly import DeepPrepared
from fedjax_rl.families.networks.confirmation import Recommended
from fedjax_rl.federation.candidates import acting
from fedjax_rl.learners.deep.state import DeepShared
from fedjax_rl.ops.moments import Moments
from fedjax_rl.precision import precision
from fedjax_rl.records.directory import UNREADABLE

RECOMMENDED = "recommended.npz"
"""Has the policies that a run recommends, like ``policy.npz`` those after the last round."""
SEEDS = "seed"
"""Of ``recommended.npz``: [R] numbers of the seeds that have a policy."""


def policy_arrays(policy: DeepShared) -> dict[str, np.ndarray]:
    """Arrays by name, such as ``actor/MLP_0/Dense_0/kernel``; leading axes [K, P] each."""
    named = jax.tree_util.tree_flatten_with_path(acting(policy))[0]
    return {_name(path): np.asarray(leaf) for path, leaf in named}


def recommended_arrays(recommended: Recommended) -> dict[str, np.ndarray]:
    """The arrays of confirmed policies, leading axes [R, 1], R ≥ 1, beside their seeds' numbers."""
    assert recommended.policy is not None
    return policy_arrays(recommended.policy) | {SEEDS: recommended.seeds}


@precision(False)
def read_policy(path: Path, prepared: DeepPrepared) -> DeepShared:
    """The policies of a run, seeds and policies as leading axes [K, P].

    Args:
        path: a ``policy.npz``.
        prepared: the run, which says what networks there are.

    Raises:
        InvalidInput: the file cannot be read or is of other networks.
    """
    alone = prepared.config.reference == "no-communication"
    arrays = _arrays(path)
    return _policy(
        path, arrays, prepared, (prepared.config.seeds, prepared.num_agents if alone else 1)
    )


@precision(False)
def read_recommended(path: Path, prepared: DeepPrepared) -> tuple[DeepShared, np.ndarray]:
    """The policies that a run recommends, leading axes [R, 1], and indices [R] of their seeds.

    Args:
        path: a ``recommended.npz``.
        prepared: the run, which says what networks there are.

    Raises:
        InvalidInput: the file cannot be read or is of other networks or seeds; a run that
            recommends no policy has none.
    """
    arrays, config = _arrays(path), prepared.config
    numbers = arrays.get(SEEDS, np.zeros(0))
    known = config.seed + np.arange(config.seeds)
    whole = numbers.ndim == 1 and numbers.dtype.kind == "i" and len(numbers)
    if not whole or (np.diff(numbers) <= 0).any() or not np.isin(numbers, known).all():
        raise InvalidInput("policy", path, f"array {SEEDS!r} of some of the run's seeds, in order")
    return _policy(path, arrays, prepared, (len(numbers), 1)), numbers - config.seed


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with stored:
            return dict(stored)
    except FileNotFoundError:
        raise InvalidInput("policy", path, "no such file") from None
    except UNREADABLE:
        raise InvalidInput("policy", path, "a readable npz file of plain arrays") from None


def _policy(
    path: Path, arrays: dict[str, np.ndarray], prepared: DeepPrepared, policies: tuple[int, int]
) -> DeepShared:
    wanted = jax.eval_shape(lambda: acting(_blank(prepared)))
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


def _blank(prepared: DeepPrepared) -> DeepShared:
    design = prepared.design
    moments = None
    if design.choices.scale_observations != "none":
        zeros = np.zeros(design.features, np.float32)
        moments = Moments(np.float32(0), zeros, zeros)  # type: ignore[arg-type]
    actor: Pytree = design.actor.init(jax.random.key(0))
    return DeepShared(actor, None, moments, None, None)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(getattr(key, "name", getattr(key, "key", key))) for key in path)
