"""Placement of a run on devices, along one axis: its agents or its members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fedjax_rl.algorithm import Pytree
from fedjax_rl.backend import platform
from fedjax_rl.errors import InvalidInput

AXES = ("agents", "members")
Map = Any
"""Maps a function of one agent or member over all; called like `jax.vmap`."""


class Placement(NamedTuple):
    """The devices that agents of a federation, or members of a sweep, are dealt to.

    Attributes:
        mesh: the devices in a row, of all processes; None for the default device alone.
        shard: the axis that is dealt to them, ``agents`` or ``members``.
    """

    mesh: Mesh | None = None
    shard: str = "members"

    @property
    def devices(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    def map_of(self, axis: str, inner: Map = jax.vmap) -> Map:
        """The map over ``agents`` or ``members``: over devices, and by ``inner`` on each."""
        return inner if self.mesh is None or axis != self.shard else dealt(self.mesh, inner)

    def share(self, axis: str, count: int) -> int:
        """How many of so many ``agents`` or ``members`` a device computes, at most."""
        return -(-count // self.devices) if axis == self.shard else count

    @property
    def description(self) -> str:
        """A log line: how many devices there are, and which axis is dealt to them."""
        return "one device" if self.mesh is None else f"{self.devices} devices, {self.shard} dealt"


ONE_DEVICE = Placement()


def placement_of(
    devices: Sequence[jax.Device], count: int | None, shard: str, agents: int, members: int
) -> Placement:
    """The placement that was asked for.

    Args:
        devices: that there are.
        count: of them to use; None for all.
        shard: ``agents``, ``members``, or ``auto``: members if there are as many as devices
            (they never talk to each other), else agents if there are more of them; one device
            where there is one of both.
        agents: N.
        members: B, or 1.

    Raises:
        InvalidInput: more devices than there are, or nothing to deal to them.
    """
    if count is not None and not 1 <= count <= len(devices):
        raise InvalidInput("--devices", count, f"all, or 1 … {len(devices)}, as many as there are")
    if shard not in (*AXES, "auto"):
        raise InvalidInput("--shard", repr(shard), f"one of auto, {', '.join(AXES)}")
    used, sizes = devices[:count], {"agents": agents, "members": members}
    if len(used) == 1 or (shard == "auto" and agents == members == 1):
        return ONE_DEVICE
    if shard == "auto":
        shard = "agents" if agents > members and members < len(used) else "members"
    if sizes[shard] == 1:
        raise InvalidInput(
            "--shard", repr(shard), f"an axis of several: there is one of the {shard}"
        )
    if jax.process_count() == 1:  # no more than are needed for the same time, and less to fill
        share = -(-sizes[shard] // len(used))
        used = used[: -(-sizes[shard] // share)]
    mesh = jax.make_mesh((len(used),), (shard,), axis_types=(AxisType.Auto,), devices=used)
    return Placement(mesh, shard)


def dealt(mesh: Mesh, inner: Map = jax.vmap) -> Map:
    """Maps like `jax.vmap`, every device computing an equal share of the mapped axis.

    Where the axis is no multiple of the devices, its last entry is computed again to fill the
    last share, and what came of that is left out.

    Args:
        mesh: the devices, one axis.
        inner: maps over the share of a device.

    Returns:
        A map that takes ``in_axes`` and ``out_axes`` of 0 and None, or trees of them, and
        ``axis_size``, which is needed where no argument has the mapped axis.
    """

    def device_map(
        function: Callable[..., Pytree],
        in_axes: Any = 0,
        out_axes: Any = 0,
        axis_size: int | None = None,
    ) -> Any:
        share = None if axis_size is None else -(-axis_size // mesh.size)
        spread = jax.shard_map(
            inner(function, in_axes, out_axes, axis_size=share),
            mesh=mesh,
            in_specs=_specs(mesh, in_axes),
            out_specs=_specs(mesh, out_axes),
            check_vma=False,  # loops of learners begin with constants, which do not vary
        )

        def mapped(*arguments: Pytree) -> Pytree:
            count = _length(in_axes, arguments) if axis_size is None else axis_size
            missing = -count % mesh.size
            if missing == 0:
                return spread(*arguments)
            # With a copy of what is there and not with zeros, which may have no finite outcome.
            filled = _along(in_axes, lambda leaf: _lengthened(leaf, missing), arguments)
            return _along(out_axes, lambda leaf: leaf[:count], spread(*filled))

        return mapped

    return device_map


def may_deadlock(state: Pytree) -> bool:
    """Whether collectives of two programs that run at once could deadlock.

    That is so between processes, and between the devices of one processor, which share threads:
    each program would hold some and wait for the others' for ever.
    """
    if jax.process_count() > 1:
        return True
    spread = any(len(leaf.devices()) > 1 for leaf in jax.tree.leaves(state))
    return spread and platform() == "cpu"


def on_host(tree: Pytree) -> Pytree:
    """The leaves as host arrays, gathered from all processes where they are spread over them.

    With several processes each of them must call this, for the same trees in the same order.
    """
    leaves = jax.tree.leaves(tree)
    if all(getattr(leaf, "is_fully_addressable", True) for leaf in leaves):
        return jax.device_get(tree)
    return jax.tree.map(_gathered, tree)


def _gathered(leaf: Any) -> Any:
    if getattr(leaf, "is_fully_addressable", True):
        return jax.device_get(leaf)
    # An exchange: where one process gathered and another did not, the first would wait for ever.
    if not leaf.is_fully_replicated:
        everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
        leaf = jax.jit(lambda array: array, out_shardings=everywhere)(leaf)
    return jax.device_get(leaf.addressable_data(0))


def _specs(mesh: Mesh, axes: Any) -> Any:
    """Partitions for a tree of axes 0 and None."""
    along = PartitionSpec(mesh.axis_names[0])
    return jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else along, axes, is_leaf=_is_none
    )


def _along(axes: Any, change: Callable[[jax.Array], jax.Array], trees: Pytree) -> Pytree:
    """The trees with every leaf changed that has the mapped axis."""

    def part(axis: int | None, tree: Pytree) -> Pytree:
        return tree if axis is None else jax.tree.map(change, tree)

    return jax.tree.map(part, axes, trees, is_leaf=_is_none)


def _length(axes: Any, trees: Pytree) -> int:
    lengths: list[int] = []

    def part(axis: int | None, tree: Pytree) -> None:
        if axis is not None:
            lengths.extend(leaf.shape[0] for leaf in jax.tree.leaves(tree))

    jax.tree.map(part, axes, trees, is_leaf=_is_none)
    return lengths[0]


def _lengthened(leaf: jax.Array, missing: int) -> jax.Array:
    leaf = jnp.asarray(leaf)
    return jnp.concatenate([leaf, jnp.broadcast_to(leaf[-1:], (missing, *leaf.shape[1:]))])


def _is_none(axis: Any) -> bool:
    return axis is None
