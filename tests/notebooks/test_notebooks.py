"""Every notebook runs from start to end at its small size, and says what it found."""

from __future__ import annotations

import ast
import contextlib
import re
import runpy

import matplotlib
import pytest

from notebooks import execute
from notebooks.__main__ import main
from notebooks.style import FIGURES_VARIABLE, SIZE_VARIABLE, sized
from tests.quick import compiled_quickly

NOTEBOOKS = execute.found()
COMPILED = ("09_fedppo", "10_gepo", "11_tour")
"""Nearly all of their time is compilation."""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The size and the directory of figures, as a notebook is told them."""
    monkeypatch.setenv(SIZE_VARIABLE, "small")
    monkeypatch.setenv(FIGURES_VARIABLE, str(tmp_path / "figures"))
    with matplotlib.rc_context():
        yield tmp_path / "figures"


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, small, capsys):
    """As a plain script: all notebooks of a process share what is compiled and solved."""
    with compiled_quickly() if name in COMPILED else contextlib.nullcontext():
        runpy.run_path(str(NOTEBOOKS[name]), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"\d", lines[-1]), "the last line is a sentence with numbers"
    assert lines[-1].endswith(".")
    for suffix in (".svg", ".png"):
        assert (small / f"{name}{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_last_cell_says_and_asserts(name):
    last = ast.parse(NOTEBOOKS[name].read_text().split("# %%")[-1]).body
    sentence = [statement for statement in last if "print" in ast.unparse(statement)]
    assert any(isinstance(node, ast.FormattedValue) for node in ast.walk(sentence[-1]))
    assert any(isinstance(statement, ast.Assert) for statement in last)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_documentation_quotes_it(name):
    sentence = execute.published(name)
    assert sentence, f"no sentence of {name} in docs/notebooks.md"
    assert re.search(r"\d", sentence)
    page = execute.PAGE.read_text(encoding="utf-8")
    assert f"(figures/notebooks/{name}.png)" in page
    assert f"(figures/notebooks/{name}.svg)" in page
    assert (execute.PUBLISHED / f"{name}.png").exists()
    assert (execute.PUBLISHED / f"{name}.svg").exists()


@pytest.mark.slow
def test_one_notebook_runs_in_a_kernel(tmp_path, monkeypatch):
    """The command a reader uses, with the notebook and its figures left behind."""
    command = ["notebooks", "02_natural_gradient", "--small", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 0
    assert (tmp_path / "figures" / "02_natural_gradient.svg").exists()
    written = (tmp_path / "02_natural_gradient.ipynb").read_text()
    assert '"image/png"' in written
    assert "problems F†∇V equals" in written


BROKEN = """# ---
# ---
# %%
print("half", "way")
# %%
assert 1 > 2, "never"
"""


def test_a_broken_notebook_is_reported(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    done = execute.execute(path, "small", tmp_path / "out")
    assert done.sentence == ""
    assert done.error is not None
    assert "AssertionError: never" in done.error
    assert "half way" in (tmp_path / "out" / "broken.ipynb").read_text()


def test_a_size_that_does_not_exist(monkeypatch):
    monkeypatch.setenv(SIZE_VARIABLE, "medium")
    with pytest.raises(ValueError, match="medium"):
        sized(1, 2)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 11
    assert not {"style", "execute", "__main__", "__init__"} & set(NOTEBOOKS)
