"""``fedjax-rl search`` as a user meets it."""

import importlib.util
import sqlite3

import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.learners.deep.conftest import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(400)

LAW = ["--random", "step_size=loguniform:1e-2:1"]
FEW = ["--trials", "3", "--batch", "2", "--chunk", "4"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return str(path)


def search(*arguments):
    return main(["search", *map(str, arguments)])


def test_a_search_from_start_to_end(small, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ["fednpg", "--problem", small, "--rounds", 5, *LAW, *FEW, "--seeds", 2]
    arguments += ["--budgets", *[20] * 4]  # more than any policy costs
    arguments += ["--metric", "average_gap", "--subject-to", "strong_violation<=100", "--out", out]
    assert search(*arguments) == 0
    output = capfd.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == "Search of fednpg over step_size (loguniform:1e-2:1), 2 seeds"
    assert lines[1] == (
        "for the smallest average_gap, subject to strong_violation<=100 and every budget kept in "
        "every seed"
    )
    assert lines[2] == "3 trials by tpe, 2 at a time; 1 group, one compilation each"
    assert lines[3].startswith("  group 1: 4 side by side, 5 rounds, about ")
    assert lines[-3] == "6 members, 0 diverged (marked; the others are whole)."
    assert lines[-2].startswith("best average_gap ") and "(mean of 2 seeds) with" in lines[-2]
    assert "study.db" in lines[-1]
    errors = [line for line in output.err.splitlines() if not line.startswith("preparing")]
    assert len(errors) == 2, "no word of Optuna's own"
    assert errors[0].startswith("batch 1 of 2: ") and "; best average_gap" in errors[0]
    assert errors[1].startswith("batch 2 of 2: all in ")
    assert main(["resume", str(out)]) == 0
    assert "going on: 3 of 3 trials are told" in capfd.readouterr().out
    with sqlite3.connect(out / "study.db") as study:
        assert study.execute("select state from trials").fetchall() == [("COMPLETE",)] * 3

    assert main(["best", str(out), "--metric", "average_gap"]) == 0
    (tmp_path / "best.yaml").write_text(capfd.readouterr().out)
    run = ["run", "fednpg", "--config", str(tmp_path / "best.yaml"), "--out", str(tmp_path / "run")]
    assert main(run) == 0
    summary = yaml.safe_load((tmp_path / "run" / "summary.json").read_text())
    assert lines[-2].startswith(f"best average_gap {summary['average_gap']:.6g} ")
    assert main(["plot", str(out)]) == 0
    assert "curves.png, parallel.png" in capfd.readouterr().out


def test_help_says_what_there_is(capsys):
    assert search() == 0
    assert "search fednpg --random" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fednpg", "--out", "OUT"], "--random: got nothing; --random NAME=loguniform"),
        (["fednqg", *LAW], "algorithm: got 'fednqg'; did you mean 'fednpg'"),
        (["fednpg", *LAW], "--out: got nothing; --out DIR"),
        (["fednpg", *LAW, "--overwrite"], "--overwrite: got no --out"),
        (["fednpg", *LAW, "--out", "OUT", "--trials", "0"], "--trials: got 0; a whole number"),
        (["fednpg", *LAW, "--out", "OUT", "--batch", "0"], "--batch: got 0; a whole number"),
        (["fednpg", *LAW, "--out", "OUT", "--batch", "65"], "--batch: got 65; at most --trials 64"),
        (["fednpg", *LAW, "--out", "OUT", "--sampler", "cmaes"], "--sampler"),
        (["fednpg", *LAW, "--out", "OUT", "--maximize"], "--metric: got none"),
        (["fednpg", *LAW, "--out", "OUT", "--metric", "gap", "--subject-to", "x"], "METRIC<=NUM"),
        (["fednpg", *LAW, "--out", "OUT", "--metric", "last_gapp"], "did you mean 'last_gap'"),
        (["fednpg", "--random", "rounds=uniform:1:9", "--out", "OUT"], "for --rounds; a whole"),
        (["fednpg", "--random", "rate=uniform:1:9", "--out", "OUT"], "--random: got 'rate'"),
        (["fednpg", "--grid", "step_size=1", "--out", "OUT"], "options: got --grid"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, small, tmp_path, capsys):
    arguments = [str(tmp_path / "out") if word == "OUT" else word for word in arguments]
    assert search(*arguments, "--problem", small) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "preparing" not in line]
    assert len(error) == 1 and message in error[0]
    assert not (tmp_path / "out").exists()


def test_without_optuna_it_says_how_to_install_it(small, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else find(name)
    )
    out = tmp_path / "out"
    assert search("fednpg", "--problem", small, *LAW, *FEW, "--out", out) == 2
    assert "pip install 'fedjax_rl[optuna]'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_networks_are_searched(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["fedppo", "--problem", "fedjax_rl.envs.known:chain", "--rounds", 1, "--envs", 4]
    arguments += ["--agents", 2, "--rollout", 8, "--hidden", 4, "--episodes", 100, "--epochs", 1]
    laws = ["--random", "learning_rate=loguniform:1e-3:1e-2", "--preset", "paper"]
    arguments += ["--minibatches", 2, "--trials", 2, "--batch", 2, "--out", out]
    assert search(*arguments, *laws) == 0
    assert "for the largest reward, subject to every budget kept\n" in capsys.readouterr().out
    assert main(["best", str(out)]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    assert 1e-3 <= document["learning_rate"] <= 1e-2 and document["duals"] == "gradient"


@pytest.mark.slow
def test_trials_lie_on_several_devices(small, tmp_path, run_cli):
    arguments = [
        "fednpg",
        "--problem",
        small,
        "--rounds",
        "5",
        *LAW,
        "--trials",
        "2",
        "--batch",
        "2",
    ]
    assert search(*arguments, "--devices", "99") == 2
    spread = ("--devices", "2", "--out", str(tmp_path / "two"))
    completed = run_cli("search", *arguments, *spread, devices=2, compiled_quickly=True)
    assert completed.returncode == 0, completed.stderr
    assert search(*arguments, "--out", tmp_path / "one") == 0
    tables = [
        [row.split(",") for row in (tmp_path / out / "sweep.csv").read_text().splitlines()]
        for out in ("one", "two")
    ]
    at = tables[0][0].index("average_gap")
    gaps = [[float(row[at]) for row in table[1:]] for table in tables]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-9) and len(gaps[0]) == 2
