"""``fedjax-rl compare fednpg`` as a user meets it."""

import csv

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.families.tabular.comparison import FIGURES, Grid, plan, run_variant
from fedjax_rl.families.tabular.comparison_budgets import judged_after
from fedjax_rl.families.tabular.comparison_words import markdown, verdict
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.training import fednpg
from fedjax_rl.sources.problems import save_problem
from tests import support

pytestmark = pytest.mark.timeout(120)

FILES = {"config.yaml", "comparison.csv", "comparison.md", "comparison.png", "curves.npz"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return str(path)


def names(grid, **settings):
    variants, left_out = plan(FedNPGConfig(rounds=10, **settings), grid)
    return [variant.name for variant in variants], left_out


def kept_after(finished, round):
    averages_feasible = finished.result.config.learner == "crpo"
    kept = judged_after(finished.result, round, averages_feasible)
    return kept["feasible_average"], kept["feasible_last"]


def compare(*flags):
    return main(["compare", "fednpg", *map(str, flags)])


def rows_of(out):
    with (out / "comparison.csv").open() as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def test_variants_are_the_product_without_what_makes_no_sense(small):
    grid = Grid(("npg", "optimistic", "crpo"), (1, 5), ("none", "control-variate"))
    kept, left_out = names(grid, problem=small)
    npg = ["npg E=1", "npg E=1 control-variate", "npg E=5", "npg E=5 control-variate"]
    assert kept == [*npg, "optimistic E=1", "crpo E=1", "crpo E=5"]
    assert len(left_out) == 12 - len(kept) and not any("\n" in line for line in left_out)
    assert "Left out: optimistic E=5: --local-steps: got 5; this learner merges" in left_out[1]


def test_merges_and_references_are_compared_where_they_fit(small):
    merges = Grid(("npg", "optimistic"), merges=("auto", "logits", "probabilities"))
    kept, left_out = names(merges, problem=small)
    assert kept == ["npg E=1", "npg E=1 probabilities", "optimistic E=1"]
    assert left_out[0] == "Left out: npg E=1 logits: the same as npg E=1"
    assert "this learner sends points" in left_out[1]
    everything = Grid(
        corrections=("none", "control-variate"),
        merges=("auto", "probabilities"),
        references=("fed", "omniscient", "no-communication"),
    )
    kept, left_out = names(everything, problem=small)
    alone = [name for name in kept if name.endswith(("omniscient", "no-communication"))]
    assert alone == ["npg E=1 omniscient", "npg E=1 no-communication"]
    assert sum("a reference runs with the first only" in line for line in left_out) == 6


def test_both_views_are_rounds_of_the_same_run(small, tmp_path, capsys):
    out = tmp_path / "drift"
    flags = ["--learners", "npg,crpo", "--local-steps", "2,3", "--references", "fed,omniscient"]
    assert compare("--problem", small, "--rounds", 20, *flags, "--out", out) == 0
    told = capsys.readouterr()
    assert "1 of 8: npg E=2 …" in told.err and "After 40 local steps each" in told.out
    assert max(map(len, told.out.split("Written")[0].splitlines()[2:])) <= 120
    assert {path.name for path in out.iterdir()} == FILES
    assert (out / "comparison.png").stat().st_size > 10_000
    rows, curves = rows_of(out), np.load(out / "curves.npz")
    assert len(rows) == 8
    for name in ("npg E=3", "crpo E=3"):
        run = fednpg(small, rounds=20, local_steps=3, learner=name.split()[0])
        for view, round in (("equal_rounds", 20), ("equal_local_steps", 13)):
            assert int(rows[name][f"{view}/round"]) == round
            for figure in (*FIGURES, "bytes_exchanged"):
                assert float(rows[name][f"{view}/{figure}"]) == run.history[figure][round]
        for policy in ("feasible_average", "feasible_last"):
            assert rows[name][f"equal_rounds/{policy}"] == str(run.summary[policy])
        np.testing.assert_array_equal(curves[f"{name}/value"], run.history["value"])
    assert rows["npg E=2"]["equal_local_steps/round"] == "20"
    assert rows["npg E=2 omniscient"]["equal_rounds/bytes_exchanged"] == "0"
    assert "| npg E=3 | 13 |" in (out / "comparison.md").read_text()


def test_views_that_are_the_same_are_shown_once(small, tmp_path, capsys):
    out = tmp_path / "learners"
    flags = ["--learners", "npg,crpo", "--local-steps", 2, "--out", out]
    assert compare("--problem", small, "--rounds", 20, *flags) == 0
    told = capsys.readouterr().out
    assert told.count("avg gap") == told.count("Best feasible") + told.count("No variant") == 1
    assert "After 20 rounds (40 local steps) each:" in told
    assert (out / "comparison.md").read_text().count("| variant |") == 1
    assert rows_of(out)["crpo E=2"]["equal_local_steps/round"] == "20"


def test_feasibility_from_the_history_is_that_of_the_summary():
    """At the last round both are known: one from columns, one from the policies themselves."""
    seen = set()
    for learner, budgets in (("npg", (4.0,) * 4), ("npg", (9.0,) * 4), ("crpo", None)):
        for rounds in (1, 20, 200):
            config = FedNPGConfig(rounds=rounds, budgets=budgets, step_size=0.05)
            finished = run_variant(plan(config, Grid((learner,)))[0][0])
            summary = finished.result.summary
            expected = summary["feasible_average"], summary["feasible_last"]
            assert kept_after(finished, rounds) == expected
            seen.add(expected)
    assert len(seen) >= 3, seen


def test_several_policies_are_feasible_when_the_worst_is():
    for budget, expected in ((40.0, (True, True)), (None, (False, False))):
        config = FedNPGConfig(rounds=5, budgets=budget and (budget,) * 4)
        variants, _ = plan(config, Grid(references=("no-communication",)))
        assert kept_after(run_variant(variants[0]), 3) == expected


def test_config_lists_everything(small, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--problem", small, "--rounds", "4", "--learners", "npg,optimistic"]
    assert compare(*flags, "--local-steps", "1,2", "--seed", "3", "--out", out) == 0
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings["algorithm"] == "compare fednpg" and settings["seed"] == 3
    assert settings["learners"] == ["npg", "optimistic"] and settings["local_steps"] == [1, 2]
    assert [entry["variant"] for entry in settings["variants"]][2] == "optimistic E=1"
    assert len(settings["left_out"]) == 1 and settings["made_with"]["problem_sha256"]
    assert compare(*flags, "--out", out) == 2
    assert "the directory exists and is not empty" in capsys.readouterr().err
    assert compare(*flags, "--overwrite", "--out", out, "--log-every", "3") == 0
    assert np.load(out / "curves.npz")["npg E=1/round"].tolist() == [0, 3, 4]


def test_a_variant_that_diverges_harms_no_other(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "brittle.py").write_text(
        "import jax.numpy as jnp\n"
        "from fedjax_rl.learners.tabular.npg import npg\n"
        "def breaks(evaluation):\n"
        "    learner = npg(evaluation)\n"
        "    def step(key, time, policy, local, agent, hparams):\n"
        "        policy, local, info = learner.step(key, time, policy, local, agent, hparams)\n"
        "        return policy._replace(logits=policy.logits * jnp.inf), local, info\n"
        "    return learner._replace(step=step)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    flags = ["--problem", small, "--rounds", "6", "--learners", "brittle:breaks,npg"]
    assert compare(*flags, "--out", tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "DIVERGED: brittle:breaks E=1 in round 1; the others are complete." in printed
    rows = rows_of(tmp_path / "out")
    assert rows["brittle:breaks E=1"]["failed_round"] == "1"
    assert rows["brittle:breaks E=1"]["equal_rounds/average_gap"] == ""
    assert float(rows["npg E=1"]["equal_rounds/average_gap"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_the_verdict_is_honest():
    loose = FedNPGConfig(rounds=3, budgets=(9.0,) * 4)
    tight = FedNPGConfig(rounds=3)
    for config, words in ((loose, "Best feasible: the "), (tight, "No variant is feasible: no")):
        finished = [run_variant(variant) for variant in plan(config, Grid())[0]]
        assert verdict("equal_rounds", finished).startswith(words)
        assert words in markdown(finished, [])


def test_a_plot_is_drawn_where_nothing_is_positive(tmp_path, capsys):
    flags = ["--rounds", "5", "--budgets", "40", "40", "40", "40", "--out", tmp_path / "out"]
    assert compare(*flags) == 0
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000


BAD_FLAGS = {
    "--learners ngp": "learner: got 'ngp'; did you mean 'npg'?",
    "--learners npg,": "--learners: got 'npg,'; a list with commas and no empty entry",
    "--local-steps 1,x": "--local-steps: got 'x'; whole numbers of at least 1, with commas",
    "--local-steps 0": "--local-steps: got '0'",
    "--local-steps 2.5": "--local-steps: got '2.5'",
    "--local-steps 99999999999": "--local-steps: got 99999999999; a whole number of at most",
    "--corrections control": "--corrections: got 'control'; did you mean 'control-variate'?",
    "--merges logit": "merge: got 'logit'; did you mean 'logits'?",
    "--merges auto,os:getcwd": "merge: got 'os:getcwd'; a factory of Aggregator, not of str",
    "--references alone": "--references: got 'alone'; did you mean",
    "--learner optimistic": "--learner: got a single value; compare takes a list: --learners",
    "--reference=fed": "--reference: got a single value; compare takes a list: --references",
    "--learners optimistic --local-steps 5": "--local-steps: got 5; this learner merges after",
    "--participants 9": "--participants: got 9; at most 4 agents",
    "--rounds 0": "--rounds: got 0",
    "--problem windy-clif": "problem: got 'windy-clif'; did you mean 'windy-cliff'?",
    "--budgets -1 1 1 1": "by 1 (Slater slack -1); raising that one may do",
    "--overwrite": "--overwrite: got no --out",
    "--config some.yaml": "options: got --config some.yaml",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_told_in_one_line(flags, capsys):
    assert compare(*flags.split()) == 2
    told = capsys.readouterr()
    assert BAD_FLAGS[flags] in told.err
    assert told.err.count("\n") == 1 and not told.out


def test_help_names_the_lists_and_not_the_single_values(capsys):
    assert main(["compare"]) == 0
    with pytest.raises(SystemExit) as stop:
        compare("--help")
    helped = capsys.readouterr().out.split()
    assert stop.value.code == 0
    assert {"--learners", "--local-steps", "--rounds", "--out"} <= set(helped)
    assert not {"--learner", "--merge", "--correction", "--reference"} & set(helped)
