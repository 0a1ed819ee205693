"""Searches: what is asked for, what is told, and that no kill loses or doubles either."""

import csv
import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import chex
import numpy as np
import optuna
import pytest

from fedjax_rl.errors import InvalidInput, MissingExtra, Stopped
from fedjax_rl.families.stale.config import settings_type
from fedjax_rl.families.stale.family import Stale
from fedjax_rl.families.tabular.assembly import prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.training import run
from fedjax_rl.records.checkpointer import DirectoryCheckpointer
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.output import Destination
from fedjax_rl.records.saving import CheckpointSettings
from fedjax_rl.runs.resume import resume
from fedjax_rl.settings.files import read_settings
from fedjax_rl.sources.problems import save_problem
from fedjax_rl.sweeps import results
from fedjax_rl.sweeps import search as searching
from fedjax_rl.sweeps.batches import Programs, prototypes
from fedjax_rl.sweeps.best import best_configuration
from fedjax_rl.sweeps.objective import Condition, Objective
from fedjax_rl.sweeps.plan import seeds_of
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.search import excess, outcome, search_and_record
from fedjax_rl.sweeps.search_request import search_of
from fedjax_rl.sweeps.space import law_of, space_of
from fedjax_rl.sweeps.study import Study
from fedjax_rl.training import members as side_by_side
from tests import support
from tests.conftest import fresh_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LAWS = {"step_size": "loguniform:1e-2:1", "dual_step_size": "uniform:0:0.5"}
GAP = Objective("average_gap")
FAILED = optuna.trial.TrialState.FAIL
PRUNED = optuna.trial.TrialState.PRUNED


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return FedNPGConfig(problem=str(path), rounds=10, seeds=2)


def request(
    base, out, laws=None, trials=5, batch=2, objective=GAP, seed=0, sampler="tpe", **options
):
    space = space_of(FedNPGConfig, {}, laws or LAWS, trials, seed)
    saving = options.pop("checkpoints", CheckpointSettings())
    options.setdefault("chunk", 64)  # whole batches, whatever cores there are
    destination = Destination(out, options.pop("overwrite", False), saving)
    return search_of(
        SweepRequest("fednpg", base, space, destination=destination, **options),
        objective,
        batch,
        sampler,
    )


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """Five trials of two seeds, in batches of two, two and one."""
    out = tmp_path_factory.mktemp("searches") / "whole"
    assert not search_and_record(request(base, out))
    return out


def table(out):
    with (out / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def trials_of(out):
    """Optuna's own view of the study, read through its own address."""
    return optuna.load_study(study_name="search", storage=f"sqlite:///{out}/study.db").trials


def alike(out, other):
    for name in ("sweep.csv", "curves.npz"):
        assert (out / name).read_bytes() == (other / name).read_bytes()
    finished = [trial for trial in trials_of(out) if trial.state != FAILED]
    expected = trials_of(other)
    assert [trial.params for trial in finished] == [trial.params for trial in expected]
    assert [trial.value for trial in finished] == [trial.value for trial in expected]


def test_what_is_told_is_the_mean_of_the_runs_alone(whole, base):
    trials = trials_of(whole)
    assert len(trials) == 5
    for trial in trials:
        assert 0.01 <= trial.params["step_size"] <= 1
        assert 0 <= trial.params["dual_step_size"] <= 0.5
        gaps = [
            run(prepare(dataclasses.replace(base, **trial.params, seed=seed, seeds=1))).summary
            for seed in (0, 1)
        ]
        assert trial.value == pytest.approx(
            (gaps[0]["average_gap"] + gaps[1]["average_gap"]) / 2, abs=1e-12
        )


def test_every_trial_is_in_the_table_once(whole):
    rows = table(whole)
    assert [int(row["configuration"]) for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [int(row["member"]) for row in rows] == list(range(10))
    for row, trial in zip(rows[::2], trials_of(whole), strict=True):
        assert float(row["step_size"]) == trial.params["step_size"]


def test_what_is_finished_has_nothing_left_to_do(whole, monkeypatch):
    monkeypatch.setattr(searching, "run_chunk", None)
    before = (whole / "sweep.csv").read_bytes(), (whole / "study.db").read_bytes()
    assert not resume(whole)
    assert ((whole / "sweep.csv").read_bytes(), (whole / "study.db").read_bytes()) == before


def test_the_best_trial_is_a_configuration_to_run(whole, tmp_path):
    text, _ = best_configuration(whole, GAP)
    (tmp_path / "best.yaml").write_text(text)
    config, _ = read_settings(tmp_path / "best.yaml", "fednpg", FedNPGConfig)
    least = min(trials_of(whole), key=lambda trial: trial.value)
    assert config.step_size == least.params["step_size"] and config.seeds == 2
    assert run(prepare(config)).summary["average_gap"] == pytest.approx(least.value, abs=1e-12)


def test_seeds_decide_about_the_trials(whole, base, tmp_path):
    same, other = tmp_path / "same", tmp_path / "other"
    search_and_record(request(base, same))
    search_and_record(request(base, other, trials=2, seed=1))
    alike(same, whole)
    assert trials_of(other)[0].params != trials_of(whole)[0].params


@pytest.mark.parametrize(("laws", "groups"), [(LAWS, 1), ({"learner": "choice:npg|crpo"}, 2)])
def test_batches_share_their_compilation(base, tmp_path, monkeypatch, laws, groups):
    """Six batches, the last of them smaller: a program is traced once for each group."""
    swept_by = side_by_side.sweep

    def counting(*arguments):
        together = swept_by(*arguments)
        return together._replace(step=chex.assert_max_traces(together.step, n=groups))

    monkeypatch.setattr(side_by_side, "sweep", counting)
    chex.clear_trace_counter()
    search_and_record(request(base, tmp_path / "out", laws | {"step_size": "uniform:0:1"}, 11, 2))
    assert len(trials_of(tmp_path / "out")) == 11


class Cut(Exception):
    """What a process that was killed would not even have noticed."""


@pytest.mark.parametrize(
    ("method", "call", "members"),
    [
        ("ask", 4, 6),  # between two trials of the second batch
        ("suggest", 7, 6),  # within a trial: one of its two settings is drawn
        ("run_chunk", 2, 6),
        ("tell", 3, 2),  # all of the second batch is done and nothing of it is told
        ("tell", 4, 2),  # half of it is told
        ("tell", 5, 0),
    ],
)
def test_a_search_goes_on_where_it_was_cut(
    whole, base, tmp_path, monkeypatch, method, call, members
):
    out, calls = tmp_path / "cut", []
    if method == "suggest":
        owner, name = optuna.trial.Trial, "_suggest"
    else:
        owner, name = (searching if method == "run_chunk" else Study), method
    original = getattr(owner, name)

    def cut(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Cut
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, cut)
        with pytest.raises(Cut):
            search_and_record(request(base, out))
    ran, chunk = [], searching.run_chunk

    def counted(kind, group, program, own, *rest):
        ran.extend(member.number for member in own)
        return chunk(kind, group, program, own, *rest)

    monkeypatch.setattr(searching, "run_chunk", counted)
    assert not resume(out)
    assert ran == list(range(10))[10 - members :]
    alike(out, whole)
    assert sum(trial.state == FAILED for trial in trials_of(out)) == (method == "suggest")


def test_a_chunk_that_was_stopped_goes_on_from_its_checkpoint(base, tmp_path, monkeypatch):
    saving = CheckpointSettings(checkpoint_every=3)
    expected, out = tmp_path / "whole", tmp_path / "cut"
    search_and_record(request(base, expected, checkpoints=saving))
    visits, visit = [], DirectoryCheckpointer.visit

    def stopped(checkpointer, round, progress):
        visits.append(round)
        if len(visits) == 6:  # in the second batch
            signal.raise_signal(signal.SIGTERM)
        visit(checkpointer, round, progress)

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryCheckpointer, "visit", stopped)
        with pytest.raises(Stopped, match=f"go on with: fedjax-rl resume {out}"):
            search_and_record(request(base, out, checkpoints=saving))
    assert len(list(out.glob("chunks/*/checkpoints"))) == 1
    assert not resume(out)
    alike(out, expected)


def test_kill_minus_nine_loses_and_doubles_nothing(whole, base, tmp_path):
    out = tmp_path / "killed"
    arguments = ["search", "fednpg", "--problem", base.problem, "--rounds", "10", "--seeds", "2"]
    arguments += [word for law in LAWS.items() for word in ("--random", "=".join(law))]
    arguments += ["--trials", "5", "--batch", "2", "--metric", "average_gap", "--out", str(out)]
    arguments += ["--chunk", "64"]
    child = subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", *arguments],
        env=fresh_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(6000):
        if list(out.glob("chunks/*.npz")) or child.poll() is not None:
            break
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    done = set(results.read_chunks(out))
    assert {0, 1, 2, 3} <= done
    assert not resume(out)
    finished = [trial for trial in trials_of(out) if trial.state != FAILED]
    assert len(finished) == 5 and len(table(out)) == 10
    for trial, expected in zip(finished, trials_of(whole), strict=True):
        # Not to the bit: one process compiled its program, the other read it from a cache.
        assert trial.value == pytest.approx(expected.value, abs=1e-12)
        assert trial.params == pytest.approx(expected.params, abs=1e-6)


def test_without_its_study_a_search_asks_for_the_same_again(whole, base, tmp_path, monkeypatch):
    out = tmp_path / "out"
    search_and_record(request(base, out))
    (out / "study.db").unlink()
    monkeypatch.setattr(searching, "run_chunk", None)
    assert not resume(out)
    alike(out, whole)


def test_a_lost_chunk_is_run_again_and_told_once(whole, base, tmp_path):
    out = tmp_path / "out"
    search_and_record(request(base, out))
    (out / "chunks" / "000004.npz").write_bytes(b"half a file")
    assert not resume(out)
    alike(out, whole)


def test_a_damaged_study_is_refused(base, tmp_path):
    out = tmp_path / "out"
    search_and_record(request(base, out, trials=1, batch=1))
    study = (out / "study.db").read_bytes()
    (out / "study.db").write_bytes(b"no database" * 999)
    with pytest.raises(InvalidInput, match=r"study.db; a study that Optuna can read"):
        resume(out)
    (out / "study.db").write_bytes(study)
    assert not resume(out)


def test_a_study_of_another_search_is_refused(base, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    search_and_record(request(base, out, trials=1, batch=1))
    search_and_record(request(base, other, {"step_size": "uniform:0:1"}, trials=1, batch=1))
    own = (out / "study.db").read_bytes()
    (out / "study.db").write_bytes((other / "study.db").read_bytes())
    with pytest.raises(InvalidInput, match=r"trials of the search that config\.yaml describes"):
        resume(out)
    (out / "study.db").write_bytes(own)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("rounds: 10", "rounds: 11"))
    with pytest.raises(InvalidInput, match=r"members of the sweep that config\.yaml describes"):
        resume(out)


def test_members_of_other_settings_than_their_trials_are_refused(base, tmp_path):
    """A study with the same question, in which somebody asked for something else."""
    out = tmp_path / "out"
    search_and_record(request(base, out, trials=1, batch=1))
    (out / "study.db").unlink()
    search = request(base, out, trials=1, batch=1)
    with Study(out / "study.db", search.laws, False, "tpe", 0) as study:
        study._study.enqueue_trial({"step_size": 0.5, "dual_step_size": 0.25})
        study.ask()
    with pytest.raises(InvalidInput, match=r"the study that asked for what is in chunks/"):
        resume(out)


def test_two_processes_do_not_write_one_search(whole):
    with (
        RunDirectory(whole, resume=True),
        pytest.raises(InvalidInput, match="another process writes there"),
    ):
        resume(whole)


def test_overwriting_starts_anew(base, tmp_path):
    out = tmp_path / "out"
    search_and_record(request(base, out, trials=2))
    search_and_record(request(base, out, {"step_size": "uniform:0:1"}, 1, 1, overwrite=True))
    assert len(trials_of(out)) == 1 and len(table(out)) == 2


def test_conditions_are_told_and_kept(base, tmp_path, whole):
    """A bound that one of two trials keeps: it is the best, though the other one has more."""
    violations = [
        (float(a["strong_violation"]) + float(b["strong_violation"])) / 2
        for a, b in zip(table(whole)[::2], table(whole)[1::2], strict=True)
    ]
    bound = (violations[0] + violations[1]) / 2
    better = trials_of(whole)[0].value > trials_of(whole)[1].value
    maximize = better == (violations[0] > violations[1])  # who breaks the bound has more of it
    objective = Objective("average_gap", maximize, (Condition("strong_violation", "<=", bound),))
    out = tmp_path / "out"
    search_and_record(request(base, out, objective=objective, trials=2))
    for index, trial in enumerate(trials_of(out)):
        (one,) = trial.system_attrs["constraints"]
        assert one == pytest.approx(max(0.0, violations[index] - bound), abs=1e-12)
        assert (one == 0) == (violations[index] == min(violations[:2]))
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{out}/study.db")
    assert study.best_trial.number == np.argmin(violations[:2])
    _, sentence = best_configuration(out, objective)
    assert f"{study.best_value:.6g}" in sentence and "of 1 configurations that qualify" in sentence
    assert not resume(out)


@pytest.mark.parametrize(
    ("relation", "figure", "expected"),
    [
        ("<=", 2.0, 0.0),
        ("<=", 2.5, 0.5),
        (">=", 2.0, 0.0),
        (">=", 0.5, 1.5),
        ("==", 2.0, 0.0),
        ("==", 1.75, 0.25),
        ("<", 1.0, 0.0),
        ("<", 2.0, sys.float_info.min),
        (">", 2.0, sys.float_info.min),
        ("<=", math.nan, math.inf),
        ("<=", math.inf, math.inf),
    ],
)
def test_excesses_by_hand(relation, figure, expected):
    assert excess(Condition("cost", relation, 2.0), figure) == expected


def test_what_is_told_of_a_trial_by_hand():
    rows = tuple(
        {"status": "finished", "gap": gap, "cost": cost, "feasible": violation <= 0}
        | {"relative_violation": violation}
        for gap, cost, violation in ((-1.0, 3.0, -0.25), (3.0, 5.0, 0.75))
    )
    objective = Objective("gap", False, (Condition("cost", "<=", 3.5),), "feasible")
    one = searching.Candidate(0, {}, rows)
    assert outcome(objective, one) == (1.5, [0.5, 0.75]), "the gap below 0 counts as 0"
    assert outcome(objective._replace(feasible_seeds=0.5), one) == (1.5, [0.5, 0.0])
    assert outcome(objective._replace(maximize=True), one) == (1.0, [0.5, 0.75])
    diverged = one._replace(rows=(rows[0], rows[1] | {"status": "diverged"}))
    assert outcome(objective, diverged) == (None, [math.inf, math.inf])
    endless = one._replace(rows=(rows[0] | {"gap": math.inf}, rows[1]))
    assert outcome(objective, endless) == (None, [0.5, 0.75])


def test_a_trial_that_diverged_is_marked_and_harms_nobody(base, tmp_path):
    out, laws = tmp_path / "out", {"step_size": "choice:0.1|2e307"}
    assert not search_and_record(request(base, out, laws, trials=8, batch=4, sampler="random"))
    states = [trial.state for trial in trials_of(out)]
    assert 0 < states.count(PRUNED) < 8
    for trial, row in zip(trials_of(out), table(out)[::2], strict=True):
        assert (row["status"] == "diverged") == (trial.state == PRUNED)
        assert (trial.params["step_size"] == "2e307") == (trial.state == PRUNED)
        assert trial.value is None if trial.state == PRUNED else math.isfinite(trial.value)
    alone = run(prepare(dataclasses.replace(base, step_size=0.1))).summary["average_gap"]
    values = [trial.value for trial in trials_of(out) if trial.value is not None]
    np.testing.assert_allclose(values, alone, rtol=0, atol=1e-12)
    assert search_and_record(request(base, tmp_path / "all", {"step_size": "choice:2e307"}, 1, 1))


def test_nothing_is_written_for_a_question_without_an_answer(base, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for objective in (
        Objective("average_gapp"),
        Objective("average_gap", False, (Condition("average_gapp", "<", 1.0),)),
    ):
        with pytest.raises(InvalidInput, match="did you mean 'average_gap'"):
            search_and_record(request(base, out, objective=objective))
    with pytest.raises(InvalidInput, match=r"--random: got -0\.09.* for --step-size"):
        search_and_record(request(base, out, {"step_size": "uniform:-0.1:1"}))
    with pytest.raises(InvalidInput, match="--out: got nothing"):
        search_and_record(request(base, None))
    with monkeypatch.context() as patched:
        patched.setattr(searching.hosts, "share", lambda: (0, 2))
        with pytest.raises(InvalidInput, match="--processes: got 2; 1 for a search"):
            search_and_record(request(base, out))
    monkeypatch.setattr(searching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'fedjax_rl\[optuna\]'"):
        search_and_record(request(base, out))
    assert not out.exists()


def test_a_full_disk_is_told_in_one_line(base, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise optuna.exceptions.StorageInternalError("disk\nis full")

    monkeypatch.setattr(optuna.study.Study, "ask", full)
    with pytest.raises(OSError, match=r"study.db: disk is full"):
        search_and_record(request(base, tmp_path / "out"))


def test_programs_grow_with_what_members_need():
    """How many past parameters a learner keeps depends on delays, which may be searched."""
    laws = {"latency": "constant"}
    base = settings_type("gspo", laws)(
        task_args=("length=3", "modulus=3"),
        **{"steps": 12, "prompts": 2, "group_size": 3, "held_out": 16, "on_policy": 2},
        **{"warm_start": 0.0, "samplers": 1},
        **laws,
    )
    kind, law = Stale("gspo"), law_of(type(base), "latency_low", "uniform:1:40")
    programs = Programs(kind, list(prototypes(kind, base, {"latency_low": law})), 1)

    def program(number, seconds):
        members = list(seeds_of(kind, base, number, {"latency_low": seconds}))
        ((group, found),) = programs.of(members)
        assert [member.number for member in group.members] == [number]
        return found

    first = program(0, 20.0)
    assert program(1, 30.0) is first and program(0, 20.0) is first
    longer = program(2, 300.0)
    assert longer is not first, "the law does not reach so far, and it is still right"
    assert program(3, 20.0) is longer


def test_trials_are_the_same_by_workers(base, tmp_path, monkeypatch, capfd):
    """Two programs, one for each number of local steps, over four batches, cut and gone on with."""
    laws = LAWS | {"local_steps": "choice:1|2"}
    options = {"laws": laws, "trials": 7, "batch": 2, "chunk": 1}
    search_and_record(request(base, tmp_path / "one", **options))
    capfd.readouterr()
    search_and_record(request(base, tmp_path / "two", **options, workers=2))
    output = capfd.readouterr()
    assert "workers: 2 processes" in output.out and "batch 4 of 4: all in" in output.err
    alike(tmp_path / "two", tmp_path / "one")
    (tmp_path / "two" / "chunks" / "000006.npz").unlink()
    assert not resume(tmp_path / "two", workers=2)
    alike(tmp_path / "two", tmp_path / "one")
