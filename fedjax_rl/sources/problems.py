"""The only place that reads problems from names, files and installed data."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import fedjax_rl.cmdp.problems  # noqa: F401  registers
from fedjax_rl.algorithm import problems, register_problem
from fedjax_rl.checks import check_count
from fedjax_rl.cmdp.access import check_access, default_access
from fedjax_rl.cmdp.model import CMDP, BoolArray, FloatArray, from_arrays, with_settings
from fedjax_rl.cmdp.problems import icu_sepsis as sepsis
from fedjax_rl.errors import InvalidInput, MissingExtra, by_flag
from fedjax_rl.records.directory import UNREADABLE, npz_bytes, write_atomically
from fedjax_rl.settings.files import read_yaml
from fedjax_rl.sources.names import factory_of, hint_of, is_file

REQUIRED = ("transition", "reward", "costs", "budgets", "initial", "discount")
PROBLEM_FILES = {"problem": lambda name: name.lower().endswith(".npz"), "access": lambda name: True}
"""Settings that may name a file, and whether a value of theirs does."""
OPTIONAL = ("constraint_names", "access", "support")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A finite problem and who watches what.

    Attributes:
        name: as it was asked for.
        cmdp: the problem.
        access: Γ [N, M], which agent watches which constraint.
    """

    name: str
    cmdp: CMDP
    access: BoolArray


def load_problem(
    reference: str,
    *,
    agents: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    budgets: ArrayLike | None = None,
    discount: ArrayLike | None = None,
    access: str | Path | ArrayLike | None = None,
) -> Problem:
    """Loads a problem by name, from an npz file or from a factory of one's own.

    A factory that takes ``agents`` or ``discount`` is given them unless ``arguments`` set them:
    one that generates a problem builds a constraint per agent, and budgets that suit the
    discount. The constraints of any other problem are dealt among the agents.

    Args:
        reference: a registered name, ``path.npz``, or ``module:factory``.
        agents: N, one per constraint unless given.
        arguments: keyword arguments of the factory.
        budgets: [M], in place of the problem's own.
        discount: in place of the problem's own.
        access: matrix [N, M], or a YAML or npz file that holds one.

    Raises:
        InvalidInput: no such problem, or any part of it cannot be used.
    """
    stored_access: Any = None
    if is_file(reference):
        if arguments:
            raise InvalidInput("--problem-args", sorted(arguments)[0], "a file takes no arguments")
        cmdp, stored_access = read_problem(Path(reference))
    else:
        offered = {"agents": agents, "discount": discount}
        with by_flag(*{"discount"} - {*(arguments or {})}):
            cmdp = _made(reference, arguments or {}, offered)
    with by_flag("budgets", "discount"):
        cmdp = with_settings(cmdp, budgets=budgets, discount=discount)
    return _shared(reference, cmdp, agents, access if access is not None else stored_access)


def problem_from_cmdp(
    cmdp: CMDP, *, agents: int | None = None, access: str | Path | ArrayLike | None = None
) -> Problem:
    """A problem built in Python, with one constraint per agent unless told otherwise.

    Raises:
        InvalidInput: an access matrix that does not fit.
    """
    return _shared("arrays", cmdp, agents, access)


def read_problem(path: Path) -> tuple[CMDP, np.ndarray | None]:
    """Reads ``transition, reward, costs, budgets, initial, discount`` from an npz file.

    Optional arrays are ``constraint_names``, ``access`` and ``support``; nothing is unpickled.

    Returns:
        The problem, and the access matrix if the file has one.

    Raises:
        InvalidInput: the file or an array in it cannot be used.
    """
    arrays: dict[str, Any] = dict(_npz(path, "--problem"))
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise InvalidInput(
            "--problem",
            path,
            f"array {missing[0]!r} is missing; it has {', '.join(sorted(arrays)) or 'none'}",
        )
    unknown = sorted(set(arrays) - {*REQUIRED, *OPTIONAL})
    if unknown:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise InvalidInput("--problem", path, f"array {unknown[0]!r} is not one of {known}")
    access = arrays.pop("access", None)
    return from_arrays(**arrays), access


def save_problem(path: str | Path, cmdp: CMDP, access: ArrayLike | None = None) -> None:
    """Writes a problem as an npz file that `read_problem` reads back bit for bit.

    Raises:
        InvalidInput: the name does not end in ``.npz``, the access matrix does not fit, or the
            place cannot be written.
    """
    path = Path(path)
    if not is_file(path.name):
        raise InvalidInput("path", path, "a file name that ends in .npz")
    arrays = {name: getattr(cmdp, name) for name in (*REQUIRED, "support", "constraint_names")}
    if access is not None:
        arrays["access"] = check_access(access, cmdp.num_constraints, cmdp.constraint_names)
    try:
        write_atomically(path, npz_bytes(arrays))
    except OSError as error:
        raise InvalidInput("path", path, f"a writable place ({error.strerror})") from None


def load_icu_sepsis(discount: float = 0.99) -> CMDP:
    """Sepsis treatment, 716 states and 25 actions from MIMIC-III; four hospitals (extra icu)."""
    with _sepsis_arrays() as arrays:
        return sepsis.icu_sepsis(arrays, discount)


def clinicians_policy() -> FloatArray:
    """The behaviour policy of the clinicians of icu-sepsis, π(a | s) [716, 25].

    In the three states after the stay, where nobody did anything, it is uniform.

    Raises:
        MissingExtra: the icu-sepsis package is not installed.
    """
    with _sepsis_arrays() as arrays:
        policy = np.asarray(arrays["expert_policy"], dtype=np.float64)
    acted = policy.any(1, keepdims=True)
    return np.where(acted, policy, 1.0 / policy.shape[1])


register_problem("icu-sepsis", load_icu_sepsis)


def _shared(
    name: str, cmdp: CMDP, agents: int | None, access: str | Path | ArrayLike | None
) -> Problem:
    return Problem(name, cmdp, access_matrix(cmdp.constraint_names, agents, access))


def access_matrix(
    constraint_names: tuple[str, ...], agents: int | None, access: str | Path | ArrayLike | None
) -> BoolArray:
    """Γ [N, M] from a matrix or a file that holds one; else one constraint per agent, dealt.

    Raises:
        InvalidInput: it does not fit the constraints or the number of agents.
    """
    num_constraints = len(constraint_names)
    if agents is not None:
        check_count("--agents", agents, least=1)
    if access is None:
        return default_access(num_constraints if agents is None else agents, num_constraints)
    given: Any = access
    if isinstance(access, str | Path):
        given = _read_access(Path(access), constraint_names)
    with by_flag(*["access"] * isinstance(access, str | Path)):
        matrix = check_access(given, num_constraints, constraint_names)
    if agents is not None and agents != len(matrix):
        raise InvalidInput(
            "--agents",
            agents,
            f"the access matrix has {len(matrix)} rows; leave it out, or give --access",
        )
    return matrix


def _made(reference: str, arguments: Mapping[str, Any], offered: Mapping[str, Any]) -> CMDP:
    """The factory's problem; what is offered fills arguments that it takes and nobody set."""
    cmdp = call_factory(factory_of(problems, reference), reference, arguments, offered)
    if not isinstance(cmdp, CMDP):
        raise InvalidInput(
            "--problem", reference, f"a factory of a CMDP, not {type(cmdp).__name__}"
        )
    return cmdp


def call_factory(
    factory: Callable[..., Any],
    reference: str,
    arguments: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> Any:
    """Calls a factory; offered values fill arguments that it takes and that are not given.

    Raises:
        InvalidInput: the factory does not take these arguments.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError:
        raise InvalidInput("--problem", reference, "a factory with a signature") from None
    accepted = signature.parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        for name in arguments:
            if name not in accepted:
                known = ", ".join(accepted) or "none"
                raise InvalidInput("--problem-args", name, f"{reference} takes {known}")
    used = {
        name: value
        for name, value in offered.items()
        if name in accepted and name not in arguments and value is not None
    }
    try:
        signature.bind(**arguments, **used)
    except TypeError as error:
        raise InvalidInput("--problem-args", dict(arguments), f"{reference}: {error}") from None
    return factory(**arguments, **used)


def _npz(path: Path, field: str) -> dict[str, np.ndarray]:
    with _opened(path, field) as stored:
        return dict(stored)


@contextlib.contextmanager
def _opened(path: Path, field: str) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an npz file, each read when it is asked for and not kept."""
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with stored:
            yield stored
    except InvalidInput:
        raise
    except FileNotFoundError:
        hint = hint_of(path.name, ()) if is_file(path.name) else ""
        raise InvalidInput(field, path, f"{hint}no such file") from None
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(field, path, f"a readable npz file of plain arrays ({reason})") from None


def _read_access(path: Path, constraint_names: tuple[str, ...]) -> Any:
    if is_file(path.name):
        arrays = _npz(path, "--access")
        if "access" not in arrays:
            raise InvalidInput("--access", path, "array 'access' is missing")
        return arrays["access"]
    document = read_yaml("--access", path)
    if isinstance(document, dict):
        return [_row(names, constraint_names) for names in document.values()]
    return document


def _row(watched: Any, constraint_names: tuple[str, ...]) -> list[bool]:
    names = watched if isinstance(watched, list) else [watched]
    for name in names:
        if name not in constraint_names:
            known = ", ".join(constraint_names)
            raise InvalidInput("--access", repr(name), f"names of constraints: {known}")
    return [name in names for name in constraint_names]


def _sepsis_arrays() -> contextlib.AbstractContextManager[Mapping[str, np.ndarray]]:
    """Arrays of the installed package, which is not imported: it would pull in old gym."""
    found = importlib.util.find_spec("icu_sepsis")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("--problem icu-sepsis", "icu-sepsis", "icu")
    return _opened(
        Path(found.submodule_search_locations[0]) / "envs" / "assets" / "dynamics.npz",
        "--problem icu-sepsis",
    )
