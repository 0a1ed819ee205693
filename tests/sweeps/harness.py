"""Sweeps in small, without a directory."""

from fedjax_rl.sweeps import execution
from fedjax_rl.sweeps.plan import members_of
from fedjax_rl.sweeps.space import space_of
from fedjax_rl.training.members import grouped


def groups_of(family, base, grid, chunk=None, **laws):
    space = space_of(type(base), grid, laws.pop("random", {}), laws.pop("samples", None))
    return grouped(members_of(family, base, space), chunk)


def swept(family, base, grid, chunk=None):
    """Every member by number, with what it ended with: (member, done, kept)."""
    return ran(family, groups_of(family, base, grid, chunk))


def ran(family, groups):
    """Every member of groups by number, with what it ended with: (member, done, kept)."""
    outcomes = {}
    result = family.result

    def recorded(prepared, rows, own, failed):
        outcomes[prepared.config.seed, id(prepared)] = own
        return result(prepared, rows, own, failed)

    family.result = recorded
    found = {}
    for group in groups:
        program = group.program(family)
        for members in group.chunks():
            for member, done in zip(
                members,
                execution.run_chunk(family, group, program, members),
                strict=True,
            ):
                own = outcomes[member.config.seed, id(member.assembled.prepared)]
                found[member.number] = member, done, own
    family.result = result
    return [found[number] for number in sorted(found)]
