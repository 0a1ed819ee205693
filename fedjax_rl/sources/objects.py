"""Problems and tasks that are given as Python objects: a setting applies to them or is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fedjax_rl.cmdp.model import CMDP, with_settings
from fedjax_rl.errors import InvalidInput, by_flag
from fedjax_rl.sources.problems import Problem, access_matrix

GIVEN = "arrays"
"""What settings name a problem that was given as an object."""

Settings = TypeVar("Settings")


def configured(
    kind: type[Settings], field: str, name: str, settings: Mapping[str, Any]
) -> Settings:
    """Settings from keyword arguments.

    Args:
        kind: their type.
        field: the one that names the problem.
        name: its value.
        settings: all others.

    Raises:
        InvalidInput: a name that is no setting, or a value that cannot be one.
    """
    known = {one.name for one in dataclasses.fields(kind)} - {field}  # type: ignore[arg-type]
    for setting in settings:
        if setting not in known:
            raise InvalidInput("settings", setting, f"known: {', '.join(sorted(known))}")
    return kind(**{field: name}, **settings)


def problem_of(
    given: CMDP | Problem,
    *,
    agents: int | None,
    arguments: Sequence[str],
    budgets: Sequence[float] | None,
    access: str | None,
    discount: float | None = None,
) -> Problem:
    """A finite problem with the settings of a run, which mean what they mean for a file.

    Args:
        given: a problem, or one with an access matrix of its own.
        agents: N; one for each constraint, or for each row of its own matrix, unless given.
        arguments: of a factory, which an object does not have.
        budgets: in place of its own.
        access: a file with a matrix, in place of its own.
        discount: in place of its own.

    Raises:
        InvalidInput: a setting that does not fit the problem, or an argument.
    """
    check_no_arguments("--problem-args", arguments)
    if isinstance(given, Problem):
        name, cmdp, own = given.name, given.cmdp, given.access
    else:
        name, cmdp, own = GIVEN, given, None
    with by_flag("budgets", "discount"):
        cmdp = with_settings(cmdp, budgets=budgets, discount=discount)
    matrix = access_matrix(cmdp.constraint_names, agents, own if access is None else access)
    return Problem(name, cmdp, matrix)


def check_no_arguments(field: str, arguments: Sequence[str]) -> None:
    """Raises InvalidInput for arguments of a factory where an object was given."""
    if arguments:
        raise InvalidInput(field, " ".join(arguments), "none of a problem that is no name")


def check_known_type(given: object, kinds: tuple[type, ...]) -> None:
    """Raises InvalidInput unless a problem is a name or one of these."""
    if not isinstance(given, (str, *kinds)):
        names = ", ".join(["a name", *(kind.__name__ for kind in kinds)])
        raise InvalidInput("problem", type(given).__name__, f"one of {names}")
