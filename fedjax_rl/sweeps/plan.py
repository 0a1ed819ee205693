"""From a space of settings to members, groups of one program each, and chunks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fedjax_rl.errors import InvalidInput
from fedjax_rl.sweeps.space import Chosen, Space
from fedjax_rl.training.members import Member
from fedjax_rl.training.protocol import Assembler


def members_of(assembler: Assembler, base: Any, space: Space) -> Iterator[Member]:
    """Every combination of the space for every seed, validated.

    Args:
        assembler: makes them.
        base: settings that are not swept; ``seeds`` of them count up from ``seed``.
        space: those that are.

    Raises:
        InvalidInput: a combination cannot be used.
    """
    for configuration, chosen in enumerate(space.combinations(type(base))):
        yield from seeds_of(assembler, base, configuration, chosen)


def seeds_of(
    assembler: Assembler, base: Any, configuration: int, chosen: Chosen
) -> Iterator[Member]:
    """One combination for every seed, validated; see `members_of`.

    Raises:
        InvalidInput: the combination cannot be used.
    """
    for place in range(base.seeds):
        try:
            config = dataclasses.replace(base, **chosen, seed=base.seed + place, seeds=1)
            assembled = assembler.assemble(config)
        except InvalidInput as error:
            told = ", ".join(f"{name} {value}" for name, value in chosen.items())
            raise InvalidInput(
                error.field, error.value, f"{error.allowed}; in the combination {told}"
            ) from None
        number = configuration * base.seeds + place
        yield Member(number, configuration, chosen, config, assembled)


def content_of(assembler: Assembler, names: Sequence[str], members: Iterable[Member]) -> str:
    """SHA-256 of the content of every problem that members have, in the order of the members.

    Args:
        assembler: makes them.
        names: settings that the content depends on.
        members: all of them.
    """
    each: dict[Any, Member] = {}
    for member in members:
        each.setdefault(tuple(getattr(member.config, name) for name in names), member)
    digests = dict.fromkeys(assembler.digest(one.assembled.prepared) for one in each.values())
    if len(digests) == 1:
        return next(iter(digests))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
