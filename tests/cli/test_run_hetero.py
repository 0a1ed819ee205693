"""``fedjax-rl run gepo`` and ``compare --losses`` as a user meets them, at the smallest size."""

import csv
import json

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.families.stale.assembly import policy_of, task_of
from fedjax_rl.families.stale.config import settings_type
from fedjax_rl.families.stale.starts import started
from fedjax_rl.settings.files import read_settings
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(400)

TINY = [
    "--task-args",
    "length=3",
    "modulus=3",
    "--steps",
    "12",
    "--prompts",
    "2",
    "--group-size",
    "3",
    "--held-out",
    "32",
    "--on-policy",
    "2",
    "--evaluate-every",
    "5",
    "--warm-start",
    "0",
    "--learning-rate",
    "0.1",
]
LAW = "tests.hetero.test_latency"
FILES = {
    *("config.yaml", "metrics.csv", "evaluations.csv", "summary.json", "policy.npz"),
    *("accuracy.png", "diagnostics.png", "staleness.png"),
}
SUMMARY = """
    loss task window staleness_mean staleness_max best last best_last_gap accuracy_mean
    weight_variance_median weight_variance_max kl_median kl_max ess_min virtual_seconds seconds
    policy samplers latency steps seeds batches_wasted learner_idle_share compile_seconds
"""
FIGURES = """
    best last best_last_gap accuracy_mean staleness_mean staleness_max weight_variance_median
    weight_variance_max kl_median kl_max ess_min
"""


NAMES = """
    grpo dr_grpo bnpo bnpo_trl delta_ln gspo gepo gepo+ eqp gmpo cispo tis topr ds-gspo v-trace
"""


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("hetero") / "run"
    assert main(["run", "gepo", *TINY, "--seeds", "2", "--window", "2", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_everything_behind(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    rows = rows_of(finished / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(13))
    evaluations = rows_of(finished / "evaluations.csv")
    assert [(int(r["step"]), int(r["seed"])) for r in evaluations] == [
        (step, seed) for step in (0, 5, 10, 12) for seed in (0, 1)
    ]
    assert np.load(finished / "policy.npz")["table"].shape == (2, 9, 3)


def test_figures_are_means_over_seeds(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert set(SUMMARY.split()) <= set(summary)
    assert (summary["loss"], summary["window"], summary["seeds"]) == ("gepo", 2, 2)
    for name in FIGURES.split():
        each = summary[f"{name}_by_seed"]
        assert len(each) == 2 and summary[name] == pytest.approx(np.mean(each))
    rows = rows_of(finished / "evaluations.csv")
    for seed in (0, 1):
        accuracy = [float(row["accuracy"]) for row in rows if row["seed"] == str(seed)]
        assert summary["best_by_seed"][seed] == max(accuracy)
        assert summary["last_by_seed"][seed] == accuracy[-1]
        assert summary["accuracy_mean_by_seed"][seed] == pytest.approx(np.mean(accuracy))
        assert summary["best_last_gap_by_seed"][seed] == max(accuracy) - accuracy[-1]
    assert summary["staleness_max"] <= 4 and summary["failed_seeds"] == []


def test_config_reproduces_the_run_bit_for_bit(finished, tmp_path):
    again = tmp_path / "again"
    assert main(["run", "gepo", "--config", f"{finished}/config.yaml", "--out", str(again)]) == 0
    assert (again / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    one, other = np.load(finished / "policy.npz"), np.load(again / "policy.npz")
    np.testing.assert_array_equal(one["table"], other["table"])


@pytest.mark.slow
def test_the_transformer_runs_from_a_warm_start_that_is_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FEDJAX_RL_CACHE", str(tmp_path / "cache"))
    flags = [*TINY[:-3], "0.2", "--policy", "transformer", "--width", "8", "--heads", "2"]
    out = tmp_path / "run"
    assert main(["run", "tis", *flags, "--layers", "1", "--out", str(out)]) == 0
    assert "warm-started to accuracy 0." in capsys.readouterr().out
    assert len(np.load(out / "policy.npz").files) > 5
    (cached,) = (tmp_path / "cache" / "starts").iterdir()
    config, _ = read_settings(out / "config.yaml", "tis", settings_type("tis", {}))
    task = task_of(config)
    started_again = started(config, task, policy_of(config, task))
    accuracy = json.loads((out / "summary.json").read_text())["warm_start_accuracy"]
    assert started_again.accuracy == accuracy == float(np.load(cached)["accuracy"])
    cached.write_bytes(b"damaged")
    again = started(config, task, policy_of(config, task))
    assert again.accuracy == accuracy, "a damaged entry is made anew"


@pytest.mark.slow
def test_latency_from_a_file_and_synchronous_runs(tmp_path):
    trace = tmp_path / "delays.csv"
    trace.write_text("seconds\n100\n250.5\n")
    out = tmp_path / "trace"
    flags = ["--latency", str(trace), "--sampler-seconds", "20", "--samplers", "2"]
    assert main(["run", "grpo", *TINY, *flags, "--out", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["staleness_mean"] > 0
    out = tmp_path / "synchronous"
    assert main(["run", "grpo", *TINY, "--window", "0", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["staleness_max"] == 0 and summary["ess_min"] == pytest.approx(1, abs=1e-4)
    assert summary["learner_idle_share"] > 0.5


@pytest.mark.slow
def test_a_law_of_the_readers_own_has_settings_of_its_own(tmp_path):
    """As flags, in the file, as an axis, and of a run to its end."""
    out, law = tmp_path / "paced", f"{LAW}:paced"
    flags = ["--latency", law, "--sampler-seconds", "20"]
    assert main(["run", "grpo", *TINY, *flags, "--pace", "50", "--out", str(out)]) == 0
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written["pace"] == 50 and "latency_low" not in written
    grid = ["--grid", f"latency=lognormal,{law}", "--grid", "pace=50,400", "--steps", "5"]
    assert main(["sweep", "grpo", *TINY, *grid, "--out", str(tmp_path / "sweep")]) == 0


@pytest.mark.slow
def test_a_seed_that_diverges_is_reported(tmp_path, capsys):
    out = tmp_path / "diverged"
    flags = [*TINY[:-1], "3e38", "--kl", "code", "--kl-weight", "1e30"]
    assert main(["run", "grpo", *flags, "--out", str(out)]) == 1
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    (failed,) = summary["failed_seeds"]
    assert f"DIVERGED: seed 0 in step {failed['step']}" in printed
    assert summary["last"] is None and summary["best_by_seed"] == [None]


@pytest.mark.slow
def test_losses_and_windows_side_by_side(tmp_path, capsys):
    out = tmp_path / "compared"
    flags = ["--losses", "gepo,grpo", "--windows", "0,2", "--seeds", "2", "--out", str(out)]
    flags += ["--chunk", "4"]
    assert main(["compare", *flags, *TINY]) == 0
    printed = capsys.readouterr().out
    assert "gepo, W = 0" in printed and "grpo, W = 2" in printed and "IQM [95 %]" in printed
    pairs = [(loss, window) for loss in ("gepo", "grpo") for window in "02"]
    rows = rows_of(out / "comparison.csv")
    assert [(r["loss"], r["window"]) for r in rows] == pairs
    members = rows_of(out / "sweep.csv")
    assert [(r["loss"], r["window"], r["seed"]) for r in members] == [
        (*pair, seed) for pair in pairs for seed in "01"
    ]
    for index, row in enumerate(rows):
        own = [float(member["last"]) for member in members[2 * index : 2 * index + 2]]
        assert float(row["last"]) == float(row["mean"]) == pytest.approx(np.mean(own))
    document = yaml.safe_load((out / "config.yaml").read_text())
    assert document["grid"] == {"algorithm": ["gepo", "grpo"], "window": [0, 2]}
    assert (out / "comparison.md").read_text().count("\n| g") == 4
    assert (out / "comparison.png").stat().st_size > 5_000
    # A loss that is missing is run again alone, to the same table.
    table = (out / "comparison.csv").read_bytes()
    (out / "comparison.csv").unlink()
    (out / "chunks" / "000004.npz").unlink()
    assert main(["resume", str(out)]) == 0
    assert "going on: 4 of 8 members are done" in capsys.readouterr().out
    assert (out / "comparison.csv").read_bytes() == table
    best = max(rows, key=lambda row: float(row["mean"]))
    assert main(["best", str(out)]) == 0
    winner = yaml.safe_load(capsys.readouterr().out)
    assert (winner["algorithm"], str(winner["window"])) == (best["loss"], best["window"])
    assert main(["plot", str(out), "--across", "algorithm"]) == 0
    assert "heatmap.png" in capsys.readouterr().out


@pytest.mark.slow
def test_algorithms_of_one_kind_are_an_axis(tmp_path, capsys):
    out = tmp_path / "sweep"
    grid = ["--grid", "algorithm=gepo,grpo", "--steps", "2"]
    assert main(["sweep", "gepo", *TINY, *grid, "--out", str(out)]) == 0
    assert [row["algorithm"] for row in rows_of(out / "sweep.csv")] == ["gepo", "grpo"]
    capsys.readouterr()
    for other, message in (
        ("fednpg", "algorithm: got 'fednpg'; algorithms of one kind, as gepo is"),
        ("gepoo", "algorithm: got 'gepoo'; did you mean 'gepo'?"),
    ):
        assert main(["sweep", "gepo", *TINY, "--grid", f"algorithm=gepo,{other}"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


BAD = [
    (["run", "gepo", "--group-size", "1"], "--group-size: got 1; "),
    (["run", "gepo", "--window", "-1"], "--window: got -1; "),
    (["run", "gepo", "--top-p", "0"], "--top-p: got 0"),
    (["run", "gepo", "--top-p", "1.5"], "--top-p: got 1.5; a number in (0, 1]"),
    (["run", "gepoo"], "algorithm: got 'gepoo'; did you mean 'gepo'?"),
    (["run", "gepo", "--task", "prefix"], "--task: got 'prefix'; did you mean 'prefix-sum'?"),
    (["run", "gepo", "--task-args", "size=3"], "--task-args: got size=3; "),
    (["run", "gepo", "--task-args", "length=0"], "length: got 0; "),
    (["run", "gepo", "--latency", "lognormall"], "--latency: got 'lognormall'; did you mean"),
    (["run", "gepo", "--latency", "missing.csv"], "--latency: got missing.csv; "),
    (["run", "gepo", "--latency", "negative.csv"], "--latency: got '-3' in line 2 of negative.csv"),
    (["run", "gepo", "--latency", "words.csv"], "--latency: got 'soon' in line 3 of words.csv"),
    (["run", "gepo", "--latency-low", "90", "--latency-high", "60"], "--latency-"),
    (
        ["run", "gepo", "--latency", "constant", "--latency-high", "9"],
        "options: got --latency-high 9",
    ),
    (
        ["run", "gepo", "--latency", f"{LAW}:paced", "--latency-low", "9"],
        "options: got --latency-low",
    ),
    (
        ["run", "gepo", "--latency", f"{LAW}:paced", "--pace", "0"],
        "--pace: got 0.0; a positive number",
    ),
    (["run", "gepo", "--latency", f"{LAW}:no_law"], "a factory of LatencyLaw, not of float"),
    (["run", "gepo", "--sampler-seconds", "1", "2"], "--sampler-seconds: got 2 numbers"),
    (["run", "gepo", "--packet-loss", "1"], "--packet-loss: got 1"),
    (["run", "gepo", "--label-noise", "2"], "--label-noise: got 2"),
    (["run", "gepo", "--temperature", "0"], "--temperature: got 0"),
    (["run", "gepo", "--policy", "transformer", "--layers", "5"], "--layers: got 5"),
    (["run", "gepo", "--overwrite"], "--overwrite: got no --out"),
    (["compare", "--losses", "gepo", "--window", "3"], "options: got --window 3; "),
    (["compare", "--losses", "gepo", "--feasible-seeds", "0.5"], "these runs have no budgets"),
    (["compare", "--losses", "gepo,nope"], "--losses: got 'nope'; did you mean"),
    (["compare", "--losses", "gepo,gepo"], "--losses: got 'gepo,gepo'; every loss once"),
    (["compare", "--windows", "0,-4"], "--windows: got '0,-4'; "),
    (["compare", "--windows", "4,4"], "--windows: got '4,4'; every window once"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: " ".join(case[0]))
def test_a_mistake_is_told_in_one_line(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "negative.csv").write_text("5\n-3\n")
    (tmp_path / "words.csv").write_text("seconds\n5\nsoon\n")
    arguments, expected = case
    out = [] if "--overwrite" in arguments else ["--out", str(tmp_path / "out")]
    assert main([*arguments, *out]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1, errors
    assert expected in errors
    assert not (tmp_path / "out").exists()


def test_losses_tasks_and_laws_are_listed(capsys):
    assert main(["list", "losses"]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert names >= set(NAMES.split())
    assert main(["list", "latencies"]) == 0
    assert "lognormal" in capsys.readouterr().out
    assert main(["list", "token-tasks"]) == 0
    assert "prefix-sum" in capsys.readouterr().out
