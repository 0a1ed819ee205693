"""Which room may use which; see docs/architecture.md for why."""

from __future__ import annotations

import ast
import collections
import pathlib
import sys
from collections.abc import Callable, Iterator

import pytest

import fedjax_rl

PACKAGE = pathlib.Path(fedjax_rl.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES_AT_MOST = 300

BASE = {
    *("errors", "checks", "registry", "plugins", "algorithm", "precision", "backend", "columns"),
}
FRONT = {"__init__", "__main__"}
"""The package's own door and ``python -m fedjax_rl``: they may use every room."""

MAY_USE: dict[str, set[str]] = {
    **dict.fromkeys(BASE, BASE),
    "statistics": {"errors"},
    "execution": BASE,
    "ops": BASE,
}
MAY_USE["cmdp"] = MAY_USE["policies"] = BASE | {"ops"}
MAY_USE["envs"] = MAY_USE["cmdp"] | {"cmdp", "policies"}
MAY_USE["learners"] = MAY_USE["envs"] | {"envs"}
MAY_USE["federation"] = MAY_USE["hetero"] = MAY_USE["learners"] | {"learners"}
MAY_USE["ranking"] = BASE | {"cmdp"}
MATHEMATICS = set(MAY_USE) | {"federation", "hetero"}

AROUND = (
    *(("settings", "terminal", "cluster"), ("records",), ("sources", "figures", "training")),
    *(("families",), ("sweeps",), ("runs",), ("report",), ("cli",)),
)
"""Rooms around the mathematics, in layers: each may use those of the layers before its own."""
below = MATHEMATICS | FRONT
for layer in AROUND:
    MAY_USE |= {name: set(below) for name in layer}
    below |= set(layer)

OUTSIDE_WORLD_ROOMS = {room for layer in AROUND for room in layer}
LARGEST_SHARE = 0.2
"""Of the package's lines, that a room may have."""
OUTSIDE_WORLD_MODULES = {
    *("csv", "datetime", "io", "logging", "os", "pathlib", "shutil", "subprocess", "tempfile"),
    *("time", "matplotlib", "rich", "tyro", "yaml"),
}
OUTSIDE_WORLD_CALLS = {"input", "open", "print"}
ARRAY_FILE_CALLS = {"genfromtxt", "load", "loadtxt", "save", "savetxt", "savez", "savez_compressed"}
ALLOWED_OUTSIDE = {
    ("backend", "os"): "XLA reads its flags from the environment, before the backend starts",
    ("backend", "tempfile"): "only asked whether there is a folder at all, before chex is imported",
}
THIRD_PARTY_OF_STATISTICS = {"numpy"}


def room(path: pathlib.Path) -> str:
    """The first name below the package: ``cmdp`` of cmdp/solve/lp.py, ``errors`` of errors.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Absolute dotted names of everything a module imports, wherever in it the import stands.

    ``from x import y`` gives ``x.y``, for y may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join((*above, *filter(None, [node.module])))
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) == "import_module":
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def called_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def imports_of(path: pathlib.Path) -> set[str]:
    package = ("fedjax_rl", *path.relative_to(PACKAGE).parent.parts)
    return set(imported(path.read_text(), package))


def used_rooms(names: set[str]) -> set[str]:
    inside = (name.split(".") for name in names if name.split(".")[0] == "fedjax_rl")
    rooms = {item.stem for item in PACKAGE.iterdir()}
    return {parts[1] if len(parts) > 1 and parts[1] in rooms else "__init__" for parts in inside}


def identify(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_doors_open_one_way(path: pathlib.Path) -> None:
    here = room(path)
    if here in FRONT:
        return
    assert here in MAY_USE, f"{here} is a new room: say in MAY_USE what it may use"
    wrong = used_rooms(imports_of(path)) - MAY_USE[here] - {here}
    assert not wrong, f"{here} must not use {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_the_mathematics_never_meets_the_outside_world(path: pathlib.Path) -> None:
    here = room(path)
    if here in OUTSIDE_WORLD_ROOMS | FRONT:
        return
    roots = {name.split(".")[0] for name in imports_of(path)}
    wrong = {name for name in roots & OUTSIDE_WORLD_MODULES if (here, name) not in ALLOWED_OUTSIDE}
    assert not wrong, f"imports {', '.join(sorted(wrong))}"
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    wrong = {ast.unparse(call.func) for call in calls if touches_a_file_or_terminal(call)}
    assert not wrong, f"calls {', '.join(sorted(wrong))}"


def touches_a_file_or_terminal(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name in OUTSIDE_WORLD_CALLS
        case ast.Attribute(value=ast.Name(id="np" | "numpy" | "jnp"), attr=name):
            return name in ARRAY_FILE_CALLS
    return False


def test_figures_of_runs_are_drawn_in_one_place() -> None:
    """Films aside; every other module describes, and a page and a file show the same."""
    roots = {identify(path): {n.split(".")[0] for n in imports_of(path)} for path in MODULES}
    drawing = {name for name, used in roots.items() if "matplotlib" in used}
    assert drawing == {"figures/png.py", "families/networks/pictures.py"}


def test_statistics_need_only_numpy() -> None:
    path = PACKAGE / "statistics.py"
    if path.exists():
        roots = {name.split(".")[0] for name in imports_of(path)} - {"fedjax_rl"}
        assert roots - set(sys.stdlib_module_names) <= THIRD_PARTY_OF_STATISTICS


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_modules_are_short_and_finished(path: pathlib.Path) -> None:
    source = path.read_text()
    assert lines_of(path) <= LINES_AT_MOST
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert "NotImplementedError" not in names


def test_the_command_line_starts_without_slow_libraries(run_python: Callable) -> None:
    """A finite problem's first row waits for none of them; gymnax alone takes seconds."""
    slow = ("gymnax", "matplotlib.pyplot", "orbax", "icu_sepsis", "gym")
    done = run_python(
        f"import sys, fedjax_rl, fedjax_rl.cli; print([m for m in {slow} if m in sys.modules])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def lines_of(path: pathlib.Path) -> int:
    return len(path.read_text().splitlines())


def test_no_room_is_too_large() -> None:
    """Nobody finds a line in a room that holds half of the house."""
    sizes: collections.Counter[str] = collections.Counter()
    for path in MODULES:
        sizes[room(path)] += lines_of(path)
    whole = sizes.total()
    found = {name: f"{count / whole:.1%}" for name, count in sizes.most_common()}
    print(whole, found)
    assert max(sizes.values()) <= LARGEST_SHARE * whole, found


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("fedjax_rl", *(part for part in parts if part != "__init__")))


def used_modules(path: pathlib.Path, known: set[str]) -> set[str]:
    """Modules of the package that one imports, wherever in it the import stands."""
    names = imports_of(path)
    return {name if name in known else name.rpartition(".")[0] for name in names} & known


def cycles(uses: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Modules that reach themselves, by those that they reach as well."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        todo = [start]
        while todo:
            todo += uses[todo.pop()] - found - set(todo)
            found |= set(todo)
        return found

    far = {name: reached(name) for name in uses}
    return sorted({tuple(sorted(b for b in far[a] if a in far[b])) for a in far if a in far[a]})


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    known = {module_of(path): path for path in MODULES}
    uses = {name: used_modules(path, set(known)) - {name} for name, path in known.items()}
    assert cycles(uses) == []


def test_circles_are_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [("a", "b", "c")]


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_nobody_imports_a_private_name(path: pathlib.Path) -> None:
    names = {name.rpartition(".")[2] for name in imports_of(path) if "fedjax_rl" in name}
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert not private


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import fedjax_rl.sources.problems", {"sources"}),
        ("from fedjax_rl import cli", {"cli"}),
        ("from fedjax_rl.cmdp.model import CMDP", {"cmdp"}),
        ("from ..runs import session", {"runs"}),
        ("from . import access", {"cmdp"}),
        ("from .. import __version__", {"__init__"}),
        ("def late():\n    from fedjax_rl.cli import main", {"cli"}),
        ("import importlib\nimportlib.import_module('fedjax_rl.runs')", {"runs"}),
        ("import jax.numpy as jnp", set()),
    ],
)
def test_the_walk_sees_every_kind_of_import(source: str, rooms: set[str]) -> None:
    assert used_rooms(set(imported(source, ("fedjax_rl", "cmdp")))) == rooms
