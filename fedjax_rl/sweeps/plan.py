"""From a space of settings to members, groups of one program each, and chunks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fedjax_rl.checks import one_line
from fedjax_rl.errors import InvalidInput, flag
from fedjax_rl.families.protocol import Comparison, with_effect
from fedjax_rl.families.registry import family_of
from fedjax_rl.settings.fields import PROBLEM, by_name, names, whole_of
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.space import ALGORITHM, Combination, Space
from fedjax_rl.sweeps.workers import cores_for_chunks
from fedjax_rl.training.members import Alike, Group, Member, gathered_alike, sized, unsized
from fedjax_rl.training.protocol import Assembler


class SweepPlan(NamedTuple):
    """Members that are to run.

    Attributes:
        work: groups of one program each, with what made their members.
        settings: of all members.
        content: digest of the problems' content.
        left_out: why, by what a combination that is left out of a comparison is called.
        repeated: how many combinations of a sweep differ from another one only in settings that
            neither reads.
    """

    work: list[tuple[Assembler, Group]]
    settings: list[Any]
    content: str
    left_out: dict[str, str]
    repeated: int


def plan_of(request: SweepRequest, *, reckoned: bool = True) -> SweepPlan:
    """Every member, and those that share a program together.

    Args:
        request: of the sweep.
        reckoned: whether it is reckoned what members need, and how many run side by side.

    Raises:
        InvalidInput: a combination cannot be used; of a comparison, none can.

    Examples:
        Step sizes are data and share a program; numbers of local steps shape it.

        >>> from fedjax_rl.families.tabular.config import FedNPGConfig
        >>> from fedjax_rl.sweeps.request import SweepRequest
        >>> from fedjax_rl.sweeps.space import space_of
        >>> grid = {"step_size": [0.01, 0.1], "local_steps": [1, 5]}
        >>> base, space = FedNPGConfig(rounds=10), space_of(FedNPGConfig, grid, {}, None)
        >>> plan = plan_of(SweepRequest("fednpg", base, space))
        >>> [len(group.members) for _, group in plan.work]
        [2, 2]
    """
    family, left_out = family_of(request.algorithm), dict[str, str]()
    assemblers = assemblers_of(request.algorithm, request.space)
    if request.compare:
        family.comparison.check(request.space.grid)
    check_read(assemblers.values(), request.base, request.space)
    found: list[tuple[Assembler, Alike]] = []
    for assembler in assemblers.values():
        of = assembler, request.base, request.space
        sensible = sensible_members(*of, family.comparison, left_out)
        members = sensible if request.compare else members_of(*of)
        found += [(assembler, alike) for alike in gathered_alike(members)]
    gathered = [alike for _, alike in found]
    groups = (
        sized(gathered, request.chunk, cores_for_chunks())
        if reckoned
        else [*map(unsized, gathered)]
    )
    work = [(assembler, group) for (assembler, _), group in zip(found, groups, strict=True)]
    everyone = [member for _, group in work for member in group.members]
    if not everyone:
        raise nothing_left(left_out)
    content = content_of(work[0][0], names(family.settings, PROBLEM), everyone)
    settings = [member.config for member in everyone]
    if request.compare:
        work = [(family.comparison.measured(of, settings), group) for of, group in work]
    configurations = len({member.configuration for member in everyone})
    combinations = sum(1 for _ in request.space.combinations(type(request.base)))
    repeated = 0 if request.compare else combinations - configurations
    return SweepPlan(work, settings, content, left_out, repeated)


def assemblers_of(algorithm: str, space: Space) -> dict[str, Assembler]:
    """Assemblers of all algorithms of a space; one where the algorithm is no axis.

    Raises:
        InvalidInput: an unknown algorithm, or one of another kind.
    """
    family = family_of(algorithm)
    names = space.grid.get(ALGORITHM, (algorithm,))
    for name in names:
        if family_of(name).name != family.name:
            raise InvalidInput(ALGORITHM, repr(name), f"algorithms of one kind, as {algorithm} is")
    return {name: family.assembler(name) for name in names}


def members_of(assembler: Assembler, base: Any, space: Space) -> Iterator[Member]:
    """Every combination of the space for every seed, validated.

    Of combinations that differ only in settings that they do not read the first is run.

    Args:
        assembler: makes them; where algorithms are an axis, only those of its own.
        base: settings that are not swept; ``seeds`` of them count up from ``seed``.
        space: those that are.

    Raises:
        InvalidInput: a combination cannot be used.
    """
    known: set[Any] = set()
    for configuration, combination in _combinations(assembler, base, space):
        with _named(combination):
            one = configured(assembler.algorithm, base, combination)
            if one.config in known and one.without.keys() & combination.keys():
                continue
            known.add(one.config)
            yield from _seeds(assembler, base, configuration, one)


def sensible_members(
    assembler: Assembler,
    base: Any,
    space: Space,
    comparison: Comparison,
    left_out: dict[str, str],
) -> Iterator[Member]:
    """Members of a comparison, without combinations that are refused or repeat another.

    Args:
        assembler: as of `members_of`.
        base: likewise.
        space: likewise; its combinations keep their numbers.
        comparison: says which compute the same, and what they are called.
        left_out: is given why, by what a combination that is left out is called.
    """
    known: list[tuple[str, Any]] = []
    for configuration, combination in _combinations(assembler, base, space):
        name = comparison.label(combination)
        try:
            one = configured(assembler.algorithm, base, combination)
            members = list(_seeds(assembler, base, configuration, one))
        except InvalidInput as error:
            left_out[name] = str(error)
            continue
        own = comparison.same(members[0].config)
        if same := [other for other, settings in known if settings == own]:
            left_out[name] = f"the same as {same[0]}"
            continue
        known.append((comparison.label(members[0].combination), own))
        yield from members


def nothing_left(left_out: Mapping[str, str]) -> InvalidInput:
    """The error where every combination is left out, in the words of the first reason."""
    reasons = list(dict.fromkeys(left_out.values()))
    more = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
    return InvalidInput("the lists", "no combination that makes sense", f"{reasons[0]}{more}")


def seeds_of(
    assembler: Assembler, base: Any, configuration: int, combination: Combination
) -> Iterator[Member]:
    """One combination for every seed, validated; see `members_of`.

    Raises:
        InvalidInput: the combination cannot be used.
    """
    with _named(combination):
        one = configured(assembler.algorithm, base, combination)
        yield from _seeds(assembler, base, configuration, one)


@contextmanager
def _named(settings: Combination) -> Iterator[None]:
    """Errors say in which combination they are."""
    try:
        yield
    except InvalidInput as error:
        text = ", ".join(f"{name} {value}" for name, value in settings.items())
        raise InvalidInput(
            error.field, error.value, f"{error.allowed}; in the combination {text}"
        ) from None


class Configured(NamedTuple):
    """The settings of one combination.

    Attributes:
        config: all of them.
        combination: those that are swept; the default of what the combination does not read.
        without: what settings without effect would need, in words.
    """

    config: Any
    combination: Combination
    without: dict[str, str]


def configured(algorithm: str, base: Any, combination: Combination) -> Configured:
    """A combination on top of what all have in common.

    Raises:
        InvalidInput: it cannot be used.
    """
    kind, known, without = whole_of(type(base)), *_effective(algorithm, base, combination)
    own = {name: known.get(name, value) for name, value in combination.items()}
    return Configured(kind(**known), own, without)


def _effective(
    algorithm: str, base: Any, combination: Combination
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a combination as `with_effect` has them, and what others would need."""
    swept = {name: value for name, value in combination.items() if name != ALGORITHM}
    known = {**by_name(base), **swept}
    return with_effect(family_of(algorithm), algorithm, whole_of(type(base)), known)


def check_read(assemblers: Iterable[Assembler], base: Any, space: Space) -> None:
    """Raises InvalidInput for a setting that no combination reads, unless it is at its default."""
    kind, useless, read = type(base), dict[str, tuple[Any, str]](), set[str]()
    for assembler in assemblers:
        for _, combination in _combinations(assembler, base, space):
            given = {**by_name(base), **combination}
            try:
                _, without = _effective(assembler.algorithm, base, combination)
            except InvalidInput:
                continue  # which is told, or left out, where members are made
            read |= given.keys() - without.keys()
            for name, company in without.items():
                if given[name] != getattr(kind, name):
                    useless.setdefault(name, (given[name], company))
    for name, (value, company) in useless.items():
        if name not in read:
            allowed = f"only with {company}, which no combination has; else {getattr(kind, name)}"
            raise InvalidInput(flag(name), one_line(value), allowed)


def _combinations(
    assembler: Assembler, base: Any, space: Space
) -> Iterator[tuple[int, Combination]]:
    """The numbered combinations of the assembler's algorithm."""
    for configuration, combination in enumerate(space.combinations(type(base))):
        if combination.get(ALGORITHM, assembler.algorithm) == assembler.algorithm:
            yield configuration, combination


def _seeds(
    assembler: Assembler, base: Any, configuration: int, one: Configured
) -> Iterator[Member]:
    for index in range(base.seeds):
        config = dataclasses.replace(one.config, seed=base.seed + index, seeds=1)
        number = configuration * base.seeds + index
        yield Member(number, configuration, one.combination, config, assembler.assemble(config))


def content_of(assembler: Assembler, names: Sequence[str], members: Iterable[Member]) -> str:
    """SHA-256 of the content of every problem that members have, in the order of the members.

    Args:
        assembler: makes them; where there are several, any of them.
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
