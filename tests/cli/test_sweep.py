"""``fedjax-rl sweep``, ``best`` and ``plot`` as a user meets them."""

import csv
import re

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.stale.config import settings_type
from fedjax_rl.settings.files import read_settings
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.learners.deep.conftest import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(400)

DEEP = """
    --problem fedjax_rl.envs.known:chain --agents 2 --envs 4 --rollout 8 --hidden 4 --rounds 1
    --episodes 100 --epochs 1 --minibatches 2
"""
STALE = """
    --task-args length=3 modulus=3 --steps 3 --prompts 2 --group-size 3 --held-out 16
    --on-policy 2 --warm-start 0
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return str(path)


def sweep(*arguments):
    return main(["sweep", *map(str, arguments)])


def table(out):
    with (out / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """2 step sizes × 2 counts of local steps × 2 samples × 3 seeds."""
    out = tmp_path_factory.mktemp("sweeps") / "made"
    arguments = ["fednpg", "--problem", small, "--rounds", 30, "--seeds", 3, "--chunk", 6]
    arguments += ["--grid", "step-size=1e-2,1e-1", "--grid", "local_steps=1,2"]
    arguments += ["--random", "dual_step_size=loguniform:1e-3:1e-1", "--samples", 2]
    assert sweep(*arguments, "--out", out) == 0
    return out


def test_the_plan_comes_first_and_the_best_last(small, capsys):
    arguments = ["fednpg", "--problem", small, "--rounds", 10, "--seeds", 2, "--chunk", 3]
    arguments += ["--budgets", *[20] * 4]  # more than any policy costs
    assert sweep(*arguments, "--grid", "step_size=0.1,0.2", "--grid", "local_steps=1,2") == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == "Sweep of fednpg over step_size (2), local_steps (2), 2 seeds"
    assert lines[1] == "8 members in 2 groups, one compilation each; 4 chunks"
    assert lines[2].startswith("  group 1 (local_steps 1): 4 members, 2 side by side, 10 rounds")
    assert lines[4] == "workers: 1 (too little work for more)"
    assert lines[5].startswith("memory: about ")
    assert re.match(
        r"time: about [\d.]+ s, from a few rounds of the first group; [\d.]+ s", lines[6]
    )
    assert lines[-3] == "8 members, 0 diverged (marked; the others are whole)."
    assert lines[-2].startswith("best average_gap ") and "(mean of 2 seeds) with" in lines[-2]
    assert lines[-1].startswith("Nothing was written")
    progress = [line for line in output.err.splitlines() if line.startswith("chunk ")]
    assert len(progress) == 4 and "chunk 1 of 4:" in progress[0] and " to go; best" in progress[0]
    assert "chunk 4 of 4: all in" in progress[3]


def test_every_combination_is_in_the_table(made):
    rows = table(made)
    assert len(rows) == 24 and {row["seed"] for row in rows} == {"0", "1", "2"}
    assert {row["step_size"] for row in rows} == {"0.01", "0.1"}
    assert len({row["dual_step_size"] for row in rows}) == 2
    assert all(0.001 < float(row["dual_step_size"]) < 0.1 for row in rows)


def test_the_configuration_of_a_sweep_is_a_file_to_sweep_from(made, tmp_path):
    again = tmp_path / "again"
    assert sweep("--file", made / "config.yaml", "--out", again) == 0
    assert (again / "sweep.csv").read_text() == (made / "sweep.csv").read_text()
    fewer = tmp_path / "fewer"
    flags = ["--rounds", 5, "--grid", "local_steps=1", "--seeds", 1]
    assert sweep("fednpg", "--file", made / "config.yaml", *flags, "--out", fewer) == 0
    rows = table(fewer)
    assert len(rows) == 4 and {row["rounds"] for row in rows} == {"5"}


def test_a_file_of_ones_own(small, tmp_path):
    document = {
        "algorithm": "fednpg",
        "grid": {"step_size": [0.1, "auto"], "local_steps": [2]},
        "random": {"tolerance": "uniform:0:1"},
        **{"samples": 2, "seeds": 1, "chunk": 3},
        "settings": {"problem": small, "rounds": 4, "learner": "crpo"},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
    out = tmp_path / "out"
    assert sweep("--file", tmp_path / "sweep.yaml", "--out", out) == 0
    rows = table(out)
    assert [row["step_size"] for row in rows] == ["0.1", "0.1", "auto", "auto"]
    assert {row["learner"] for row in rows} == {"crpo"}


def test_the_best_can_be_run(made, tmp_path, capsys):
    capsys.readouterr()
    metric = ["--metric", "average_gap", "--subject-to", "strong_violation<=100"]
    assert main(["best", str(made), *metric, "--subject-to", "step_size<0.05"]) == 0
    output = capsys.readouterr()
    (tmp_path / "best.yaml").write_text(output.out)
    winner = yaml.safe_load(output.out)
    assert winner["algorithm"] == "fednpg" and winner["step_size"] == 0.01
    assert winner["seeds"] == 3 and "mean over 3 seeds" in output.err
    out = tmp_path / "run"
    assert main(["run", "fednpg", "--config", str(tmp_path / "best.yaml"), "--out", str(out)]) == 0
    summary = yaml.safe_load((out / "summary.json").read_text())
    gaps = {}
    for row in table(made):
        if row["step_size"] == "0.01":
            gaps.setdefault(row["configuration"], []).append(float(row["average_gap"]))
    assert summary["average_gap"] == pytest.approx(
        min(map(np.mean, gaps.values())), rel=1e-10, abs=1e-12
    )


def test_plots_are_drawn(made, capsys):
    assert main(["plot", str(made)]) == 0
    assert "curves.png, heatmap.png, parallel.png" in capsys.readouterr().out
    sizes = {path.name: path.stat().st_size for path in made.glob("*.png")}
    assert set(sizes) == {"curves.png", "heatmap.png", "parallel.png"}
    assert all(size > 5_000 for size in sizes.values())
    before = (made / "curves.png").read_bytes()
    flags = ["--metric", "strong_violation", "--by", "local-steps", "--curve", "value"]
    assert main(["plot", str(made), *flags, "--up", "dual_step_size"]) == 0
    assert (made / "curves.png").read_bytes() != before


def test_a_sweep_that_diverged_throughout_has_status_one(small, capsys):
    arguments = ["fednpg", "--problem", small, "--rounds", 30]
    assert sweep(*arguments, "--grid", "step_size=1e307,2e307") == 1
    assert "2 diverged" in capsys.readouterr().out
    assert sweep(*arguments, "--grid", "step_size=0.1,2e307") == 0
    assert "1 diverged" in capsys.readouterr().out


ONE = ["--grid", "step_size=0.1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fednpg"], "--grid: got nothing"),
        (["fednqg", *ONE], "algorithm: got 'fednqg'; did you mean 'fednpg'"),
        (["fednpg", "--grid", "stepsize=1"], "--grid: got 'stepsize'; did you mean 'step_size'"),
        (["fednpg", "--grid", "step_size"], "--grid: got 'step_size'; NAME="),
        (["fednpg", "--grid", "step_size="], "--grid: got step_size=[]; a list of at least"),
        (["fednpg", "--grid", "step_size=1,,2"], "with no empty entry"),
        (["fednpg", "--grid", "local_steps=1.5"], "1.5 for --local-steps; a whole number"),
        (["fednpg", "--grid", "step_size=-1"], "--grid: got -1 for --step-size; auto or a"),
        (["fednpg", *ONE, *ONE], "step_size once, with all its values"),
        (["fednpg", "--random", "step_size=uniform:0:1"], "--samples: got none"),
        (["fednpg", *ONE, "--samples", "3"], "--samples: got 3; only with --random"),
        (["fednpg", "--random", "step_size=normal:0:1", "--samples", "2"], "NAME=loguniform:LOW"),
        (["fednpg", *ONE, "--chunk", "many"], "--chunk: got 'many'; auto, or a whole number"),
        (["fednpg", *ONE, "--chunk", "0"], "--chunk: got '0'"),
        (["fednpg", *ONE, "--checkpoint-every", "3"], "--checkpoint-every: got no --out"),
        (["fednpg", *ONE, "--devices", "99"], "--devices: got 99; all, or 1"),
        (["fednpg", *ONE, "--overwrite"], "--overwrite: got no --out"),
        (["fednpg", *ONE, "--steps", "3"], "options: got --steps"),
        (["fednpg", *ONE, "--file", "nowhere.yaml"], "--file: got nowhere.yaml"),
        (["--grid", "step_size=1"], "algorithm: got none"),
        (["fedppo", "--grid", "learning_rates=1"], "did you mean 'learning_rate'"),
        (["gepo", "--grid", "windows=1"], "did you mean 'window'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    assert sweep(*arguments) == 2
    # A slow machine is told what takes long, in a line of its own that ends in " …".
    (error,) = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(" …")]
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best", "DIR", "--metric", "average_gapp"], "did you mean 'average_gap'"),
        (["best", "DIR", "--metric", "problem"], "--metric: got 'problem'"),
        (["best", "DIR", "--maximize"], "--metric: got none"),
        (
            ["best", "DIR", "--metric", "gap", "--subject-to", "last_gap<=-99"],
            "did you mean",
        ),
        (
            ["best", "DIR", "--metric", "last_gap", "--subject-to", "last_gap<=-99"],
            "--subject-to: got last_gap<=-99; no configuration satisfies it; they have last_gap",
        ),
        (["best", "DIR", "--metric", "last_gap", "--subject-to", "last_gap"], "METRIC<=NUMBER"),
        (["best", "DIR", "--metric", "last_gap", "--subject-to", "lastgap<1"], "'last_gap'"),
        (["best", "nowhere"], "directory: got nowhere; a directory of fedjax-rl sweep"),
        (["plot", "nowhere"], "directory: got nowhere; a directory of fedjax-rl sweep"),
        (["plot", "DIR", "--metric", "average_gapp"], "did you mean 'average_gap'"),
        (["plot", "DIR", "--across", "rounds"], "--across: got 'rounds'; a swept setting"),
        (["plot", "DIR", "--by", "local_step"], "did you mean 'local_steps'"),
        (["plot", "DIR", "--curve", "gaps"], "--curve: got 'gaps'; one of value, gap"),
        (["plot", "DIR", "--maximize"], "--metric: got none"),
    ],
)
def test_mistakes_about_a_sweep_are_told_in_one_line(made, arguments, message, capsys):
    capsys.readouterr()
    assert main([str(made) if word == "DIR" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1], "a YAML mapping"),
        ({"grids": {}}, "--file: got grids; known: algorithm, grid"),
        ({"grid": [1]}, "a mapping by setting"),
        ({"algorithm": "fedppo"}, "--file: got fedppo; a sweep of fednpg"),
        ({"settings": {"round": 3}}, "--file: got 'round'; did you mean 'rounds'"),
        ({"grid": {"step-size": [1], "step_size": [2]}}, "--file: got 'step_size'; step_size once"),
        ({"settings": {"log-every": 1, "log_every": 2}}, "--file: got 'log_every'; log_every once"),
        ({"grid": {"step_size": 3}}, "--grid: got step_size=3; a list"),
    ],
)
def test_mistakes_in_a_file_are_told_in_one_line(document, message, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
    assert sweep("fednpg", "--file", tmp_path / "sweep.yaml") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_names_in_a_file_have_hyphens_or_not(small, tmp_path):
    document = {
        "grid": {"step-size": [0.1], "local-steps": [1, 2]},
        "settings": {"dual-step-size": 0.1, "problem": small, "rounds": 2},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
    arguments = ["--file", tmp_path / "sweep.yaml", "--out", tmp_path / "out"]
    assert sweep("fednpg", *arguments, "--grid", "step_size=0.3,0.4") == 0
    assert {row["step_size"] for row in table(tmp_path / "out")} == {"0.3", "0.4"}
    written = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert written["settings"]["dual_step_size"] == 0.1


def test_a_run_is_no_sweep(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", "fednpg", "--problem", small, "--rounds", "2", "--out", str(out)]) == 0
    assert main(["best", str(out)]) == 2 and main(["plot", str(out)]) == 2
    assert "a directory of fedjax-rl sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_networks_are_swept_and_the_best_can_be_run(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--grid", "learning_rate=1e-3,1e-2", "--preset", "paper", "--out", out]
    assert sweep("fedppo", *DEEP.split(), *flags) == 0
    capsys.readouterr()
    assert main(["best", str(out)]) == 0
    output = capsys.readouterr()
    (tmp_path / "best.yaml").write_text(output.out)
    config, _ = read_settings(tmp_path / "best.yaml", "fedppo", DeepConfig)
    assert config.learning_rate in (1e-3, 1e-2) and config.duals == "gradient"
    assert "largest of 2" in output.err
    assert main(["plot", str(out)]) == 0
    assert {path.name for path in out.glob("*.png")} == {"curves.png", "parallel.png"}


@pytest.mark.slow
def test_stale_data_is_swept_and_the_best_can_be_run(tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--grid", "learning_rate=0.1,0.5", "--grid", "window=0,2", "--out", out]
    assert sweep("gspo", *STALE.split(), *flags) == 0
    assert len(table(out)) == 4
    capsys.readouterr()
    assert main(["best", str(out), "--metric", "last", "--maximize"]) == 0
    (tmp_path / "best.yaml").write_text(capsys.readouterr().out)
    config, _ = read_settings(tmp_path / "best.yaml", "gspo", settings_type("gspo", {}))
    assert config.window in (0, 2)
