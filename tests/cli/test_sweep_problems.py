"""Sweeps and searches along what a problem is: budgets, discounts, arguments and files."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ONE_STATE = {
    **{"transition": np.ones((1, 2, 1)), "reward": [[0.0, 1.0]], "costs": [[[0.0, 1.0]]]},
    **{"budgets": [4.0], "initial": [1.0], "discount": 0.9},
}
"""One state, and an action that is worth 1 and costs 1: V* is the budget, if that is below 10."""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """``b.npz``, and ``dear.npz`` where the action costs twice as much: V* is half the budget."""
    np.savez(tmp_path / "b.npz", **ONE_STATE)
    np.savez(tmp_path / "dear.npz", **ONE_STATE | {"costs": [[[0.0, 2.0]]]})
    monkeypatch.chdir(tmp_path)


def command(*arguments):
    return main([*map(str, arguments)])


def table(out):
    with open(f"{out}/sweep.csv") as file:
        return list(csv.DictReader(file))


def values(out):
    return [float(row["optimal_value"]) for row in table(out)]


def swept(*arguments):
    return command("sweep", "fednpg", "--rounds", 10, *arguments)


def assert_runs_alone(out, settings):
    """Every row has the figures of the run with its settings alone."""
    for number, (row, arguments) in enumerate(zip(table(out), settings, strict=True)):
        folder = f"{out}-alone-{number}"
        assert command("run", "fednpg", "--rounds", 10, *arguments, "--out", folder) == 0
        with open(f"{folder}/summary.json") as file:
            summary = json.load(file)
        for name in ("optimal_value", "average_gap", "last_gap", "strong_violation"):
            assert float(row[name]) == pytest.approx(summary[name], rel=1e-12, abs=1e-12), name


def test_budgets_are_swept_to_the_end(tmp_path):
    assert swept("--problem", "b.npz", "--grid", "budgets=[1.0],[2.0]", "--out", "s") == 0
    np.testing.assert_allclose(values("s"), [1, 2], rtol=1e-9)
    assert_runs_alone("s", [["--problem", "b.npz", "--budgets", budget] for budget in (1, 2)])
    before = table("s")
    shutil.rmtree("s/chunks")  # as if it had been killed in its first chunk
    assert command("resume", "s") == 0 and table("s") == before
    assert command("best", "s") == 0 and command("plot", "s") == 0


def test_arguments_and_discounts_of_a_problem_are_swept_to_the_end():
    grid = ["--grid", "problem_args=[seed=1],[seed=2]", "--grid", "discount=0.8,0.9"]
    assert swept("--problem", "random-mdp", *grid, "--out", "s") == 0
    alone = [
        ["--problem", "random-mdp", "--problem-args", f"seed={seed}", "--discount", discount]
        for seed in (1, 2)
        for discount in (0.8, 0.9)
    ]
    assert_runs_alone("s", alone)


def test_a_choice_of_budgets_is_searched():
    law = ["--random", "budgets=choice:[4.0]|[5.0]", "--trials", 3, "--batch", 2]
    arguments = ["--problem", "b.npz", "--rounds", 10, *law, "--out", "s"]
    assert command("search", "fednpg", *arguments) == 0
    assert {"[4.0]": 4.0, "[5.0]": 5.0}.items() >= {
        (row["budgets"], round(float(row["optimal_value"]), 9)) for row in table("s")
    }


def test_files_of_one_shape_are_swept_and_go_on_from_anywhere(tmp_path, monkeypatch, capsys):
    grid = ["--grid", "problem=b.npz,dear.npz", "--grid", "step_size=0.1,0.5"]
    assert swept(*grid, "--chunk", 2, "--out", "s") == 0
    np.testing.assert_allclose(values("s"), [4, 4, 2, 2], rtol=1e-9)
    assert "in 1 group" in capsys.readouterr().out
    before = table("s")
    (tmp_path / "s" / "chunks" / "000002.npz").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command("resume", tmp_path / "s") == 0 and table(tmp_path / "s") == before
    np.savez(tmp_path / "dear.npz", **ONE_STATE)
    capsys.readouterr()
    assert command("resume", tmp_path / "s") == 2
    assert "put it and the problem right" in capsys.readouterr().err


def test_a_choice_of_files_is_searched_with_absolute_names(tmp_path):
    law = ["--random", "problem=choice:b.npz|dear.npz", "--trials", 2, "--batch", 2]
    assert command("search", "fednpg", "--rounds", 5, *law, "--out", "s") == 0
    document = yaml.safe_load((tmp_path / "s" / "config.yaml").read_text())
    assert document["random"]["problem"] == f"choice:{tmp_path}/b.npz|{tmp_path}/dear.npz"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--devices", 9],
        ["--grid", "merge_weights=[1,2]"],
        ["--grid", "log_every=1,2"],
        ["--grid", "budgets=[-1.0],[2.0]"],
    ],
)
def test_what_is_refused_leaves_no_trace(tmp_path, arguments, capsys):
    settings = ["--problem", "b.npz", "--grid", "step_size=0.1,0.2", *arguments]
    assert swept(*settings, "--out", "new") == 2
    assert not (tmp_path / "new").exists()
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.yaml").write_text("algorithm: sweep fednpg\n")
    assert swept(*settings, "--out", "old", "--overwrite") == 2
    assert (old / "config.yaml").read_text() == "algorithm: sweep fednpg\n"
    law = ["--random", "dual_step_size=uniform:0.1:0.2", "--trials", 2, "--batch", 1]
    if "--grid" not in arguments:
        sought = ["--problem", "b.npz", *arguments, *law, "--out", "sought"]
        assert command("search", "fednpg", *sought) == 2
        assert not (tmp_path / "sought").exists()
    errors = capsys.readouterr().err.splitlines()
    assert all(line.startswith(("fedjax-rl: ", "preparing")) for line in errors)
