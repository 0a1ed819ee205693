"""``fedjax-rl run fednpg`` as a user meets it."""

import csv
import json

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.sources.problems import save_problem
from tests import support

pytestmark = pytest.mark.timeout(240)

FILES = {
    "config.yaml",
    "metrics.csv",
    "summary.json",
    "policy.npz",
    "value.png",
    "costs.png",
    "multipliers.png",
}
SUMMARY = """
    algorithm problem num_states num_actions num_agents num_constraints local_steps rounds seed
    optimal_value optimal_multipliers slater_slack average_value average_gap average_violation
    strong_violation occupancy_gap occupancy_violation last_value last_gap last_violation
    multipliers effective_multipliers feasible_average feasible_last feasibility_tolerance
    seconds rounds_per_second
"""


def run(tmp_path, *flags, name="run"):
    out = tmp_path / name
    status = main(["run", "fednpg", "--out", str(out), *flags])
    return status, out


def rows_of(out):
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_behind(tmp_path, capsys):
    status, out = run(tmp_path, "--rounds", "50")
    printed = capsys.readouterr().out
    assert status == 0
    assert {path.name for path in out.iterdir()} == FILES
    for name in FILES - {"metrics.csv"}:
        assert (out / name).stat().st_size > 100, name
    names = ", ".join(f"segment-{number}" for number in range(4))
    assert f"violations below are of {names}, in this order" in printed
    for text in ("exact optimum V* = 23.8372", "average violation", "Recommended:"):
        assert text in printed
    summary = json.loads((out / "summary.json").read_text())
    assert set(SUMMARY.split()) <= set(summary)
    assert summary["optimal_value"] == pytest.approx(23.8372, abs=1e-4)
    policies = np.load(out / "policy.npz")
    assert policies["last"].shape == policies["averaged"].shape == (40, 4)
    assert str(policies["recommended"]) == summary["recommended_policy"]
    np.testing.assert_allclose(policies["averaged"].sum(1), 1.0)


def test_rows_and_summary_agree_with_an_independent_loop(tmp_path):
    """Row t is the merged policy after round t; averages are over rounds 1 … T."""
    path = tmp_path / "problem.npz"
    problem = support.random_problem(0)
    save_problem(path, problem)
    flags = ["--problem", str(path), "--rounds", "40"]
    _, out = run(tmp_path, *flags, "--step-size", "0.4", "--dual-step-size", "0.05")
    rows = rows_of(out)
    policies, duals = support.centralised_npg(problem, 0.1, 0.05, rounds=40)
    signals = [problem.reward, *problem.costs]
    exact = np.array(
        [[problem.initial @ support.value(problem, pi, x) for x in signals] for pi in policies]
    )
    assert [int(row["round"]) for row in rows] == list(range(41))
    for index, name in enumerate(["value", *(f"cost/constraint-{j}" for j in range(4))]):
        np.testing.assert_allclose([float(row[name]) for row in rows], exact[:, index], atol=1e-11)
    for agent in range(4):
        column = [float(row[f"multiplier/{agent}/constraint-{agent}"]) for row in rows]
        np.testing.assert_allclose(column, [dual[agent] for dual in duals], atol=1e-11)
    summary = json.loads((out / "summary.json").read_text())
    optimum, excess = summary["optimal_value"], exact[1:, 1:] - problem.budgets
    assert summary["average_gap"] == pytest.approx(optimum - exact[1:, 0].mean(), abs=1e-10)
    assert summary["average_violation"] == pytest.approx(excess.mean(0).max(), abs=1e-10)
    strong = np.maximum(excess.max(1), 0).mean()
    assert summary["strong_violation"] == pytest.approx(strong, abs=1e-10)
    assert summary["occupancy_gap"] == pytest.approx(summary["average_gap"], abs=1e-9)
    assert summary["occupancy_violation"] == pytest.approx(summary["average_violation"], abs=1e-9)
    assert float(rows[-1]["average_gap"]) == summary["average_gap"]
    assert summary["last_violation"] == pytest.approx(excess[-1].max(), abs=1e-10)
    assert summary["bytes_exchanged"] == 40 * 2 * 4 * 5 * 4 * 8


def test_log_every_keeps_the_first_and_the_last_round(tmp_path):
    _, out = run(tmp_path, "--rounds", "50", "--log-every", "20")
    assert [int(row["round"]) for row in rows_of(out)] == [0, 20, 40, 50]


@pytest.mark.slow
def test_config_reproduces_the_run_bit_for_bit(tmp_path):
    flags = ["--rounds", "30", "--local-steps", "3", "--evaluation", "sampled", "--rollouts", "2"]
    _, first = run(tmp_path, *flags, "--seed", "5", name="first")
    _, second = run(tmp_path, "--config", str(first / "config.yaml"), name="second")
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    _, other = run(tmp_path, "--config", str(first / "config.yaml"), "--seed", "6", name="other")
    assert (first / "metrics.csv").read_bytes() != (other / "metrics.csv").read_bytes()
    settings = yaml.safe_load((second / "config.yaml").read_text())
    assert settings["local_steps"] == 3 and settings["made_with"]["jax"]


def test_a_config_whose_problem_file_has_changed_is_refused(tmp_path, capsys):
    path = tmp_path / "problem.npz"
    save_problem(path, support.random_problem(0))
    _, out = run(tmp_path, "--problem", str(path), "--rounds", "5")
    save_problem(path, support.random_problem(2))
    status, again = run(tmp_path, "--config", str(out / "config.yaml"), name="again")
    assert status == 2 and not again.exists()
    assert "content is not what that run was made with" in capsys.readouterr().err


def test_an_existing_directory_is_kept_unless_told_otherwise(tmp_path, capsys):
    _, out = run(tmp_path, "--rounds", "5")
    before = (out / "metrics.csv").read_bytes()
    status, _ = run(tmp_path, "--rounds", "7")
    assert status == 2 and (out / "metrics.csv").read_bytes() == before
    assert "the directory exists and is not empty" in capsys.readouterr().err
    status, _ = run(tmp_path, "--rounds", "7", "--overwrite")
    assert status == 0 and len(rows_of(out)) == 8


def test_divergence_ends_the_run_and_keeps_what_was_logged(tmp_path, capsys):
    flags = ["--rounds", "400", "--step-size", "1e307", "--dual-step-size", "1e-3"]
    status, out = run(tmp_path, *flags)
    printed = capsys.readouterr().out
    assert status == 1
    failed = json.loads((out / "summary.json").read_text())["failed_round"]
    rows = rows_of(out)
    assert f"DIVERGED: round {failed} " in printed
    assert [int(row["round"]) for row in rows] == list(range(failed))
    for row in rows:
        assert np.isfinite([float(cell) for cell in row.values()]).all()
    assert np.isfinite(np.load(out / "policy.npz")["last"]).all()


def test_a_late_divergence_keeps_the_last_finite_row(tmp_path, monkeypatch, capsys):
    (tmp_path / "late.py").write_text(
        "import jax.numpy as jnp\n"
        "from fedjax_rl.learners.tabular.npg import npg\n"
        "def breaks(evaluation):\n"
        "    learner = npg(evaluation)\n"
        "    def step(key, time, policy, local, agent, hparams):\n"
        "        policy, local, info = learner.step(key, time, policy, local, agent, hparams)\n"
        "        late = jnp.max(local.multipliers) > 0.5\n"
        "        logits = jnp.where(late, jnp.nan, policy.logits)\n"
        "        return policy._replace(logits=logits), local, info\n"
        "    return learner._replace(step=step)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    flags = ["--rounds", "2000", "--learner", "late:breaks", "--log-every", "50"]
    status, out = run(tmp_path, *flags)
    summary = json.loads((out / "summary.json").read_text())
    logged = [int(row["round"]) for row in rows_of(out)]
    assert status == 1 and 60 < summary["failed_round"] < 1000
    assert logged[-1] == summary["failed_round"] - 1 == summary["rounds"]
    assert logged[:-1] == list(range(0, logged[-1], 50))
    assert f"DIVERGED: round {summary['failed_round']} " in capsys.readouterr().out


def test_a_policy_that_is_not_feasible_is_not_called_so(tmp_path, capsys):
    for flags in (["--rounds", "200"], ["--rounds", "200", "--reference", "no-communication"]):
        _, out = run(tmp_path, *flags, "--overwrite")
        summary = json.loads((out / "summary.json").read_text())
        assert not summary["feasible_average"] and not summary["feasible_last"]
        (line,) = [x for x in capsys.readouterr().out.split("\n") if x.startswith("Recommended")]
        assert line.startswith(("Recommended: neither is within 2 %", "Recommended: none;"))
        if "no-communication" in flags:
            assert set(summary["effective_multipliers"].values()) == {None}


@pytest.mark.slow
def test_absent_agents_draw_nothing(tmp_path):
    flags = ["--rounds", "10", "--evaluation", "sampled", "--rollouts", "1"]
    steps = []
    for participants in ("1", "4"):
        _, out = run(tmp_path, *flags, "--participants", participants, "--overwrite")
        steps.append(json.loads((out / "summary.json").read_text())["environment_steps"])
    assert 3.5 < steps[1] / steps[0] < 4.5


def test_a_multiplier_at_its_cap_is_warned_about(tmp_path, capsys):
    run(tmp_path, "--rounds", "200", "--multiplier-cap", "0.05")
    printed = capsys.readouterr().out
    assert printed.count("the optimum is out of reach") == 1
    assert "Multipliers are at --multiplier-cap 0.05 (" in printed
    assert "More rounds should help" not in printed


def test_without_communication_every_agent_is_reported(tmp_path, capsys):
    _, out = run(tmp_path, "--rounds", "300", "--reference", "no-communication")
    summary = json.loads((out / "summary.json").read_text())
    matrix = np.array(summary["occupancy_costs_by_agent"])
    assert matrix.shape == (4, 4)
    assert summary["worst_occupancy_violation"] >= summary["occupancy_violation"]
    assert summary["bytes_exchanged"] == 0
    assert np.load(out / "policy.npz")["last"].shape == (4, 40, 4)
    assert "worst agent violates by" in capsys.readouterr().out


def test_access_from_a_file_with_several_owners(tmp_path):
    access = tmp_path / "access.yaml"
    access.write_text("[[1, 1, 0, 0], [0, 1, 1, 1], [1, 0, 0, 1]]")
    _, out = run(tmp_path, "--rounds", "60", "--access", str(access))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["num_agents"] == 3
    own = summary["multipliers"]
    assert set(own["1"]) == {"segment-1", "segment-2", "segment-3"}
    expected = (own["0"]["segment-1"] + own["1"]["segment-1"]) / 2
    assert summary["effective_multipliers"]["segment-1"] == pytest.approx(expected, rel=1e-12)
    assert summary["effective_multipliers"]["segment-2"] == own["1"]["segment-2"]


def test_nothing_is_written_without_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "fednpg", "--rounds", "5"]) == 0
    assert not list(tmp_path.iterdir())
    assert "--out DIR keeps" in capsys.readouterr().out


def problem_arrays(**changes):
    problem = support.random_problem(0)
    names = ("transition", "reward", "costs", "budgets", "initial", "discount")
    return {name: getattr(problem, name) for name in names} | changes


def spoiled(name, index, value):
    array = np.array(problem_arrays()[name])
    array[index] = value
    return {name: array}


BAD_FILES = {
    "row sum": (spoiled("transition", (2, 1, 0), 0.9), "at state 2, action 1; each row"),
    "nan": (spoiled("reward", (3, 2), np.nan), "reward: got nan at index (3, 2)"),
    "shape": ({"costs": np.zeros((4, 5, 3))}, "costs: got shape (4, 5, 3); expected [M, S, A]"),
    "float32": (
        {"reward": problem_arrays()["reward"].astype("float32")},
        "reward: got dtype float32; float64 is needed",
    ),
    "discount": ({"discount": 1.0}, "discount: got 1; a number in [0, 1)"),
    "initial": ({"initial": np.full(5, 0.1)}, "initial: got sum 0.5; the distribution must sum"),
    "infeasible": ({"budgets": np.full(4, -1.0)}, "(Slater slack -"),
    "unwatched": (
        {"access": np.eye(4, dtype=bool)[:3]},
        "access: got no agent that watches constraint-3; every constraint needs",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_problem_file_is_told_in_one_line(tmp_path, capsys, case):
    changes, message = BAD_FILES[case]
    path = tmp_path / "problem.npz"
    np.savez(path, **problem_arrays(**changes))
    status, out = run(tmp_path, "--problem", str(path))
    errors = capsys.readouterr().err
    assert status == 2 and not out.exists()
    assert message in errors and errors.count("\n") == 1


def test_a_missing_array_is_named(tmp_path, capsys):
    arrays = problem_arrays()
    del arrays["budgets"]
    path = tmp_path / "problem.npz"
    np.savez(path, **arrays)
    assert main(["run", "fednpg", "--problem", str(path)]) == 2
    errors = capsys.readouterr().err
    assert "array 'budgets' is missing" in errors and errors.count("\n") == 1


BAD_FLAGS = {
    "--rounds 0": "--rounds: got 0; a whole number of at least 1",
    "--rounds -3": "--rounds: got -3",
    "--rounds many": "--rounds: got 'many'; expected --rounds INT",
    "--budgets 3,4": "--budgets: got '3,4'; expected --budgets None, or FLOAT FLOAT ...",
    "--local-steps 0": "--local-steps: got 0",
    "--step-size 0": "--step-size: got 0.0; auto or a positive number",
    "--step-size -0.1": "--step-size: got -0.1",
    "--step-size quick": "--step-size: got 'quick'; expected --step-size FLOAT|{auto}",
    "--dual-step-size nan": "--dual-step-size: got nan",
    "--multiplier-cap 0": "--multiplier-cap: got 0.0",
    "--evaluation guess": "--evaluation: got 'guess'; Expected one of ('exact', 'sampled')",
    "--reference alone": "--reference: got 'alone'; Expected one of ('fed', 'omniscient', 'no",
    "--problem windy-clif": "--problem: got 'windy-clif'; did you mean 'windy-cliff'?",
    "--merge logit": "--merge: got 'logit'; did you mean 'logits'?",
    "--merge os:nothing": "--merge: got 'os:nothing'; an importable module:factory",
    "--merge os:getcwd": "--merge: got 'os:getcwd'; a factory of Aggregator, not of str",
    "--learner ngp": "--learner: got 'ngp'; did you mean 'npg'?",
    "--learner os:getcwd": "--learner: got 'os:getcwd'; a factory of 1 arguments",
    "--participants 9": "--participants: got 9; at most 4 agents",
    "--budgets 1 2": "--budgets: got shape (2,); expected [M], one per constraint = (4,)",
    "--budgets -1 1 1 1": "by 1 (Slater slack -1); raising that one may do",
    "--discount 1.0": "--discount: got 1.0; a number in [0, 1)",
    "--agents 7": "agents: got 7; windy-cliff has room for 1 to 6 segments",
    "--problem-args slip=1": "--problem-args: got slip; windy-cliff takes agents, discount",
    "--access nowhere.yaml": "--access: got nowhere.yaml; a readable YAML file",
    "--config nowhere.yaml": "config: got nowhere.yaml; a readable YAML file",
    "--overwrite": "--overwrite: got no --out",
    "--seed 99999999999999999999": "--seed: got 99999999999999999999; a whole number of at most",
    "--rounds 3000000000": "--rounds: got 3000000000; a whole number of at most",
    "--problem-args seed=[1": "--problem-args: got 'seed=[1'; a VALUE that reads as YAML",
    "--participants 2 --reference omniscient": "--participants: got 2; only with --reference fed",
    "--merge-weights 1 2": "--merge-weights: got (1.0, 2.0); one weight for each of 4 agents",
    "--merge-weights 1 1 1 0": "--merge-weights: got 0.0; positive numbers",
    "--learner regularized --regularization -1": "--regularization: got -1.0; a number of at least",
    "--regularization 0.1": "options: got --regularization 0.1; expected a known option",
    "--learner crpo --regularization 1": "options: got --regularization 1; expected a known option",
    "--learner optimistic --local-steps 2": "--local-steps: got 2; this learner merges after every",
    "--learner optimistic --merge logits": "this learner sends points, and that merge takes logits",
    "--learner crpo --correction control-variate": "--correction: got control-variate; a learner",
    "--roundz 5": "options: got --roundz 5; expected --rounds INT",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_told_in_one_line(flags, capsys):
    assert main(["run", "fednpg", *flags.split()]) == 2
    output = capsys.readouterr()
    assert BAD_FLAGS[flags] in output.err
    assert output.err.count("\n") == 1 and not output.out


def test_a_missing_extra_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["run", "fednpg", "--problem", "icu-sepsis"]) == 2
    assert "pip install 'fedjax_rl[icu]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_factory_of_the_current_directory(run_cli, tmp_path):
    (tmp_path / "my_merge.py").write_text(
        "from fedjax_rl.algorithm import Aggregator\n"
        "from fedjax_rl.ops.means import weighted_mean\n"
        "def first():\n"
        "    def merge(messages, weights, state):\n"
        "        return weighted_mean(messages, weights), state\n"
        "    return Aggregator(lambda message, settings: (), merge)\n"
    )
    finished = run_cli("run", "fednpg", "--rounds", "3", "--merge", "my_merge:first")
    assert finished.returncode == 0, finished.stderr
    assert "merging my_merge:first" in finished.stdout


def test_bad_input_in_a_fresh_process_is_one_line_and_status_two(run_cli):
    finished = run_cli("run", "fednpg", "--merge", "probabilites")  # codespell:ignore
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1 and "probabilities" in finished.stderr


def test_a_fresh_process_prints_its_first_rows_and_imports_no_plots_before(run_cli):
    finished = run_cli("run", "fednpg", "--rounds", "20")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.index("     0  ") < finished.stdout.index("    20  ")
