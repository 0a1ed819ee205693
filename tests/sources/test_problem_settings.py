"""Settings that fill a factory's arguments, and the clinicians behind icu-sepsis."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from fedjax_rl.cmdp.problems import random_mdp, windy_cliff
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.errors import InvalidInput
from fedjax_rl.sources import problems as sources
from fedjax_rl.sources.problems import clinicians_policy, load_problem, save_problem

pytestmark = pytest.mark.timeout(60)

installed = pytest.mark.skipif(
    importlib.util.find_spec("icu_sepsis") is None, reason="icu-sepsis is not installed"
)


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Writes a factory of one's own and returns how it is referred to."""

    def write(source):
        (tmp_path / "settings_factory.py").write_text(source)
        return "settings_factory:make"

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    sys.modules.pop("settings_factory", None)


def test_budgets_of_a_generated_problem_suit_the_discount_asked_for():
    problem = load_problem("random-mdp", discount=0.5).cmdp
    expected = random_mdp(discount=0.5)
    np.testing.assert_array_equal(problem.budgets, expected.budgets)
    assert problem.notes == expected.notes
    assert not np.allclose(problem.budgets, random_mdp().budgets)


@pytest.mark.parametrize("discount", [0.0, 0.3, 0.95])
def test_another_discount_leaves_a_generated_problem_feasible(discount):
    """With the budgets of γ = 0.9 a longer horizon would satisfy nobody."""
    problem = load_problem("random-mdp", discount=discount).cmdp
    assert float(problem.discount) == discount
    slack = solve(problem).slater_slack
    assert float(problem.notes.rpartition("Slater slack ")[2]) == pytest.approx(slack, rel=1e-3)


def test_an_argument_sets_the_constraints_apart_from_the_agents():
    problem = load_problem("windy-cliff", agents=2, arguments={"agents": 6})
    assert problem.cmdp.num_constraints == 6
    np.testing.assert_array_equal(problem.access, [[1, 0] * 3, [0, 1] * 3])


def test_a_required_argument_that_nobody_set_is_named(factory):
    reference = factory("def make(length): raise AssertionError")
    with pytest.raises(InvalidInput, match=r"--problem-args: got \{\}; .*argument: 'length'$"):
        load_problem(reference)


def test_an_error_inside_a_factory_is_not_blamed_on_its_arguments(factory):
    with pytest.raises(TypeError, match="has no len"):
        load_problem(factory("def make(): return len(3)"))


def test_a_path_may_be_text(tmp_path):
    save_problem(str(tmp_path / "mine.npz"), windy_cliff(2))
    assert load_problem(str(tmp_path / "mine.npz")).cmdp.num_constraints == 2


def test_a_failed_write_keeps_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.npz"
    save_problem(path, windy_cliff(2))

    def half(self, content):
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", half)
        with pytest.raises(InvalidInput, match="No space left"):
            save_problem(path, windy_cliff(3))
    assert load_problem(str(path)).cmdp.num_constraints == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.npz"]


def test_yaml_makes_no_python_objects(tmp_path):
    path = tmp_path / "access.yaml"
    path.write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(InvalidInput, match=r"access\.yaml; valid YAML"):
        load_problem("windy-cliff", access=path)


@installed
def test_the_clinicians_policy_is_a_policy_everywhere():
    policy = clinicians_policy()
    assert policy.shape == (716, 25)
    assert policy.dtype == np.float64
    assert (policy >= 0).all()
    np.testing.assert_allclose(policy.sum(1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(policy[-3:], 1 / 25)
    assert (policy[:-3] == 0).any(1).all(), "in no state of the stay did they do everything"


@installed
def test_the_policy_is_read_without_the_large_arrays(monkeypatch):
    read = []
    original = np.lib.npyio.NpzFile.__getitem__

    def noted(self, name):
        read.append(name)
        return original(self, name)

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", noted)
    clinicians_policy()
    assert read == ["expert_policy"]


@installed
def test_the_package_itself_is_never_imported(run_python):
    done = run_python(
        "import sys; from fedjax_rl.sources.problems import load_problem;"
        "load_problem('icu-sepsis');"
        "print(sorted({'icu_sepsis', 'gym', 'gymnasium'} & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_damaged_installation_is_told_in_one_line(tmp_path, monkeypatch):
    assets = tmp_path / "envs" / "assets"
    assets.mkdir(parents=True)
    spec = importlib.util.spec_from_loader("icu_sepsis", loader=None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InvalidInput, match=r"icu-sepsis: got .*dynamics\.npz; no such file"):
        load_problem("icu-sepsis")
    (assets / "dynamics.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInput, match=r"dynamics\.npz; a readable npz file") as raised:
        load_problem("icu-sepsis")
    assert "\n" not in str(raised.value)
