"""``fedjax-rl compare`` as a user meets it: variants of FedNPG, and what all comparisons share."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.tabular.comparison import FIGURES, equal, feasibility_after
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.family import Tabular
from fedjax_rl.families.tabular.training import fednpg
from fedjax_rl.records.checkpointer import DirectoryCheckpointer
from fedjax_rl.runs.resume import resume
from fedjax_rl.sources.problems import save_problem
from fedjax_rl.sweeps import session
from fedjax_rl.sweeps.plan import sensible_members
from fedjax_rl.sweeps.space import space_of
from tests import support
from tests.conftest import fresh_environment
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps.harness import groups_of

pytestmark = pytest.mark.timeout(240)

FILES = {
    *("config.yaml", "comparison.csv", "comparison.md", "comparison.png", "curves.npz"),
    *("sweep.csv", "sweep.parquet", "chunks"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return str(path)


def names(problem, **lists):
    """What the variants of lists are called, and why others are left out."""
    usual = {"learner": ["npg"], "local_steps": [1], "correction": ["none"]}
    grid = {**usual, "merge": ["auto"], "reference": ["fed"], **lists}
    base, added, left_out = FedNPGConfig(problem=problem, rounds=10), family().comparison, {}
    space = space_of(FedNPGConfig, grid, {}, None)
    members = sensible_members(Tabular(), base, space, added, left_out)
    return [added.label(member.combination) for member in members], left_out


def family():
    return family_of("fednpg")


def compare(*flags):
    return main(["compare", "fednpg", *map(str, flags)])


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def rows_of(out):
    return {row["variant"]: row for row in table(out / "comparison.csv")}


def test_variants_are_the_product_without_what_makes_no_sense(small):
    lists = {"learner": ["npg", "optimistic", "crpo"], "local_steps": [1, 5]}
    labels, left_out = names(small, **lists, correction=["none", "control-variate"])
    npg = ["npg E=1", "npg E=1 control-variate", "npg E=5", "npg E=5 control-variate"]
    assert labels == [*npg, "optimistic E=1", "crpo E=1", "crpo E=5"]
    assert len(left_out) == 12 - len(labels) and not any("\n" in why for why in left_out.values())
    assert left_out["optimistic E=5"].startswith("--local-steps: got 5; this learner merges")


def test_merges_and_references_are_compared_where_they_fit(small):
    merges = ["auto", "logits", "probabilities"]
    labels, left_out = names(small, learner=["npg", "optimistic"], merge=merges)
    assert labels == ["npg E=1", "npg E=1 probabilities", "optimistic E=1"]
    assert left_out["npg E=1 logits"] == "the same as npg E=1"
    assert "this learner sends points" in left_out["optimistic E=1 logits"]
    labels, left_out = names(
        small,
        correction=["none", "control-variate"],
        merge=["auto", "probabilities"],
        reference=["fed", "omniscient", "no-communication"],
    )
    alone = [name for name in labels if name.endswith(("omniscient", "no-communication"))]
    assert alone == ["npg E=1 omniscient", "npg E=1 no-communication"]
    assert sum(why.startswith("the same as npg E=1 ") for why in left_out.values()) == 6


def test_settings_that_are_no_lists_are_in_the_name():
    label = family().comparison.label
    assert label({"learner": "npg", "step_size": 0.1}) == "npg, step_size 0.1"
    assert label({"local_steps": 5, "merge": "logits"}) == "E=5 logits"
    assert label({"step_size": 0.1, "budgets": (1.0, 2.0)}) == "step_size 0.1, budgets [1.0,2.0]"
    assert label({"reference": "fed"}) == "reference fed"


@pytest.fixture(scope="module")
def drift(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparisons") / "drift"
    flags = ["--learners", "npg,crpo", "--local-steps", "2,3", "--references", "fed,omniscient"]
    assert compare("--problem", small, "--rounds", 20, *flags, "--out", out) == 0
    return out


@pytest.mark.slow
def test_both_views_are_rounds_of_the_same_run(small, drift):
    assert {path.name for path in drift.iterdir()} == FILES
    assert (drift / "comparison.png").stat().st_size > 10_000
    rows = rows_of(drift)
    assert len(rows) == 8
    for name in ("npg E=3", "crpo E=3"):
        run = fednpg(small, rounds=20, local_steps=3, learner=name.split()[0])
        for view, round in (("equal_rounds", 20), ("equal_local_steps", 13)):
            assert int(rows[name][f"{view}/round"]) == round
            for figure in (*FIGURES, "bytes_exchanged"):
                in_table, known = float(rows[name][f"{view}/{figure}"]), run.history[figure][round]
                assert in_table == pytest.approx(known, abs=1e-10)
        for policy in ("feasible_average", "feasible_last"):
            assert rows[name][f"equal_rounds/{policy}"] == str(run.summary[policy])
    assert rows["npg E=2"]["equal_local_steps/round"] == "20"
    assert rows["npg E=2 omniscient"]["equal_rounds/bytes_exchanged"] == "0"
    assert not any("seconds" in column for column in rows["npg E=2"]), "they run side by side"
    text = (drift / "comparison.md").read_text()
    assert (
        "## After 40 local steps each, to the nearest round" in text and "| npg E=3 | 13 |" in text
    )


@pytest.mark.slow
def test_lists_are_short_for_a_grid(small, drift, tmp_path, capsys):
    out = tmp_path / "grid"
    grid = ["learner=npg,crpo", "local_steps=2,3", "correction=none", "merge=auto"]
    flags = [word for axis in [*grid, "reference=fed,omniscient"] for word in ("--grid", axis)]
    assert compare("--problem", small, "--rounds", 20, *flags, "--out", out) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed[printed.index("After") :].splitlines()[1:9])) <= 120
    for name in ("comparison.csv", "comparison.md", "sweep.csv"):
        assert (out / name).read_bytes() == (drift / name).read_bytes()


def test_views_that_are_the_same_are_shown_once(small, tmp_path, capsys):
    out = tmp_path / "learners"
    flags = ["--learners", "npg,crpo", "--local-steps", 2, "--out", out]
    assert compare("--problem", small, "--rounds", 20, *flags) == 0
    printed = capsys.readouterr().out
    assert printed.count("avg gap") == printed.count("averaged policies: ") == 1
    assert "After 20 rounds (40 local steps) each:" in printed
    assert (out / "comparison.md").read_text().count("| variant |") == 1


def test_equal_steps_are_those_of_the_shortest_variant():
    configs = [
        FedNPGConfig(rounds=rounds, local_steps=steps)
        for rounds, steps in ((20, 2), (10, 5), (20, 7))
    ]
    same = equal(configs)
    assert (same.rounds, same.steps) == (10, 40)
    assert [same.at(config)["equal_local_steps"] for config in configs] == [20, 8, 6]
    assert equal([FedNPGConfig(rounds=1, local_steps=1)]).at(configs[2]) == {
        "equal_rounds": 1,
        "equal_local_steps": 1,
    }


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["fed", "no-communication"])
def test_feasibility_from_rows_is_that_of_the_summary(reference):
    """At the last round both are known: one from rows, one from the policies themselves."""
    seen = set()
    for learner, budgets in (("npg", (4.0,) * 4), ("npg", (9.0,) * 4), ("crpo", None)):
        for rounds in (1, 20, 200):
            base = FedNPGConfig(
                rounds=rounds, budgets=budgets, step_size=0.05, learner=learner, reference=reference
            )
            seen.add(judged_from_rows(base))
    assert len(seen) >= 3 - (reference == "no-communication"), seen


def judged_from_rows(base):
    """Whether both policies keep budgets, from rows, after it was compared with the summary."""
    recorded = {}

    class Rows(Tabular):
        def result(self, prepared, rows, own, failed):
            found = super().result(prepared, rows, own, failed)
            recorded["rows"] = feasibility_after(prepared, rows, base.rounds)
            recorded["summary"] = found.summary
            return found

    (group,) = groups_of(Rows(), base, {"step_size": [base.step_size]})
    session.run_chunk(Rows(), group, group.program(Rows()), group.members)
    for name, value in recorded["rows"].items():
        assert value == pytest.approx(recorded["summary"][name], abs=1e-9)
    return recorded["rows"]["feasible_average"], recorded["rows"]["feasible_last"]


@pytest.mark.slow
def test_config_lists_everything(small, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--problem", small, "--rounds", "4", "--learners", "npg,optimistic"]
    assert compare(*flags, "--local-steps", "1,2", "--seed", "3", "--out", out) == 0
    document = yaml.safe_load((out / "config.yaml").read_text())
    assert document["algorithm"] == "sweep fednpg" and document["compare"]
    assert document["settings"]["seed"] == 3
    assert document["grid"]["learner"] == ["npg", "optimistic"]
    assert document["grid"]["local_steps"] == [1, 2]
    assert list(document["left_out"]) == ["optimistic E=2"]
    assert document["made_with"]["problem_sha256"]
    assert [row["variant"] for row in table(out / "comparison.csv")][2] == "optimistic E=1"
    assert compare(*flags, "--out", out) == 2
    assert "the directory exists and is not empty" in capsys.readouterr().err
    assert compare(*flags, "--overwrite", "--out", out) == 0
    assert len(np.load(out / "curves.npz")["round"]) == 2
    lists = yaml.safe_dump(document | {"grid": document["grid"] | {"learner": ["npg"]}})
    (tmp_path / "sweep.yaml").write_text(lists)
    again = tmp_path / "again"
    assert main(["sweep", "--file", str(tmp_path / "sweep.yaml"), "--out", str(again)]) == 0
    assert not (again / "comparison.csv").exists()


@pytest.mark.slow
def test_several_seeds_are_counted_at_equal_steps_too(small, tmp_path):
    out = tmp_path / "out"
    flags = ["--rounds", 12, "--seeds", 3, "--local-steps", "1,2", "--evaluation", "sampled"]
    assert compare("--problem", small, *flags, "--rollouts", 2, "--out", out) == 0
    members = table(out / "sweep.csv")
    for row in rows_of(out).values():
        own = [one for one in members if one["local_steps"] == row["local_steps"]]
        assert len(own) == int(row["seeds"]) == 3
        for column in ("equal_local_steps/average_gap", "equal_rounds/gap"):
            mean = np.mean([float(one[column]) for one in own])
            assert float(row[column]) == pytest.approx(mean, abs=1e-12)
        feasible = [one["equal_local_steps/feasible_last"] == "True" for one in own]
        assert float(row["equal_local_steps/feasible_share_last"]) == np.mean(feasible)
        assert (row["equal_local_steps/feasible_last"] == "True") == all(feasible)


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
    assert rows["brittle:breaks E=1"]["rank"] == ""
    assert float(rows["npg E=1"]["equal_rounds/average_gap"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_the_verdict_is_honest(capsys):
    for budget, start in ((9.0, "best equal_rounds/"), (2.0, "none keeps every budget; closest: ")):
        assert compare("--rounds", 3, "--budgets", *[budget] * 4) == 0
        printed = capsys.readouterr().out
        for policies in ("averaged policies: ", "last policies: "):
            assert f"\n{policies}{start}" in printed


def test_a_plot_is_drawn_where_nothing_is_positive(tmp_path, capsys):
    flags = ["--rounds", "5", "--budgets", "40", "40", "40", "40", "--out", tmp_path / "out"]
    assert compare(*flags) == 0
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000


LONG = ["--rounds", "4000", "--learners", "npg,crpo", "--local-steps", "1,2", "--chunk", "1"]


def same_comparison(one, other):
    """Not to the bit: one process compiled its program, the other read it from a cache."""
    for own, known in zip(table(one), table(other), strict=True):
        assert list(own) == list(known)
        for name, value in known.items():
            try:
                assert float(own[name]) == pytest.approx(float(value), rel=1e-9, abs=1e-9)
            except ValueError:
                assert own[name] == value


@pytest.mark.slow
def test_a_comparison_that_was_killed_goes_on_to_the_same_table(small, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [*LONG, "--problem", small]
    assert compare(*arguments, "--out", whole) == 0
    child = subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", "compare", "fednpg", *arguments, "--out", str(killed)],
        env=fresh_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(killed.glob("chunks/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    assert (killed / "sweep.csv").exists() or list(killed.glob("chunks/*.npz"))
    assert not (killed / "comparison.csv").exists()
    assert main(["resume", str(killed)]) == 0
    assert len(rows_of(killed)) == 4
    same_comparison(killed / "comparison.csv", whole / "comparison.csv")
    assert main(["resume", str(killed)]) == 0


@pytest.mark.slow
def test_a_comparison_that_was_stopped_goes_on_to_the_same_bits(
    small, tmp_path, monkeypatch, capsys
):
    arguments = [
        "--problem",
        small,
        "--rounds",
        60,
        "--local-steps",
        "1,2",
        "--checkpoint-every",
        7,
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert compare(*arguments, "--out", whole) == 0
    visits, visit = [], DirectoryCheckpointer.visit

    def stopped(checkpointer, round, progress):
        visits.append(round)
        if len(visits) == 12:  # in the second chunk
            signal.raise_signal(signal.SIGTERM)
        visit(checkpointer, round, progress)

    monkeypatch.setattr(DirectoryCheckpointer, "visit", stopped)
    assert compare(*arguments, "--out", cut) == 128 + signal.SIGTERM
    assert f"go on with: fedjax-rl resume {cut}" in capsys.readouterr().err
    monkeypatch.setattr(DirectoryCheckpointer, "visit", visit)
    assert len(table(cut / "sweep.csv")) == 1 and not (cut / "comparison.csv").exists()
    assert not resume(cut)
    for name in ("comparison.csv", "comparison.md", "sweep.csv"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    capsys.readouterr()
    assert not resume(cut) and "nothing to do" in capsys.readouterr().out


def test_a_sweep_is_not_gone_on_with_as_a_comparison(small, tmp_path):
    """Its members have no figures of the views."""
    out = tmp_path / "sweep"
    arguments = [
        "sweep",
        "fednpg",
        "--problem",
        small,
        "--rounds",
        "3",
        "--grid",
        "local_steps=1,2",
    ]
    assert main([*arguments, "--out", str(out)]) == 0
    config = out / "config.yaml"
    config.write_text(config.read_text() + "compare: true\n")
    with pytest.raises(InvalidInput, match="members of the sweep that"):
        resume(out)


def test_members_are_dealt_to_devices(small, capsys):
    flags = ["--problem", small, "--rounds", 3, "--local-steps", "1,2", "--devices", 99]
    assert compare(*flags) == 2
    assert "--devices: got 99" in capsys.readouterr().err


BAD_FLAGS = {
    "--learners ngp": "--learner: got 'ngp'; did you mean 'npg'?",
    "--learners npg,": "--learners: got 'npg,'; a list with commas and no empty entry",
    "--local-steps 1,x": "--local-steps: got 'x'; whole numbers of at least 1, with commas",
    "--local-steps 0": "--local-steps: got '0'",
    "--local-steps 2.5": "--local-steps: got '2.5'",
    "--local-steps 99999999999": "99999999999 for --local-steps; a whole number of at most",
    "--corrections control": "--corrections: got 'control'; did you mean 'control-variate'?",
    "--merges logit": "--merge: got 'logit'; did you mean 'logits'?",
    "--merges auto,os:getcwd": "--merge: got 'os:getcwd'; a factory of Aggregator, not of str",
    "--references alone": "--references: got 'alone'; did you mean",
    "--learner optimistic": "--learner: got a single value; compare takes a list: --learners",
    "--reference=fed": "--reference: got a single value; compare takes a list: --references",
    "--learners optimistic --local-steps 5": "--local-steps: got 5; this learner merges after",
    "--participants 9": "--participants: got 9; at most 4 agents",
    "--rounds 0": "--rounds: got 0",
    "--problem windy-clif": "--problem: got 'windy-clif'; did you mean 'windy-cliff'?",
    "--budgets -1 1 1 1": "by 1 (Slater slack -1); raising that one may do",
    "--overwrite": "--overwrite: got no --out",
    "--config some.yaml": "options: got --config some.yaml",
    "--log-every 3": "options: got --log-every 3",
    "--grid learner=npg,ngp": "--learner: got 'ngp'; did you mean 'npg'?",
    "--grid local_steps=5 --learner optimistic": "--local-steps: got 5; this learner merges after",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_told_in_one_line(flags, capsys):
    assert compare(*flags.split()) == 2
    output = capsys.readouterr()
    assert BAD_FLAGS[flags] in output.err
    assert output.err.count("\n") == 1 and not output.out


def test_help_names_the_lists_and_not_the_single_values(capsys):
    assert main(["compare"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        compare("--help")
    helped = capsys.readouterr().out.split()
    assert stop.value.code == 0
    assert {"--learners", "--local-steps", "--rounds", "--out", "--devices"} <= set(helped)
    assert not {"--learner", "--merge", "--correction", "--reference", "--grid"} & set(helped)
