"""Every example in a docstring runs as it is shown, and the main builders have one.

An example finds the public names that its module defines, as after ``from module import *``, and
imports everything else: a reader can copy it.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import fedjax_rl
from fedjax_rl.families import registry as families
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.slow

PACKAGE = pathlib.Path(fedjax_rl.__file__).parent
PROMPT = ">>> "
HEADING = "Examples:"
"""In the singular the API reference would quote what follows, prompts and all."""
MAIN = """
    cmdp.model.from_arrays
    cmdp.solve.solver.solve
    envs.costs.budget_as
    envs.finite.finite_task
    envs.task.constrained
    envs.task.vary
    execution.sweep.sweep
    execution.train.train
    families.networks.training.fedppo
    families.registry.register_family
    families.stale.training.hetero_rl
    families.tabular.programs.settings_type
    families.tabular.training.fednpg
    federation.aggregate.logit_mean
    federation.aggregate.of_messages
    federation.aggregate.parameter_mean
    federation.aggregate.probability_mean
    federation.channels.clipped
    federation.correction.control_variate
    federation.participation.sampled
    federation.round.federate
    figures.description.Figure
    figures.png.write
    hetero.learner.asynchronous
    hetero.losses.build.build_loss
    hetero.losses.sequences.gepo
    hetero.schedule.simulate
    learners.deep.design.design_of
    learners.deep.ppo.ppo
    learners.tabular.crpo.crpo
    learners.tabular.npg.npg
    learners.tabular.optimistic.optimistic
    learners.tabular.regularized.regularized
    ops.means.weighted_mean
    ops.projection.onto_simplex
    ops.returns.generalized_advantages
    registry.Registry.register
    settings.own.extended
    statistics.interquartile_mean
    statistics.stratified_bootstrap
    sweeps.plan.plan_of
    sweeps.session.sweep_and_record
"""
"""What users build with, below the package's name."""

Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Example(NamedTuple):
    """A docstring with prompts: its module, the name of what it is of, and its text."""

    module: str
    name: str
    text: str

    @property
    def label(self) -> str:
        return ".".join(filter(None, [self.module, self.name])).removeprefix("fedjax_rl.")


def documented(node: ast.AST, name: str = "") -> Iterator[tuple[str, Documented]]:
    """Classes and functions by their dotted names within the module."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, Documented):
            inside = f"{name}.{inner.name}".lstrip(".")
            yield inside, inner
            yield from documented(inner, inside)


def examples_in(source: str, module: str) -> Iterator[Example]:
    """The docstrings of a module that have prompts."""
    tree = ast.parse(source)
    for name, node in (("", tree), *documented(tree)):
        text = ast.get_docstring(node) or ""
        if PROMPT in text:
            yield Example(module, name, text)


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


EXAMPLES = [
    example
    for path in sorted(PACKAGE.rglob("*.py"))
    for example in examples_in(path.read_text(encoding="utf-8"), module_of(path))
]


def namespace(module: str) -> dict[str, Any]:
    """The public names that a module defines itself."""
    return {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    }


def complaints(text: str, names: dict[str, Any]) -> str:
    """What is wrong with the examples of a docstring; nothing if all are true."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.DocTestParser().get_doctest(
        text, {"__name__": "__main__", **names}, "example", None, 0
    )
    told: list[str] = []
    results = doctest.DocTestRunner(optionflags=flags).run(found, out=told.append)
    assert results.attempted == text.count(PROMPT)
    return "".join(told)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The families that an example registers are forgotten afterwards."""
    monkeypatch.setattr(families, "_registered", dict(families._registered))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.label)
def test_examples_are_true(
    example: Example, restored: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = complaints(example.text, namespace(example.module))
    assert not found, found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.label)
def test_examples_have_a_heading_that_the_reference_knows(example: Example) -> None:
    before = example.text.partition(PROMPT)[0]
    assert re.findall(r"^\w+:$", before, re.M)[-1:] == [HEADING]


def test_the_main_builders_have_an_example() -> None:
    assert sorted(set(MAIN.split()) - {example.label for example in EXAMPLES}) == []


def test_wrong_examples_are_found() -> None:
    source = 'def double(x):\n  """Twice.\n\n  >>> double(2)\n  5\n  """\n  return 2 * x\n'
    (wrong,) = examples_in(source, "fedjax_rl.of_nobody")
    assert wrong.label == "of_nobody.double"
    assert "Expected:\n    5\nGot:\n    4" in complaints(wrong.text, {"double": lambda x: 2 * x})
    assert "NameError" in complaints(wrong.text, {})
