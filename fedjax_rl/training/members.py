"""Members that share a program: gathered, dealt into chunks, and trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm, Pytree
from fedjax_rl.backend import platform
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.execution.placement import Placement
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.federation.grouped import in_groups
from fedjax_rl.training.loop import keys_of
from fedjax_rl.training.memory import Needs, free_bytes, needs_of_member
from fedjax_rl.training.protocol import Assembled, Assembler

SHARE_OF_MEMORY = 0.5
"""Of what is free, for the members of a chunk."""
MEMBERS_AT_ONCE = {"cpu": 64}
"""Most members of a chunk: a processor gains nothing from more, and a kill loses a chunk."""
MEMBERS_ON_ACCELERATOR = 1024


class Member(NamedTuple):
    """One run of a sweep: a combination of settings and a seed.

    Attributes:
        number: from 0.
        configuration: the number of its combination of settings, which its seeds share.
        combination: swept settings by name.
        config: all settings, of one seed.
        assembled: what it runs; leaves of ``hparams`` that all members of its group share are
            the same arrays.
    """

    number: int
    configuration: int
    combination: dict[str, Any]
    config: Any
    assembled: Assembled


class Group(NamedTuple):
    """Members that run as one program.

    Attributes:
        members: in the order of their numbers.
        axes: like the traced settings, 0 where members differ, None where they do not.
        needs: estimate of what one member needs while it runs.
        size: members in a chunk.
        span_rounds: rounds between two visits of the host.
    """

    members: tuple[Member, ...]
    axes: Pytree
    needs: Needs
    size: int
    span_rounds: int

    @property
    def rounds(self) -> int:
        return self.members[0].assembled.rounds

    @property
    def bytes(self) -> int:
        """Estimate of what a chunk needs while it runs."""
        return self.size * self.needs.bytes

    def visited(self, span: Callable[[int], int]) -> Group:
        """The group with as many rounds between two visits as ``span`` makes of them."""
        return self._replace(span_rounds=span(self.span_rounds))

    def chunks(self, done: Container[int] = ()) -> list[tuple[Member, ...]]:
        """Members that are not done, ``size`` of them side by side or, at the end, fewer."""
        left = tuple(member for member in self.members if member.number not in done)
        return [left[start : start + self.size] for start in range(0, len(left), self.size)]

    def placement(self, assembler: Assembler, devices: DeviceSettings = ONE) -> Placement:
        """The placement of a chunk on the devices of this process.

        Raises:
            InvalidInput: more devices than there are, or nothing to deal to them.
        """
        agents = assembler.agents(self.members[0].assembled.prepared)
        return devices.placement(agents, self.size, local=True)

    def program(self, assembler: Assembler, devices: DeviceSettings = ONE) -> Algorithm:
        """The algorithm of a chunk; see `placement` for what it raises."""
        members = [member.assembled for member in self.members]
        placement = self.placement(assembler, devices)
        share = placement.share("members", self.size)
        at_once = assembler.at_once(members[0].prepared, share)
        together = assembler.together(members, at_once, placement)
        return sweep(
            together, self.axes, self.size, placement.map_of("members", in_groups(at_once))
        )

    def share(self, process: int, processes: int) -> Group:
        """The part of the group that one of several processes runs; it may be empty."""
        # In turn, so that every process gets some of each value of a grid, whichever fails.
        own = self.members[process::processes]
        return self._replace(members=own, size=min(self.size, max(1, len(own))))

    def inputs(self, members: Sequence[Member]) -> tuple[jax.Array, Pytree]:
        """Keys [B] and traced settings of a chunk."""
        seeds = [member.config.seed for member in members]
        seeds += [seeds[-1]] * (self.size - len(seeds))
        return keys_of(np.array(seeds)), self.hparams(members)

    def hparams(self, members: Sequence[Member]) -> Pytree:
        """Traced settings of a chunk; where it is not full, the last member stands in."""
        full = [*members, *[members[-1]] * (self.size - len(members))]

        def together(leaf: Any, axis: int | None, *others: Any) -> Any:
            return leaf if axis is None else np.stack([np.asarray(own) for own in (leaf, *others)])

        # By structure, not by place in a flattened tree: a None of the settings (no weights of a
        # merge) is no leaf, a None of the axes is one.
        first, *rest = (member.assembled.hparams for member in full)
        return jax.tree.map(together, first, self.axes, *rest)


def grouped(members: Iterable[Member], chunk: int | None, cores: int = 1) -> list[Group]:
    """Members whose programs are equal, together; arrays that are equal are kept once.

    Args:
        members: all of them.
        chunk: members in a chunk; None for as many as fit memory, and are dealt evenly to cores.
        cores: that there are for the chunks.
    """
    return sized(gathered_alike(members), chunk, cores)


def sized(gathered: Sequence[Alike], chunk: int | None, cores: int = 1) -> list[Group]:
    """The groups of members that are gathered; see `grouped`."""
    free = free_bytes() // cores
    # Where there are as many groups as cores none of them is cut: each worker traces its own.
    return [_sized(alike, chunk, free, -(-cores // len(gathered))) for alike in gathered]


def unsized(alike: Alike) -> Group:
    """A group of which is not reckoned what it needs, as one chunk."""
    return Group(tuple(alike.members), alike.axes, Needs(0, 0.0), len(alike.members), 1)


class Alike(NamedTuple):
    """Members whose programs are equal.

    Attributes:
        key: what is the same in all of them, and in nobody else.
        members: in the order in which they came; arrays that are equal are kept once.
        batched: for each leaf of the traced settings, whether members differ in it.
    """

    key: tuple[Any, Any, Any]
    members: list[Member]
    batched: list[bool]

    @property
    def axes(self) -> Pytree:
        """The axes of ``hparams``, 0 where members differ, as in `Group`."""
        return jax.tree.unflatten(self.key[1], [0 if differs else None for differs in self.batched])


def gathered_alike(members: Iterable[Member]) -> list[Alike]:
    """Members whose programs are equal, together."""
    gathered: dict[Any, list[Member]] = {}
    batched: dict[Any, list[bool]] = {}
    for member in members:
        leaves, structure = jax.tree.flatten(member.assembled.hparams)
        shapes = tuple((np.shape(leaf), np.asarray(leaf).dtype.name) for leaf in leaves)
        key = (member.assembled.program, structure, shapes)
        group = gathered.setdefault(key, [])
        first = jax.tree.leaves(group[0].assembled.hparams) if group else leaves
        differs = batched.setdefault(key, [False] * len(leaves))
        for index, (leaf, known) in enumerate(zip(leaves, first, strict=True)):
            if leaf is known or np.array_equal(leaf, known):
                leaves[index] = known
            else:
                differs[index] = True
        group.append(_sharing(member, jax.tree.unflatten(structure, leaves)))
    return [Alike(key, group, batched[key]) for key, group in gathered.items()]


def _sharing(member: Member, hparams: Pytree) -> Member:
    """The member with settings whose arrays are the group's where they are equal."""
    prepared = member.assembled.prepared
    # A preparation that holds the settings as well would keep every member's own arrays alive.
    if getattr(prepared, "hparams", None) is member.assembled.hparams:
        prepared = prepared._replace(hparams=hparams)
    assembled = member.assembled._replace(hparams=hparams, prepared=prepared)
    return member._replace(assembled=assembled)


def _sized(alike: Alike, chunk: int | None, free: int, parts: int) -> Group:
    members = alike.members
    needs = needs_of_member(members[0].assembled, alike.batched)
    size = size_of(len(members), needs.bytes, chunk, free, parts)
    rounds = max(1, members[0].assembled.span_rounds // size)
    return Group(tuple(members), alike.axes, needs, size, rounds)


def size_of(members: int, member_bytes: int, chunk: int | None, free: int, parts: int = 1) -> int:
    """Members side by side, so that chunks are as few as may be and nearly of one size.

    Args:
        members: in all.
        member_bytes: that each of them needs.
        chunk: most side by side, whatever they need; None for as many as fit.
        free: bytes for the members of a chunk and as much again.
        parts: unless ``chunk`` is given, of which the number of chunks is a multiple.
    """
    if chunk is not None:
        return -(-members // -(-members // chunk))
    at_once = MEMBERS_AT_ONCE.get(platform(), MEMBERS_ON_ACCELERATOR)
    most = max(1, min(at_once, int(SHARE_OF_MEMORY * free) // member_bytes))
    chunks = -(-members // most)
    return -(-members // (-(-chunks // parts) * parts))
