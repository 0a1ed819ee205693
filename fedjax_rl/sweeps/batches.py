"""Batches of trials as members, and the programs that all batches share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_rl.algorithm import Algorithm
from fedjax_rl.cluster.devices import ONE, DeviceSettings
from fedjax_rl.precision import precision
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.sweeps.plan import seeds_of
from fedjax_rl.sweeps.space import Law
from fedjax_rl.training.members import Alike, Group, Member, gathered_alike, size_of
from fedjax_rl.training.memory import Needs, free_bytes, needs_of_member
from fedjax_rl.training.protocol import Assembler

EDGE = 1e-6
"""How far inside its bounds a law is tried out; a bound itself is hardly ever drawn, and may be
no value of its setting."""


class Size(NamedTuple):
    """The size of the chunks of a group.

    Attributes:
        members: side by side.
        needs: estimate of what one needs.
    """

    members: int
    needs: Needs


def prototypes(assembler: Assembler, base: Any, laws: Mapping[str, Law]) -> Iterator[Member]:
    """Members near the bounds of all laws at once, for every combination of choices and seed.

    Every program that a search may need is among theirs, and so is every setting in which
    members may differ. Their numbers are negative.

    Raises:
        InvalidInput: a law reaches where the algorithm cannot go.
    """
    choices = {name: law.options for name, law in laws.items() if law.options}
    numbers = [name for name in laws if name not in choices]
    shares = (EDGE, 1 - EDGE) if numbers else (EDGE,)
    for index, (options, share) in enumerate(
        itertools.product(itertools.product(*choices.values()), shares)
    ):
        drawn: dict[str, Any] = dict(zip(choices, options, strict=True))
        drawn |= {name: _within(laws[name], share) for name in numbers}
        combination = {name: law.value(type(base), name, drawn[name]) for name, law in laws.items()}
        yield from seeds_of(assembler, base, -1 - index, combination)


def _within(law: Law, share: float) -> float:
    """A number so far on the way from the lower bound of a law to the upper one."""
    if law.log:
        return float(law.low * (law.high / law.low) ** share)
    return law.low + (law.high - law.low) * share


class Programs:
    """The programs of a search, each compiled once for all batches.

    A group's chunks have one size throughout: what all of a batch comes to if its trials are
    dealt evenly to the groups, or what fits memory.

    Attributes:
        even: members of a batch that a group has.
        sizes: of chunks, by what is the same in a group.
        groups: of the prototypes.

    Args:
        assembler: made its members.
        known: prototypes of everything that may come.
        batch: members of a batch.
        chunk: most members side by side; None for as many as fit memory.
        devices: over which they are spread.
        every: says how often the host is visited.
        cores: that there are for the chunks of a batch.
        sizes: members in a chunk of each group, where that was reckoned before.
    """

    def __init__(
        self,
        assembler: Assembler,
        known: Sequence[Member],
        batch: int,
        chunk: int | None = None,
        devices: DeviceSettings = ONE,
        every: CheckpointSettings | None = None,
        cores: int = 1,
        sizes: Sequence[int] | None = None,
    ):
        self._assembler, self._chunk, self._devices = assembler, chunk, devices
        self._every = every or CheckpointSettings()
        self._free = free_bytes() // cores
        self._known: list[Member] = list(known)
        self._compiled: dict[Any, Algorithm] = {}
        gathered = gathered_alike(known)
        self.even, self._parts = -(-batch // len(gathered)), -(-cores // len(gathered))
        self.sizes: dict[Any, Size] = {
            alike.key: Size(size, Needs(0, 0.0))
            for alike, size in zip(gathered, sizes or (), strict=sizes is not None)
        }
        self.groups = [self._group(alike, tuple(alike.members)) for alike in gathered]

    def of(self, members: Sequence[Member]) -> Iterator[tuple[Group, Algorithm]]:
        """The groups of a batch, each with its program; the same object as long as it serves.

        A program may depend on members beyond what its traced settings say (how many past
        parameters the stalest needs). All that ever came are reckoned with, so that it only
        grows, and the shapes of its state tell whether it did.
        """
        own = {member.number for member in members}
        others = [member for member in self._known if member.number not in own]
        gathered = gathered_alike([*others, *members])
        self._known = [member for alike in gathered for member in alike.members]
        for alike in gathered:
            batch = tuple(member for member in alike.members if member.number in own)
            if not batch:
                continue
            group = self._group(alike, tuple(alike.members))
            program = group.program(self._assembler, self._devices)
            key = alike.key, tuple(alike.batched), _shapes(program, group)
            yield group._replace(members=batch), self._compiled.setdefault(key, program)

    @property
    def chunk_sizes(self) -> list[int]:
        """Members in a chunk of each of the groups."""
        return [group.size for group in self.groups]

    def number(self, program: Algorithm) -> int:
        """The number of a program that serves a group of some batch."""
        return next(i for i, known in enumerate(self._compiled.values()) if known is program)

    def _group(self, alike: Alike, members: tuple[Member, ...]) -> Group:
        if alike.key not in self.sizes:
            needs = needs_of_member(members[0].assembled, alike.batched)
            fitting = size_of(self.even, needs.bytes, self._chunk, self._free, self._parts)
            self.sizes[alike.key] = Size(fitting, needs)
        size = self.sizes[alike.key]
        rounds = max(1, members[0].assembled.span_rounds // size.members)
        group = Group(members, alike.axes, size.needs, size.members, rounds)
        return group.visited(self._every.span)


def _shapes(program: Algorithm, group: Group) -> Any:
    """Shapes of a program's state; nothing is computed."""
    with precision(program.float64):
        keys = jax.vmap(jax.random.key)(np.zeros(group.size, int))
        state = jax.eval_shape(program.init, keys, group.hparams(group.members[:1]))
    return tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state))
