"""Public docstrings say what a caller needs: arguments, fields, shapes, errors and sources.

Ruff asks for docstrings of modules, classes and functions, and for every name of an ``Args:``
section (rules D100, D101, D103 and D417); here is what it cannot ask for.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import fedjax_rl

PACKAGE = pathlib.Path(fedjax_rl.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NUMERIC = ("ops", "cmdp", "policies", "learners", "federation", "hetero/losses")
"""Rooms whose functions take and return arrays."""
ARRAY = re.compile(r"\b(Array|ndarray|FloatArray|BoolArray|IndexArray)\b")
SHAPE = re.compile(r"\[[^\]]*\]|\bscalars?\b|\belementwise\b|\bany shape\b")
SOURCE = re.compile(r"arXiv \d{4}\.\d{4,5}|[A-Z]\w+( et al\.|,? and [A-Z]\w+)*,? (19|20)\d\d")
PARAMETERS_WITHOUT_A_LIST = 2

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Named(NamedTuple):
    """A public function or method, with the class it is of."""

    function: Function
    owner: ast.ClassDef | None

    @property
    def label(self) -> str:
        owner = f"{self.owner.name}." if self.owner else ""
        return f"{owner}{self.function.name} (line {self.function.lineno})"

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.function) or ""


def parsed(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_public(node: ast.AST) -> bool:
    return not getattr(node, "name", "_").startswith("_")


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    yield from (node for node in tree.body if isinstance(node, ast.ClassDef) and is_public(node))


def functions(tree: ast.Module) -> Iterator[Named]:
    """Public functions and methods; not overloads, which have no body."""
    for owner in (None, *classes(tree)):
        for node in tree.body if owner is None else owner.body:
            if not isinstance(node, Function) or not is_public(node):
                continue
            if not any("overload" in ast.unparse(mark) for mark in node.decorator_list):
                yield Named(node, owner)


def parameters(function: Function) -> list[ast.arg]:
    listed = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return [one for one in listed if one.arg not in ("self", "cls")]


def statements(function: Function) -> int:
    """How many, without the docstring."""
    return len(function.body) - (ast.get_docstring(function) is not None)


def bases(owner: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in owner.bases}


def identify(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


# --- The rules: each gives the names in a module that break it --------------------------------


def undocumented(tree: ast.Module, promised: set[str]) -> list[str]:
    """Methods of several statements that no docstring explains, nor the one they implement.

    Ruff has the rest; its rule for methods, D102, would ask for words on every property of one
    line and on every method of a Protocol once more for every class that has it.
    """
    return [
        named.label
        for named in functions(tree)
        if not named.docstring
        and statements(named.function) > 1
        and named.function.name not in promised
    ]


def protocol_methods() -> set[str]:
    """Names that a Protocol of the package defines, where their docstrings are."""
    return {
        node.name
        for path in MODULES
        for owner in classes(parsed(path))
        if "Protocol" in bases(owner)
        for node in owner.body
        if isinstance(node, Function) and ast.get_docstring(node)
    }


def unlisted(tree: ast.Module) -> list[str]:
    """Functions of three or more parameters that do not list them."""
    return [
        named.label
        for named in functions(tree)
        if len(parameters(named.function)) > PARAMETERS_WITHOUT_A_LIST
        and not re.search(r"^Args:$", named.docstring, re.M)
    ]


def shapeless(tree: ast.Module) -> list[str]:
    """Functions that take or return arrays and do not say of what shape."""
    return [
        named.label
        for named in functions(tree)
        if any(
            hint is not None and ARRAY.search(ast.unparse(hint))
            for hint in (
                named.function.returns,
                *(p.annotation for p in parameters(named.function)),
            )
        )
        and named.docstring
        and not SHAPE.search(named.docstring)
    ]


def silent(tree: ast.Module) -> list[str]:
    """Functions that refuse an input and do not say so."""
    return [
        named.label
        for named in functions(tree)
        if any(
            isinstance(node, ast.Raise) and node.exc and "InvalidInput(" in ast.unparse(node.exc)
            for node in ast.walk(named.function)
        )
        and not re.search(r"\bRaises(:.*| )\bInvalidInput\b", named.docstring, re.S)
    ]


def unexplained(tree: ast.Module) -> list[str]:
    """Fields of named tuples and dataclasses without a word on them.

    A word is an entry under ``Attributes:`` (for a constructor of one's own, ``Args:``), or a
    string below the field, which the command line shows as its help. A field that tyro is told
    to spread has the words of its own fields, and one that it suppresses those of the base.
    """
    missing = []
    for owner in classes(tree):
        marks = " ".join(map(ast.unparse, owner.decorator_list))
        if "NamedTuple" not in bases(owner) and "dataclass" not in marks:
            continue
        listed = (ast.get_docstring(owner) or "").partition("Attributes:")[2]
        entries = re.findall(r"^ {4}([\w, ]+):", listed, re.M)
        known = {name.strip() for entry in entries for name in entry.split(",")}
        for field, below in zip(owner.body, [*owner.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            helped = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            hint = ast.unparse(field.annotation)
            spread = "tyro.conf.arg(name='')" in hint or "tyro.conf.Suppress" in hint
            name = field.target.id
            if not (helped or spread or name.startswith("_") or name in known):
                missing.append(f"{owner.name}.{name}")
    return missing


def unsourced(tree: ast.Module, factories: set[str]) -> list[str]:
    """Losses and learners that do not name their source, in their module or by themselves."""
    text = ast.get_docstring(tree) or ""
    return [
        named.label
        for named in functions(tree)
        if named.function.name in factories and not SOURCE.search(f"{text}\n{named.docstring}")
    ]


def registered() -> set[str]:
    """Names of the factories of losses and learners that the package registers."""
    return {
        ast.unparse(node.args[1])
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("register_loss", "register_learner")
    }


# --- The rules on the package -----------------------------------------------------------------


def numeric() -> list[pathlib.Path]:
    return [path for path in MODULES if identify(path).startswith(NUMERIC)]


def test_methods_are_documented() -> None:
    promised = protocol_methods()
    assert {
        identify(p): found for p in MODULES if (found := undocumented(parsed(p), promised))
    } == {}


def test_fields_are_explained() -> None:
    assert {identify(p): found for p in MODULES if (found := unexplained(parsed(p)))} == {}


def test_refusals_are_told() -> None:
    assert {identify(p): found for p in MODULES if (found := silent(parsed(p)))} == {}


def test_numeric_functions_list_their_arguments() -> None:
    assert {identify(p): found for p in numeric() if (found := unlisted(parsed(p)))} == {}


def test_numeric_functions_say_their_shapes() -> None:
    assert {identify(p): found for p in numeric() if (found := shapeless(parsed(p)))} == {}


def test_losses_and_learners_name_their_sources() -> None:
    factories = registered()
    assert {"gepo", "npg"} <= factories
    rooms = [path for path in numeric() if "learners" in path.parts or "losses" in path.parts]
    assert {identify(p): found for p in rooms if (found := unsourced(parsed(p), factories))} == {}


# --- The rules find what they are for ---------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "source", "found"),
    [
        ("undocumented", "class A:\n  def f(self):\n    x = 1\n    return x", 1),
        ("undocumented", "class A:\n  def f(self):\n    return 1", 0),
        ("undocumented", "class A:\n  def close(self):\n    x = 1\n    return x", 0),
        ("unlisted", "def f(a, b, c):\n  'Adds.'", 1),
        ("unlisted", "def f(a, b):\n  'Adds.'", 0),
        ("unlisted", 'def f(a, b, c):\n  """Adds.\n\n  Args:\n    a: one.\n  """', 0),
        ("shapeless", "def f(a: jax.Array):\n  'Doubles.'", 1),
        ("shapeless", "def f(a) -> tuple[Array, int]:\n  'Doubles.'", 1),
        ("shapeless", "def f(a: jax.Array):\n  'Doubles [K].'", 0),
        ("silent", "def f(a):\n  'Checks.'\n  raise InvalidInput('a', a, 'b')", 1),
        ("silent", "def f(a):\n  'Raises InvalidInput.'\n  raise InvalidInput('a', a, 'b')", 0),
        ("unexplained", "class A(NamedTuple):\n  'Two.'\n  x: int\n  y: int", 2),
        (
            "unexplained",
            'class A(NamedTuple):\n  """Two.\n\n  Attributes:\n      x, y: all.\n  """\n  x: int'
            "\n  y: int",
            0,
        ),
        ("unexplained", "@dataclass\nclass A:\n  x: int\n  'One.'\n  y: int", 1),
        ("unsourced", "def gepo():\n  'Group.'", 1),
        ("unsourced", "'A module (arXiv 2508.17850).'\ndef gepo():\n  'Group.'", 0),
        ("unsourced", "def gepo():\n  'Group (Held, Wolfe and Crowder 1974).'", 0),
    ],
)
def test_a_rule_finds_what_it_is_for(rule: str, source: str, found: int) -> None:
    known = {"undocumented": [{"close"}], "unsourced": [{"gepo"}]}.get(rule, [])
    assert len(globals()[rule](ast.parse(source), *known)) == found
