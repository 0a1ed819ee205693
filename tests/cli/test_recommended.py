"""The recommended policy as a user meets it: files, words, evaluation, and after a kill."""

import json
import shutil

import numpy as np
import pytest

from bench import survival
from fedjax_rl.cli import main
from fedjax_rl.report import write_report
from tests.quick import quick_compilation  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TINY = "--envs 4 --rollout 8 --hidden 4 --rounds 6 --episodes 100 --epochs 1 --evaluate-every 2"
BANDIT = ["run", "fedppo", "--problem", "constrained-bandit", *TINY.split()]


def run(out, *flags):
    assert main([*BANDIT, *map(str, flags), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Two seeds of which each keeps its budget in every evaluation; with checkpoints."""
    out = tmp_path_factory.mktemp("kept") / "run"
    flags = ("--seeds", 2, "--seed", 5, "--budgets", 2, "--checkpoint-every", 2)
    return run(out, *flags, "--keep-checkpoints", 9)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A seed that never keeps its budget."""
    return run(tmp_path_factory.mktemp("broken") / "run", "--budgets", 0)


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def test_it_is_saved_and_told(kept, tmp_path, capsys):
    run(tmp_path / "again", "--seeds", 2, "--seed", 5, "--budgets", 2)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "Recommended" in one]
    best = max(summary_of(kept)["recommended"], key=lambda one: one["reward"])
    assert line.startswith(f"Recommended: round {best['round']} of seed {best['seed']}, reward")
    assert "2 of 2 seeds have one" in line
    with np.load(kept / "recommended.npz") as stored:
        assert stored["seed"].tolist() == [5, 6]
        with np.load(kept / "policy.npz") as last:
            assert {*stored} == {*last, "seed"}


def test_none_is_told_with_its_reason_and_nothing_is_saved(broken, tmp_path, capsys):
    run(tmp_path / "again", "--budgets", 0)
    assert "Recommended: none; no evaluated policy kept every budget." in capsys.readouterr().out
    assert not (broken / "recommended.npz").exists()
    assert main(["eval", str(broken), "--policy", "recommended"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"--policy: got recommended; last: {broken} has no recommended.npz")
    assert not (broken / "evaluation.json").exists()


def test_it_is_played_by_eval(kept, capsys):
    """Seed 6 alone has a policy where the file says so."""
    assert main(["eval", str(kept), "--policy", "recommended", "--episodes", "1000"]) == 0
    capsys.readouterr()
    figures = json.loads((kept / "evaluation.json").read_text())
    assert figures["policy"] == "recommended" and figures["seeds"] == [5, 6]
    confirmed = [one["reward"] for one in summary_of(kept)["recommended"]]
    np.testing.assert_allclose(np.array(figures["reward_by_policy"])[:, 0], confirmed, atol=0.15)


def test_seeds_without_one_are_left_out(kept, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(kept, out, ignore=shutil.ignore_patterns("evaluation.json"))
    stored = dict(np.load(out / "recommended.npz"))
    np.savez(out / "recommended.npz", **{name: array[1:] for name, array in stored.items()})
    asked = ["eval", str(out), "--policy", "recommended"]
    assert main(asked) == 2
    assert "--member: got 0; with --policy recommended 1" in capsys.readouterr().err
    assert main([*asked, "--member", "1"]) == 0
    assert json.loads((out / "evaluation.json").read_text())["seeds"] == [6]
    np.savez(out / "recommended.npz", **{**stored, "seed": np.array([5, 9])})
    assert main([*asked, "--overwrite"]) == 2
    assert "array 'seed' of some of the run's seeds, in order" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", [2, 4, 6])
def test_a_run_that_goes_on_recommends_the_same_to_the_bit(kept, tmp_path, rounds, capsys):
    """From before the recommended round and from after it."""
    out = tmp_path / "run"
    shutil.copytree(kept, out, ignore=shutil.ignore_patterns("evaluation.json"))
    for name in ("summary.json", "recommended.npz", "policy.npz"):
        (out / name).unlink()
    for folder in (out / "checkpoints").iterdir():
        if int(folder.name.partition("-")[2]) > rounds:
            shutil.rmtree(folder)
    assert main(["resume", str(out)]) == 0
    assert f"round-{rounds:09d}" in capsys.readouterr().out
    expected = tmp_path / "expected"
    shutil.copytree(kept, expected, ignore=shutil.ignore_patterns("evaluation.json"))
    assert survival.compare(expected, out) == []


def test_a_page_says_it(kept, broken, tmp_path):
    page = write_report([kept, broken], tmp_path / "report.html").read_text()
    for text in ("Recommended: round", "Recommended: none", "Recommended policies"):
        assert text in page
    assert "Violations while learning" in page


@pytest.mark.parametrize("asked", ["0", "99", "1.5", "few"])
def test_a_number_of_episodes_is_checked(asked, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*BANDIT, "--confirm-episodes", asked, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedjax-rl: --confirm-episodes: got ") and not out.exists()


@pytest.mark.parametrize("reference", ["omniscient", "no-communication", "one-shot"])
def test_references_recommend_nothing(reference, tmp_path, capsys):
    flags = ["--reference", reference, "--out", str(tmp_path / "run")]
    assert main([*BANDIT, *flags, "--confirm-episodes", "200"]) == 2
    assert "--confirm-episodes: got 200; only with --reference fed" in capsys.readouterr().err


def test_sweeps_recommend_nothing_and_say_so_where_it_is_asked_for(tmp_path, capsys):
    sweep = ["sweep", "fedppo", *BANDIT[2:], "--out", str(tmp_path / "sweep")]
    grids = (["clip=0.1,0.2", "--confirm-episodes", "200"], ["confirm_episodes=200,300"])
    for grid in grids:
        assert main([*sweep, "--grid", *grid]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "confirm" in line and not (tmp_path / "sweep").exists()
