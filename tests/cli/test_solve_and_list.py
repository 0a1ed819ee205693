"""``fedjax-rl solve``, ``fedjax-rl list`` and the front door."""

import json

import numpy as np
import pytest

from fedjax_rl.cli import main

pytestmark = pytest.mark.timeout(120)


def test_windy_cliff_to_the_digits_given(tmp_path, capsys):
    out = tmp_path / "solution"
    assert main(["solve", "windy-cliff", "--out", str(out)]) == 0
    figures = json.loads((out / "solution.json").read_text())
    assert figures["optimal_value"] == pytest.approx(23.84, abs=0.005)
    assert figures["unconstrained_value"] == pytest.approx(42.56, abs=0.005)
    multipliers = list(figures["optimal_multipliers"].values())
    np.testing.assert_allclose(multipliers, [0.533, 0.471, 0.516, 2.518], atol=5e-4)
    assert figures["multipliers_unique"] is True
    assert figures["solvers"] == ["decomposition", "linear-program"]
    assert figures["disagreement"] < 1e-6 and figures["certified_gap"] < 1e-8
    arrays = np.load(out / "solution.npz")
    assert arrays["policy"].shape == arrays["occupancy"].shape == (40, 4)
    assert "optimal value V*      23.837234" in capsys.readouterr().out


def test_infeasible_budgets_are_reported_with_their_slater_slack(tmp_path, capsys):
    flags = ["--budgets", "-0.5", "2", "2", "2", "--out", str(tmp_path / "solution")]
    assert main(["solve", "windy-cliff", *flags]) == 2
    errors = capsys.readouterr().err
    assert "Slater slack -0.5" in errors and "'segment-0'" in errors and errors.count("\n") == 1
    assert not (tmp_path / "solution").exists()


def test_solutions_are_cached_by_content(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FEDJAX_RL_CACHE", str(tmp_path))
    flags = ["solve", "random-mdp", "--problem-args", "seed=4"]
    assert main(flags) == 0
    first = capsys.readouterr().out
    calls = []
    monkeypatch.setattr("fedjax_rl.sources.solutions.solve", lambda *call: calls.append(call))
    assert main(flags) == 0
    assert capsys.readouterr().out == first and not calls
    (entry,) = (tmp_path / "solutions").iterdir()
    monkeypatch.undo()
    monkeypatch.setenv("FEDJAX_RL_CACHE", str(tmp_path))
    entry.write_bytes(b"half a fil")
    assert main(flags) == 0
    assert capsys.readouterr().out == first
    assert entry.stat().st_size > 100, "the damaged entry is replaced"


def test_a_cache_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDJAX_RL_CACHE", str(tmp_path / "file"))
    assert main(["solve", "windy-cliff"]) == 0


def test_list_names_everything_that_is_registered(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    models = ("admission-queue", "cliff-walking", "forest", "frozen-lake", "inventory", "taxi")
    others = ("windy-cliff", "random-mdp", "garnet", "icu-sepsis", "npg", "probabilities")
    for name in (*models, *others):
        assert f"  {name} " in printed
    assert main(["list", "merges"]) == 0
    assert "windy-cliff" not in capsys.readouterr().out
    assert main(["list", "mergers"]) == 2
    assert "did you mean 'merges'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run"], ["run", "--help"]])
def test_help_teaches(arguments, capsys):
    assert main(arguments) == 0
    assert "usage: fedjax-rl" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["run", "fednpg"], ["solve"], ["list"]])
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert f"usage: fedjax-rl {' '.join(command)}" in capsys.readouterr().out


def test_unknown_commands_suggest_the_nearest(capsys):
    assert main(["sovle", "windy-cliff"]) == 2  # codespell:ignore
    assert "did you mean 'solve'" in capsys.readouterr().err
    assert main(["run", "fednpq"]) == 2
    assert "did you mean 'fednpg'" in capsys.readouterr().err


def test_module_and_version(run_cli):
    finished = run_cli("--version")
    assert finished.returncode == 0 and finished.stdout.strip().count(".") == 2
