"""A run directory is whole, or not there."""

import csv
import json

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.records.directory import RunDirectory, write_atomically

pytestmark = pytest.mark.timeout(30)


def test_a_directory_with_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="--overwrite"):
        RunDirectory(tmp_path)
    with pytest.raises(InvalidInput, match="only a run directory"):
        RunDirectory(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwriting_replaces_the_earlier_run_only(tmp_path):
    foreign = {"my_problem.npz", "figure.png", "notes.md", "data.csv"}
    for name in {"config.yaml", "metrics.csv", "value.png"} | foreign:
        (tmp_path / name).write_text("earlier")
    RunDirectory(tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == foreign


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InvalidInput, match="this is a file"):
        RunDirectory(tmp_path / "runs")
    with pytest.raises(InvalidInput, match="writable place"):
        RunDirectory(tmp_path / "runs" / "below")


def test_json_holds_only_finite_numbers(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.write_json(
        "summary.json", {"a": np.float64("nan"), "b": [np.inf, 1], "c": np.arange(2)}
    )
    text = (tmp_path / "run" / "summary.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1], "c": [0, 1]}


def test_rows_are_appended_under_one_header(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.append_rows("metrics.csv", ["round", "value"], [(0, 0.1)])
    directory.append_rows("metrics.csv", ["round", "value"], [(1, 1 / 3)])
    text = (tmp_path / "run" / "metrics.csv").read_text()
    assert text == f"round,value\n0,0.1\n1,{1 / 3!r}\n"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "policy.npz"
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomically(target, "not bytes")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_names_with_commas_and_quotes_stay_one_column(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    header = ["round", "cost/a,b", 'cost/say "no"']
    directory.append_rows("metrics.csv", header, [(0, 1.0, 2.0)])
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [header, ["0", "1.0", "2.0"]]
