"""A run or sweep that was moved together with its files goes on, and runs again, there."""

from __future__ import annotations

import csv
import shutil

import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps import axes

pytestmark = pytest.mark.timeout(300)

FINITE = ["fednpg", "--rounds", 40, "--checkpoint-every", 10, "--log-every", 7]
STALE = [
    *("gepo", "--task-args", "length=3", "--steps", 6, "--checkpoint-every", 2),
    *("--warm-start", 0, "--prompts", 2, "--group-size", 2, "--held-out", 8, "--on-policy", 2),
]


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The working directory, with two problems of one shape and a trace of seconds."""
    folder = tmp_path / "old"
    folder.mkdir()
    axes.make_files(folder)
    monkeypatch.chdir(folder)
    return folder


def command(*arguments):
    return main([*map(str, arguments)])


def moved(old, run, *files):
    """The run beside its files in another place, whose old names are gone; and not where it is."""
    new = old.parent / "new"
    new.mkdir()
    for name in (run, *files):
        shutil.move(old / name, new / name)
    return new


def interrupted(run, *names):
    """As if it had been stopped behind its last checkpoint."""
    for name in ("summary.json", "policy.npz", *names):
        (run / name).unlink()


def rows(path):
    return (path / "metrics.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "file"),
    [([*FINITE, "--problem"], "a.npz"), ([*STALE, "--latency"], "trace.csv")],
    ids=["problem", "latency"],
)
def test_a_run_goes_on_and_runs_again_where_it_was_moved(old, capsys, arguments, file):
    assert command("run", *arguments, file, "--out", "run") == 0
    before = rows(old / "run")
    new = moved(old, "run", file)
    interrupted(new / "run")
    assert command("resume", new / "run") == 0
    assert "Going on from" in capsys.readouterr().out
    assert rows(new / "run") == before
    config = new / "run" / "config.yaml"
    assert command("run", arguments[0], "--config", config, "--out", new / "again") == 0
    assert rows(new / "again") == before
    recorded = yaml.safe_load((new / "again" / "config.yaml").read_text())
    assert recorded[arguments[-1].removeprefix("--")] == str(new / file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        ([*FINITE, "--problem"], "a.npz", "the problem's content"),
        ([*STALE, "--latency"], "trace.csv", "the problem's or trace.csv's content"),
    ],
    ids=["problem", "latency"],
)
def test_another_content_under_the_same_name_is_refused(old, capsys, arguments, file, message):
    assert command("run", *arguments, file, "--out", "run") == 0
    new = moved(old, "run", file)
    interrupted(new / "run")
    if file == "a.npz":
        save_problem(new / file, support.random_problem(2))
    else:
        (new / file).write_text("seconds\n40\n250\n91\n")
    before = rows(new / "run")
    config = new / "run" / "config.yaml"
    for again in (["resume", new / "run"], ["run", arguments[0], "--config", config, "--out", "x"]):
        capsys.readouterr()
        assert command(*again) == 2
        (line,) = [one for one in capsys.readouterr().err.splitlines() if "fedjax-rl" in one]
        error = line.replace(str(new / file), file)
        assert f"{message} is not what that run was made with" in error
    assert rows(new / "run") == before and not (old / "x").exists()


def test_a_sweep_over_files_goes_on_where_it_was_moved(old, capsys):
    grid = ["--grid", "problem=a.npz,b.npz", "--grid", "step_size=0.1,0.5"]
    assert command("sweep", *FINITE[:3], *grid, "--chunk", 2, "--out", "s") == 0
    before = _table(old / "s")
    new = moved(old, "s", "a.npz", "b.npz")
    (new / "s" / "chunks" / "000002.npz").unlink()
    assert command("resume", new / "s") == 0
    after = _table(new / "s")
    names = [row.pop("problem") for row in after]
    assert [row.pop("problem") for row in before] == [
        name.replace(str(new), str(old)) for name in names
    ]
    assert after == before
    (new / "s" / "chunks" / "000002.npz").unlink()
    save_problem(new / "b.npz", support.random_problem(2))
    capsys.readouterr()
    assert command("resume", new / "s") == 2
    assert "put it and the problem right" in capsys.readouterr().err


def _table(path):
    with (path / "sweep.csv").open() as file:
        return [
            {name: value for name, value in row.items() if "seconds" not in name}
            for row in csv.DictReader(file)
        ]


def test_the_best_has_absolute_names_from_any_folder(old, monkeypatch, capsys):
    grid = ["--grid", "problem=a.npz,b.npz", "--grid", "step_size=0.1,0.5"]
    assert command("sweep", *FINITE[:3], *grid, "--out", "s") == 0
    (old / "elsewhere").mkdir()
    monkeypatch.chdir(old / "elsewhere")
    capsys.readouterr()
    assert command("best", "../s") == 0
    best = yaml.safe_load(capsys.readouterr().out)["problem"]
    assert best in (str(old / "a.npz"), str(old / "b.npz"))
    new = moved(old, "s", "a.npz", "b.npz")
    assert command("best", new / "s") == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["problem"] == best.replace(str(old), str(new))
    (new / "best.yaml").write_text(text)
    assert command("run", "fednpg", "--config", new / "best.yaml") == 0
