"""``fedjax-rl run fedppo`` and ``run fednatural`` as a user meets them, at the smallest size."""

import csv
import json

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.cmdp.solve import solve
from fedjax_rl.sources.problems import save_problem
from tests import support
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(400)

CHAIN = "fedjax_rl.envs.known:chain"
BANDIT = "fedjax_rl.envs.known:constrained_bandit"
TINY = "--envs 4 --rollout 8 --hidden 8 8 --rounds 3 --episodes 100 --epochs 1 --minibatches 2"
REFERENCES = ("fed", "omniscient", "no-communication", "one-shot", "unconstrained")
FILES = {
    "config.yaml",
    "metrics.csv",
    "evaluations.csv",
    "summary.json",
    "policy.npz",
    "reward.png",
    "costs.png",
    "multipliers.png",
}
SUMMARY = """
    algorithm reference problem num_agents num_constraints rounds local_steps seed seeds reward
    reward_by_seed costs costs_by_seed budgets budget_kinds feasible feasible_by_seed
    feasible_share feasibility_tolerance last_reward last_costs mode_reward mode_costs multipliers
    environment_steps environment_steps_per_agent bytes_exchanged seconds steps_per_second
    compile_seconds failed_seeds
"""


def run(out, *flags, algorithm="fedppo", problem=CHAIN):
    arguments = ["run", algorithm, "--problem", problem, *TINY.split(), "--out", str(out)]
    return main([*arguments, *map(str, flags)])


def rows_of(out, name="metrics.csv"):
    with (out / name).open() as file:
        return list(csv.DictReader(file))


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What `MADE` names: directories by (reference, seeds)."""
    top = tmp_path_factory.mktemp("references") / "compared"
    made = {(reference, 2): top / reference for reference in REFERENCES} | {("fed", 2): top}
    flags = ("--agents", 2, "--seed", 5)
    assert run(top, *flags, "--seeds", 2, "--compare") == 0
    for reference, seeds in (("one-shot", 2), *ALONE):
        made[reference, seeds] = top.with_name(f"{reference}-{seeds}")
        own = ("--seeds", seeds, "--reference", reference)
        assert run(made[reference, seeds], *flags, *own) == 0
    return made


ALONE = (("fed", 1), ("no-communication", 1))
MADE = (*((reference, 2) for reference in REFERENCES), *ALONE)
"""References and numbers of seeds: with a single one, of one policy and of one for each agent."""
every = pytest.mark.parametrize(("reference", "seeds"), MADE)


@pytest.mark.slow
@every
def test_a_run_leaves_everything_behind(runs, reference, seeds):
    out = runs[reference, seeds]
    without = {"multipliers.png"} if reference == "unconstrained" else set()
    assert {path.name for path in out.iterdir() if path.is_file()} >= FILES - without
    assert not any((out / name).exists() for name in without)
    summary = summary_of(out)
    assert set(SUMMARY.split()) <= set(summary)
    assert summary["reference"] == reference and summary["seeds"] == seeds
    assert summary["num_constraints"] == 1 and summary["budgets"] == {"steps": 1.5}
    for name in ("reward_by_seed", "feasible_by_seed"):
        assert len(summary[name]) == seeds
    assert len(summary["costs_by_seed"]["steps"]) == seeds
    assert summary["reward"] == pytest.approx(np.mean(summary["reward_by_seed"]))
    assert 0 <= summary["reward"] <= 1 and 0 <= summary["costs"]["steps"] <= 3
    assert summary["failed_seeds"] == []
    assert summary["seconds"] >= summary["compile_seconds"] > 0 < summary["steps_per_second"]


@pytest.mark.slow
@every
def test_steps_and_bytes_are_counted(runs, reference, seeds):
    """A single agent stands for all in two of the references; only the federation talks."""
    summary, out = summary_of(runs[reference, seeds]), runs[reference, seeds]
    agents = 1 if reference in ("omniscient", "unconstrained") else 2
    assert summary["num_agents"] == agents
    assert summary["environment_steps"] == 3 * 4 * 8 * agents
    assert summary["environment_steps_per_agent"] == 3 * 4 * 8
    layers = [(8, 8), (8, 8), (8, 2)]
    actor = sum(fan_in * fan_out + fan_out for fan_in, fan_out in layers)
    critic = sum(fan_in * fan_out + fan_out for fan_in, fan_out in [*layers[:2], (8, 1)])
    moments = 1 + 2 * 8
    # Beside them what divided the objective, the length of the step, and what costs take.
    merged = 4 * (actor + critic + moments + 1 + 3 + 1)
    assert summary["bytes_exchanged"] == (2 * 2 * merged * 3 if reference == "fed" else 0)
    stored = np.load(out / "policy.npz")
    assert sum(leaf[0, 0].size for leaf in stored.values()) == actor + moments
    policies = 2 if reference == "no-communication" else 1
    assert {leaf.shape[:2] for leaf in stored.values()} == {(seeds, policies)}


@pytest.mark.slow
@every
def test_evaluations_are_tidy(runs, reference, seeds):
    rows = rows_of(runs[reference, seeds], "evaluations.csv")
    policies = 2 if reference == "no-communication" else 1
    rounds = [3] if reference == "one-shot" else [0, 3]
    keys = [(int(row["round"]), int(row["seed"]), int(row["policy"])) for row in rows]
    assert keys == [
        (round, 5 + seed, policy)
        for round in rounds
        for seed in range(seeds)
        for policy in range(policies)
    ]
    assert set(rows[0]) == {
        *("round", "seed", "policy", "environment_steps"),
        *("reward", "cost/steps", "mode_reward", "mode_cost/steps"),
        *("unfinished", "mode_unfinished"),
    }
    last = [float(row["reward"]) for row in rows if row["round"] == "3"]
    assert np.mean(last) == pytest.approx(summary_of(runs[reference, seeds])["last_reward"])


@pytest.mark.slow
@every
def test_metrics_have_a_row_for_every_round(runs, reference, seeds):
    rows = rows_of(runs[reference, seeds])
    assert [int(row["round"]) for row in rows] == [0, 1, 2, 3]
    assert [bool(row["evaluation/reward"]) for row in rows] == [True, False, False, True]
    watched = {name for name in rows[0] if name.startswith("multiplier/")}
    agents = {"unconstrained": (), "omniscient": (0,)}.get(reference, (0, 1))
    assert watched == {f"multiplier/{agent}/steps" for agent in agents}
    assert rows[0]["reward"] == "" and float(rows[-1]["entropy"]) > 0


@pytest.mark.slow
def test_comparing_puts_references_side_by_side(runs, capsys):
    out = runs["fed", 2]
    summary = summary_of(out)
    for reference in ("fed", "omniscient", "no-communication", "unconstrained"):
        own = summary_of(runs[reference, 2])
        assert summary[f"reward_{reference.replace('-', '_')}"] == own["reward"]
    assert (out / "comparison.png").stat().st_size > 1000
    rows = rows_of(out, "comparison.csv")
    assert [row["reference"] for row in rows][:2] == ["fed", "omniscient"]
    assert float(rows[0]["cost/steps"]) == summary["costs"]["steps"]


@pytest.mark.slow
def test_a_config_reproduces_the_run_bit_for_bit(runs, tmp_path):
    first, again = runs["fed", 2], tmp_path / "again"
    assert main(["run", "fedppo", "--config", str(first / "config.yaml"), "--out", str(again)]) == 0
    for name in ("metrics.csv", "evaluations.csv", "policy.npz"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    settings = yaml.safe_load((again / "config.yaml").read_text())
    compared = yaml.safe_load((first / "config.yaml").read_text())
    assert compared == settings | {"compare": True}, "and that others were run beside it"
    assert settings["hidden"] == [8, 8] and settings["made_with"]["jax"]


@pytest.mark.slow
def test_seeds_are_those_of_runs_of_their_own(runs):
    """Seed 5 alone and seed 5 beside seed 6 differ only by the rounding of batched products."""
    alone, together = (rows_of(runs["fed", seeds], "evaluations.csv") for seeds in (1, 2))
    assert alone[0]["reward"] == together[0]["reward"]
    assert together[0]["seed"] == "5" and together[1]["seed"] == "6"
    one, two = (np.load(runs["fed", seeds] / "policy.npz") for seeds in (1, 2))
    for name in one:
        np.testing.assert_allclose(one[name][0], two[name][0], atol=1e-5)
    assert any(np.abs(two[name][0] - two[name][1]).max() > 1e-2 for name in two)


@pytest.mark.slow
def test_settings_of_the_task_and_of_overwriting(tmp_path, capsys):
    """Budgets, dynamics and access of one's own; a second run replaces what the first wrote."""
    access, out = tmp_path / "access.yaml", tmp_path / "run"
    access.write_text("[[1, 0, 1], [0, 1, 1]]")
    flags = ["--access", access, "--budgets", 3, 4, 5, "--vary", "top_speed=0.5,0.9"]
    assert run(out, *flags, "--agents", 2, problem="point-robot") == 0
    summary = summary_of(out)
    assert list(summary["budgets"].values()) == [3.0, 4.0, 5.0]
    assert {agent: list(own) for agent, own in summary["multipliers"].items()} == {
        "0": ["hazard-1", "speed"],
        "1": ["hazard-2", "speed"],
    }
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings["vary"] == ["top_speed=0.5,0.9"] and settings["budgets"] == [3.0, 4.0, 5.0]
    assert settings["access"] == str(access)
    before = (out / "metrics.csv").read_bytes()
    capsys.readouterr()
    assert run(out, *flags) == 2
    assert "the directory exists and is not empty" in capsys.readouterr().err
    assert (out / "metrics.csv").read_bytes() == before
    (out / "mine.txt").write_text("kept")
    (out / "episode.gif").write_text("of the run before")
    flags = ["--scale-observations", "none", "--overwrite"]
    assert run(out, *flags, algorithm="fednatural") == 0
    summary = summary_of(out)
    assert summary["algorithm"] == "fednatural" and summary["problem"] == CHAIN
    assert (out / "mine.txt").exists() and not (out / "episode.gif").exists()
    assert main(["eval", str(out)]) == 0
    figures = json.loads((out / "evaluation.json").read_text())
    low, high = figures["cost_intervals"]["steps"]
    assert abs(figures["costs"]["steps"] - summary["last_costs"]["steps"]) < 2 * (high - low)
    assert figures["mode_reward"] == summary["mode_reward"], "a mode in a world without chance"


@pytest.mark.slow
def test_a_finite_problem_is_held_to_its_optimum(tmp_path, capsys):
    path, out = tmp_path / "problem.npz", tmp_path / "run"
    problem = support.random_problem(0)
    save_problem(path, problem)
    plain = ("--seeds", 2, "--scale-observations", "none")
    assert run(out, *plain, problem=str(path)) == 0
    assert "exact optimum V* = " in capsys.readouterr().out
    summary, stored = summary_of(out), np.load(out / "policy.npz")
    assert summary["optimal_value"] == pytest.approx(solve(problem).optimal_value, abs=1e-8)
    gaps, violations = [], []
    for seed in range(2):
        features = np.eye(5)
        for layer in range(3):
            kernel, bias = (stored[f"actor/Dense_{layer}/{part}"] for part in ("kernel", "bias"))
            features = features @ kernel[seed, 0].astype(float) + bias[seed, 0]
            features = np.tanh(features) if layer < 2 else features
        policy = support.softmax(features)
        value = problem.initial @ support.value(problem, policy, problem.reward)
        gaps.append(summary["optimal_value"] - value)
        violations.append((support.returns(problem, policy) - problem.budgets).max())
    np.testing.assert_allclose(summary["gap_by_policy"], gaps, atol=1e-4)
    np.testing.assert_allclose(summary["violation_by_policy"], violations, atol=1e-4)
    assert summary["gap"] == pytest.approx(np.mean(gaps), abs=1e-4)
    digest = yaml.safe_load((out / "config.yaml").read_text())["made_with"]["problem_sha256"]
    save_problem(path, support.random_problem(2))
    again = tmp_path / "again"
    for extra in ([], ["--compare"]):
        config = str(out / "config.yaml")
        assert main(["run", "fedppo", "--config", config, "--out", str(again), *extra]) == 2
        assert "content is not what that run was made with" in capsys.readouterr().err
    assert len(digest) == 64 and not again.exists()


MERGES = """
import jax
import jax.numpy as jnp
from fedjax_rl.algorithm import Aggregator
from fedjax_rl.federation.aggregate import of_messages
from fedjax_rl.ops.means import weighted_mean


def breaks(limit={limit}):
    def merge(messages, weights, count):
        merged = weighted_mean(messages, weights)
        bad = (count == 1) & (merged.actor["Dense_0"]["kernel"][0, 0] > limit)
        return jax.tree.map(lambda leaf: jnp.where(bad, jnp.nan, leaf), merged), count + 1

    return of_messages(Aggregator(lambda message, settings: jnp.zeros((), jnp.int32), merge))


def always_breaks():
    return breaks(-jnp.inf)
"""
"""A merge that goes wrong in round 2, for a seed whose policy has a large number in one place."""


@pytest.fixture
def limit(runs, tmp_path, monkeypatch):
    """Between the two seeds of `runs`, of which one is to fail."""
    numbers = np.load(runs["fed", 2] / "policy.npz")["actor/Dense_0/kernel"][:, 0, 0, 0]
    (tmp_path / "merges.py").write_text(MERGES.format(limit=numbers.mean()))
    monkeypatch.syspath_prepend(str(tmp_path))
    return numbers


@pytest.mark.slow
def test_a_seed_that_diverges_leaves_the_other_as_it_is(runs, limit, tmp_path, capsys):
    failed, healthy = int(limit.argmax()), int(limit.argmin())
    out, whole = tmp_path / "run", summary_of(runs["fed", 2])
    flags = ["--agents", 2, "--seeds", 2, "--seed", 5]
    assert run(out, *flags, "--merge", "merges:breaks") == 1
    assert f"DIVERGED: seed {5 + failed} in round 2" in capsys.readouterr().out
    summary = summary_of(out)
    assert summary["failed_seeds"] == [{"seed": 5 + failed, "round": 2}]
    one, two = (np.load(path / "policy.npz") for path in (runs["fed", 2], out))
    for name in one:
        np.testing.assert_allclose(one[name][healthy], two[name][healthy], atol=1e-5)
        assert np.isfinite(two[name]).all(), "a failed seed keeps its last finite policy"
    assert summary["reward_by_seed"][failed] is None
    assert summary["reward"] == summary["reward_by_seed"][healthy]
    assert summary["reward"] == pytest.approx(whole["reward_by_seed"][healthy], abs=0.02)
    assert summary["rounds"] == 3 and rows_of(out)[-1]["reward"] != ""


@pytest.mark.slow
def test_a_run_whose_only_seed_diverges_ends_there(limit, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(out, "--agents", 2, "--seed", 5, "--merge", "merges:always_breaks") == 1
    summary = summary_of(out)
    assert summary["failed_seeds"] == [{"seed": 5, "round": 2}] and summary["rounds"] == 1
    assert "DIVERGED: seed 5 in round 2" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == FILES
    stored = np.load(out / "policy.npz")
    assert all(np.isfinite(leaf).all() for leaf in stored.values())
    assert [row["round"] for row in rows_of(out)] == ["0", "1"]


BAD_FLAGS = {
    "--problem cartpole-pos3": "--problem: got 'cartpole-pos3'; did you mean 'cartpole-pos2'?",
    "--problem os:nothing": "an importable module:factory",
    "--problem os:getcwd": "--problem: got os:getcwd; a factory of a Task or a CMDP, not str",
    "--problem nowhere.npz": "--problem: got nowhere.npz; no such file",
    "--problem-args kidn=step": "--problem-args: got kidn; cartpole-pos2 takes kind",
    "--problem-args kind=hour": "kind: got 'hour'; one of episode, step, discounted",
    "--budgets 20": "--budgets: got [20.0]; 2 finite numbers, for position-1, position-2",
    "--budgets 20 nan": "--budgets: got nan; finite numbers, one for each",
    "--minibatches 3 --rollout 200": "--minibatches: got 3; a divisor of --rollout 200",
    "--episodes 50": "--episodes: got 50; a whole number of at least 100",
    "--seed -1": "--seed: got -1; a whole number of at least 0",
    "--seeds 0": "--seeds: got 0; a whole number of at least 1",
    "--rounds many": "--rounds: got 'many'; expected --rounds INT",
    "--hidden 64 0": "--hidden: got 0; a whole number of at least 1",
    "--learning-rate 0": "--learning-rate: got 0.0; a positive number",
    "--learning-rate nan": "--learning-rate: got nan; a positive number",
    "--gae 1.5": "--gae: got 1.5; a number in [0, 1]",
    "--discount 2": "--discount: got 2.0; a number in [0, 1]",
    "--agents 0": "--agents: got 0; a whole number of at least 1",
    "--access nowhere.yaml": "--access: got nowhere.yaml; a readable YAML file",
    "--merge logits": "--merge: got 'logits'; this learner sends parameters, and that merge takes",
    "--merge parameter": "--merge: got 'parameter'; did you mean 'parameters'?",
    "--merge os:getcwd": "--merge: got 'os:getcwd'; a factory of Aggregator, not of str",
    "--duals crpo --reference unconstrained": "--duals: got crpo; only with --reference fed or",
    "--duals pdi": "--duals: got 'pdi'; Expected one of ('multiplicative', 'pid',",
    "--vary total_mass=1,2": "--vary: got 'total_mass'; a parameter that is not derived",
    "--vary lenght=1,2": "--vary: got 'lenght'; one of gravity, masscart",  # codespell:ignore
    "--vary length=1": "--vary: got length=[1.0]; one number for each of 2 agents",
    "--vary length=1,x": "--vary: got 'length=1,x'; NAME=VALUE,VALUE,… of numbers",
    "--vary length": "--vary: got 'length'; NAME=VALUE",
    "--preset nope": "--preset: got 'nope'; one of default, paper",
    "--config nowhere.yaml": "--config: got nowhere.yaml; a readable YAML file",
    "--config nowhere.yaml --preset paper": "--preset: got 'paper'; a preset or a --config",
    "--compare --reference omniscient": "--reference: got 'omniscient'; fed with --compare",
    "--overwrite": "--overwrite: got no --out",
    "--learner npg": "options: got --learner npg",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_told_in_one_line_and_nothing_is_written(flags, tmp_path, capsys):
    out = [] if flags == "--overwrite" else ["--out", str(tmp_path / "run")]
    assert main(["run", "fedppo", *flags.split(), *out]) == 2
    output = capsys.readouterr()
    assert BAD_FLAGS[flags] in output.err
    assert output.err.count("\n") == 1 and not output.out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_config_of_another_algorithm_is_refused(runs, capsys):
    config = str(runs["fed", 1] / "config.yaml")
    assert main(["run", "fednatural", "--config", config]) == 2
    errors = capsys.readouterr().err
    assert "a config.yaml of algorithm fednatural" in errors and errors.count("\n") == 1


def test_a_comparison_overwrites_runs_only(tmp_path, capsys):
    """What is in the way is seen before anything is run."""
    (tmp_path / "config.yaml").write_text("of a run")
    (tmp_path / "omniscient").mkdir()
    (tmp_path / "omniscient" / "thesis.tex").write_text("dear")
    assert run(tmp_path, "--compare", "--overwrite") == 2
    assert "only a run directory" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_text() == "of a run"


@pytest.mark.slow
def test_sixteen_seeds_with_orthogonal_networks_do_not_hang(run_cli, tmp_path):
    """The vmapped factorisations of the initialisation, in a process of their own."""
    sizes = TINY.replace("8 8", "64 64").replace("--rounds 3", "--rounds 1").split()
    arguments = ("run", "fedppo", "--problem", BANDIT, *sizes, "--seeds", 16)
    finished = run_cli(*arguments, timeout=200, compiled_quickly=True)
    assert finished.returncode == 0, finished.stderr
    assert "16 seeds as one program" in finished.stdout
