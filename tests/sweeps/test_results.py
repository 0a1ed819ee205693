"""A sweep's directory: chunks, tables, going on after a kill, and the best configuration."""

import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from fedjax_rl.errors import InvalidInput, Stopped
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
from fedjax_rl.sweeps import results, session
from fedjax_rl.sweeps.best import best_configuration
from fedjax_rl.sweeps.objective import Condition, Objective
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.session import sweep_and_record
from fedjax_rl.sweeps.space import space_of
from fedjax_rl.training.rows import flat
from tests import support
from tests.conftest import fresh_environment

pytestmark = pytest.mark.timeout(240)

GRID = {"step_size": [0.05, 0.1, 0.2, 0.4, 0.8], "dual_step_size": ["auto"]}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return FedNPGConfig(problem=str(path), rounds=20, seeds=2)


def request(base, out, grid=None, chunk=4, **options):
    space = space_of(FedNPGConfig, grid or GRID, {}, None)
    return SweepRequest("fednpg", base, space, chunk, Destination(out, **options))


def table(out):
    with (out / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    assert not sweep_and_record(request(base, out))
    return out


def test_a_sweep_leaves_a_table_curves_and_its_configuration(whole, base):
    names = {path.name for path in whole.iterdir()}
    assert names - {"sweep.parquet"} == {"config.yaml", "sweep.csv", "curves.npz", "chunks"}
    rows, curves = table(whole), np.load(whole / "curves.npz")
    assert [row["member"] for row in rows] == [str(number) for number in range(10)]
    assert [float(row["step_size"]) for row in rows][::2] == GRID["step_size"]
    assert {row["status"] for row in rows} == {"finished"}
    assert curves["average_gap"].shape == curves["round"].shape == (10, 21)
    last = [float(row["average_gap"]) for row in rows]
    np.testing.assert_array_equal(curves["average_gap"][:, -1], last)
    document = yaml.safe_load((whole / "config.yaml").read_text())
    assert document["algorithm"] == "sweep fednpg" and document["grid"] == GRID
    assert document["settings"]["seeds"] == 2 and document["settings"]["rounds"] == 20
    assert len(document["made_with"]["problem_sha256"]) == 64


def test_a_sweep_that_was_cut_goes_on_with_what_is_not_done(whole, base, tmp_path, monkeypatch):
    out, ran = tmp_path / "cut", []
    chunk = session.run_chunk

    def cut(kind, group, program, members, *others):
        if len(ran) == 1:
            raise KeyboardInterrupt
        ran.append([member.number for member in members])
        return chunk(kind, group, program, members, *others)

    monkeypatch.setattr(session, "run_chunk", cut)
    with pytest.raises(KeyboardInterrupt):
        sweep_and_record(request(base, out))
    assert ran == [[0, 1, 2, 3]] and len(table(out)) == 4
    with pytest.raises(InvalidInput, match="--overwrite"):
        sweep_and_record(request(base, out))
    again = []

    def counted(kind, group, program, members, *others):
        again.extend(member.number for member in members)
        return chunk(kind, group, program, members, *others)

    monkeypatch.setattr(session, "run_chunk", counted)
    assert not resume(out)
    assert again == [4, 5, 6, 7, 8, 9]
    assert (out / "sweep.csv").read_text() == (whole / "sweep.csv").read_text()
    left, right = np.load(out / "curves.npz"), np.load(whole / "curves.npz")
    for name in right:
        np.testing.assert_array_equal(left[name], right[name])
    again.clear()
    assert not resume(out)
    assert again == [], "a sweep that is whole has nothing left to do"


def test_a_chunk_that_was_cut_goes_on_from_its_checkpoint(base, tmp_path, monkeypatch, capsys):
    """Stopped inside a chunk: the members' rows and states come back, to the same bits."""
    long = dataclasses.replace(base, rounds=60)
    saving = CheckpointSettings(checkpoint_every=7)
    whole, out = tmp_path / "whole", tmp_path / "cut"
    sweep_and_record(request(long, whole, checkpoints=saving))
    assert not list(whole.glob("chunks/*/")), "what is done needs no checkpoint"
    visits, visit = [], DirectoryCheckpointer.visit

    def stopped(checkpointer, round, progress):
        visits.append(round)
        if len(visits) == 14:  # in the second chunk
            signal.raise_signal(signal.SIGTERM)
        visit(checkpointer, round, progress)

    monkeypatch.setattr(DirectoryCheckpointer, "visit", stopped)
    with pytest.raises(Stopped, match=f"go on with: fedjax-rl resume {out}"):
        sweep_and_record(request(long, out, checkpoints=saving))
    monkeypatch.setattr(DirectoryCheckpointer, "visit", visit)
    (cut,) = out.glob("chunks/*/checkpoints")
    assert visits[-1] > 7
    first_rounds, chunk = [], session.run_chunk

    def noted(kind, group, program, members, on_round, checkpointer):
        return chunk(kind, group, program, members, first_rounds.append, checkpointer)

    monkeypatch.setattr(session, "run_chunk", noted)
    assert not resume(out)
    assert first_rounds[0] == visits[-1], "it goes on from there, not from round 0"
    assert not cut.exists()
    for name in ("sweep.csv", "curves.npz"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_kill_minus_nine_loses_no_chunk_that_is_done(whole, base, tmp_path):
    out = tmp_path / "killed"
    arguments = ["sweep", "fednpg", "--problem", base.problem, "--rounds", "20", "--seeds", "2"]
    arguments += ["--grid", "step_size=0.05,0.1,0.2,0.4,0.8", "--grid", "dual_step_size=auto"]
    arguments += ["--chunk", "4", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", *arguments],
        env=fresh_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(1200):
        if list(out.glob("chunks/*.npz")) or child.poll() is not None:
            break
        time.sleep(0.1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    done = set(results.read_chunks(out))
    assert {0, 1, 2, 3} <= done
    assert not resume(out)
    resumed, expected = table(out), table(whole)
    assert len(resumed) == len(expected) == 10
    for row, known in zip(resumed, expected, strict=True):
        # Not to the bit: one process compiled its program, the other read it from the tests' cache.
        assert float(row["average_gap"]) == pytest.approx(float(known["average_gap"]), abs=1e-12)


@pytest.mark.parametrize("change", ["rounds: 20", "- 0.05"])
def test_another_sweep_is_not_gone_on_with(whole, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace(change, change.replace("0", "1")))
    before = (copy / "sweep.csv").read_bytes()
    with pytest.raises(InvalidInput, match=r"run directory: got .*000000.npz; members of the"):
        resume(copy)
    assert (copy / "sweep.csv").read_bytes() == before


def test_another_problem_of_the_same_name_is_not_gone_on_with(base, tmp_path):
    path, out = tmp_path / "own.npz", tmp_path / "out"
    save_problem(path, support.random_problem(0))
    own = dataclasses.replace(base, problem=str(path), rounds=2)
    sweep_and_record(request(own, out, {"step_size": [0.1]}))
    save_problem(path, support.random_problem(1))
    with pytest.raises(InvalidInput, match="put it and the problem right"):
        resume(out)


def test_two_processes_do_not_write_one_sweep(base, tmp_path):
    out, short = tmp_path / "out", dataclasses.replace(base, rounds=2)
    sweep_and_record(request(short, out, {"step_size": [0.1, 0.2]}))
    with (
        RunDirectory(out, resume=True),
        pytest.raises(InvalidInput, match="another process writes there"),
    ):
        resume(out)


def test_overwriting_starts_anew(base, tmp_path):
    out, short = tmp_path / "out", dataclasses.replace(base, rounds=2)
    sweep_and_record(request(short, out, {"step_size": [0.1, 0.2]}))
    sweep_and_record(request(short, out, {"step_size": [0.3]}, overwrite=True))
    assert [row["step_size"] for row in table(out)] == ["0.3", "0.3"]


def test_a_damaged_chunk_is_run_again(base, tmp_path):
    out, short = tmp_path / "out", dataclasses.replace(base, rounds=2)
    sweep_and_record(request(short, out, {"step_size": [0.1, 0.2]}, chunk=2))
    before = table(out)
    (out / "chunks" / "000002.npz").write_bytes(b"half a file")
    assert set(results.read_chunks(out)) == {0, 1}
    assert not resume(out)
    assert table(out) == before


def test_the_best_configuration_is_one_to_run(whole, tmp_path):
    text, message = best_configuration(whole, Objective("strong_violation"))
    (tmp_path / "best.yaml").write_text(text)
    config, origin = read_settings(tmp_path / "best.yaml", "fednpg", FedNPGConfig)
    assert config.seeds == 2 and origin["problem_sha256"]
    rows = table(whole)
    means = {
        float(rows[index]["step_size"]): np.mean(
            [float(row["strong_violation"]) for row in rows[index : index + 2]]
        )
        for index in range(0, 10, 2)
    }
    assert config.step_size == min(means, key=means.get)
    assert "smallest of 5" in message
    assert run(prepare(config)).summary["strong_violation"] == pytest.approx(
        min(means.values()), abs=1e-12
    )
    most, _ = best_configuration(whole, Objective("strong_violation", maximize=True))
    assert yaml.safe_load(most)["step_size"] == max(means, key=means.get)


def test_conditions_hold_and_errors_name_the_nearest(whole):
    rows = table(whole)
    bound = sorted(float(row["strong_violation"]) for row in rows)[5]
    objective = Objective("average_gap", False, (Condition("strong_violation", "<=", bound),))
    text, message = best_configuration(whole, objective)
    winner = yaml.safe_load(text)["step_size"]
    own = [r for r in rows if float(r["step_size"]) == winner]
    assert all(float(row["strong_violation"]) <= bound for row in own)
    assert "that qualify" in message
    nobody = Objective("average_gap", False, (Condition("strong_violation", "<", -1.0),))
    with pytest.raises(InvalidInput, match="strong_violation<-1; no configuration satisfies"):
        best_configuration(whole, nobody)
    with pytest.raises(InvalidInput, match="did you mean 'average_gap'"):
        best_configuration(whole, Objective("averag_gap"))
    with pytest.raises(InvalidInput, match=r"directory: got .*; a directory of fedjax-rl sweep"):
        best_configuration(whole / "chunks", None)


def test_scalars_of_a_summary_are_flat():
    summary = {
        **{"a": np.float64(1), "b": {"x": 2, "y": np.array(3.0)}, "c": [1, 2], "d": "word"},
        **{"e": np.ones(2), "f": {"0": {"z": 1}}, "g": None, "h": np.bool_(True)},
    }
    assert flat(summary) == {"a": 1.0, "b/x": 2, "b/y": 3.0, "d": "word", "g": None, "h": True}


def test_a_table_is_read_back_with_pyarrow(whole):
    from pyarrow import parquet

    read, rows = parquet.read_table(whole / "sweep.parquet"), table(whole)
    assert read.num_rows == len(rows) == 10
    assert read.column_names == list(rows[0])
    for name, column in read.to_pydict().items():
        assert ["" if value is None else str(value) for value in column] == [
            row[name] for row in rows
        ]
    assert str(read.schema.field("average_gap").type) == "double"


def test_a_table_without_pyarrow_is_csv_alone(whole, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    document = {"made_with": {"problem_sha256": ""}}
    directory = results.SweepDirectory(Destination(tmp_path / "out"), document)
    directory.write(results.read_chunks(whole).values())
    assert (tmp_path / "out" / "sweep.csv").read_bytes() == (whole / "sweep.csv").read_bytes()
    assert not (tmp_path / "out" / "sweep.parquet").exists()
