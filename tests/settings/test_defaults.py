"""The default of a setting is written once, and whoever else has it refers to it."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import fedjax_rl
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.tabular.config import FedNPGConfig

PACKAGE = pathlib.Path(fedjax_rl.__file__).parent
SETTINGS = (FedNPGConfig, DeepConfig, HeteroConfig)
NOTHING = (None, (), 0, 1, "none", False)
"""What stands for no such thing, or for one of it, whoever says it."""
APART = {
    ("episodes", "Evaluate"): "of eval, which judges runs of any family",
    ("episodes", "EvaluationRequest"): "of eval, which judges runs of any family",
}
"""Defaults that are another thing's, by name and by whose they are."""


def literal(node: ast.expr | None) -> Any:
    """The value that is written there; nothing where it is another's name, or a call."""
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def written(tree: ast.AST) -> Iterator[tuple[str, str, Any]]:
    """Whose, name and value of every default in a module: of classes and of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for one in node.body:
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                    yield node.name, one.target.id, literal(one.value)
        elif isinstance(node, ast.FunctionDef):
            own = node.args
            last = own.args[len(own.args) - len(own.defaults) :]
            for argument, default in (
                *zip(last, own.defaults, strict=True),
                *zip(own.kwonlyargs, own.kw_defaults, strict=True),
            ):
                yield node.name, argument.arg, literal(default)


def literals(sources: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """Who writes the default of a setting as a literal, by its name and value.

    Types of settings of runs count as one: families have settings of one name.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for source in sources:
        for owner, name, value in written(ast.parse(source)):
            defaults = [getattr(kind, name) for kind in SETTINGS if hasattr(kind, name)]
            if value not in NOTHING and value in defaults and (name, owner) not in APART:
                whose = "settings" if owner in {kind.__name__ for kind in SETTINGS} else owner
                found.setdefault((name, repr(value)), set()).add(whose)
    return found


def test_the_default_of_a_setting_is_written_once():
    """As a literal, that is; ``DeepConfig.problem`` and ``DEFAULTS.window`` refer to one."""
    found = literals(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert {"window", "samplers", "rounds", "hidden"} <= {name for name, _ in found}
    assert {key: owners for key, owners in found.items() if len(owners) > 1} == {}


@pytest.mark.parametrize(
    "again",
    [
        "class Schedule(NamedTuple):\n    samplers: int = 4",
        "def run(problem: str = 'windy-cliff'): ...",
        "def run(*, hidden: tuple[int, ...] = (64, 64)): ...",
    ],
)
def test_a_second_default_is_found(again):
    sources = [file.read_text() for file in PACKAGE.rglob("*.py")]
    assert any(len(owners) > 1 for owners in literals([*sources, again]).values())
