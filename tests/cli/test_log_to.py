"""``fedjax-rl run … --log-to`` as a user meets it, for every family of algorithms."""

import csv
import json
import shutil
import sys

import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.records.sinks.names import PREFIXES, TABLE, name_of
from tests.quick import compiled_quickly
from tests.records.sinks.readers import read_csv, read_tensorboard

pytestmark = pytest.mark.timeout(240)

RUNS = {
    "fednpg": "--rounds 7 --log-every 3 --reference no-communication",
    "fedppo": "--problem fedjax_rl.envs.known:chain --envs 4 --rollout 8 --hidden 8 8 --rounds 3 "
    "--episodes 100 --epochs 1 --minibatches 2 --evaluate-every 2 --seeds 2",
    "gepo": "--steps 5 --seeds 2 --evaluate-every 2 --held-out 8 --on-policy 2 --log-every 2",
}


@pytest.fixture(scope="module")
def quick_compilation():
    with compiled_quickly():
        yield


@pytest.fixture(scope="module", params=RUNS)
def logged(request, tmp_path_factory, quick_compilation):
    """A finished run of each family."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    arguments = ["run", request.param, *RUNS[request.param].split(), "--checkpoint-every", "2"]
    assert main([*arguments, "--out", str(out), "--log-to", "jsonl", "tensorboard"]) == 0
    return request.param, out


def check_logged(out):
    """TensorBoard and the JSON lines have the rows of ``metrics.csv``, each of them once."""
    table, read = read_csv(out), read_tensorboard(out)
    alone = sum(column.startswith("cost/") for column in table) == 1
    unit, *columns = table
    for column in columns:
        assert column in TABLE or column.startswith(tuple(PREFIXES)), f"{column} has no name"
        found, known = read.get(name_of(column, alone), []), table[column]
        assert [step for step, _ in found] == [step for step, _ in known]
        values = [value for _, value in known]
        assert [value for _, value in found] == pytest.approx(values, rel=1e-6, abs=1e-30)
    with (out / "metrics.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    with (out / "metrics.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [(row[unit], row[unit]) for row in rows] == table[unit]
    for row, known in zip(rows, cells, strict=True):
        assert list(row) == list(known)
        assert {name: "" if cell is None else repr(cell) for name, cell in row.items()} == known


@pytest.mark.slow
def test_every_family_logs_what_its_table_holds(logged):
    check_logged(logged[1])


@pytest.mark.slow
def test_a_resumed_run_of_every_family_has_every_row_once(logged, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(logged[1], broken)
    (broken / "summary.json").unlink()
    newest = max((broken / "checkpoints").iterdir())
    shutil.rmtree(newest)  # so that there is something left to do
    assert main(["resume", str(broken)]) == 0
    assert (broken / "metrics.csv").read_bytes() == (logged[1] / "metrics.csv").read_bytes()
    check_logged(broken)


@pytest.mark.slow
def test_what_was_asked_for_is_remembered_and_can_be_taken_back(tmp_path):
    first, second, third, last = (tmp_path / name for name in ("1", "2", "3", "4"))
    arguments = ["run", "fednpg", "--rounds", "2"]
    assert main([*arguments, "--out", str(first), "--log-to", "jsonl"]) == 0
    assert yaml.safe_load((first / "config.yaml").read_text())["sinks"] == ["jsonl"]
    config = ["run", "fednpg", "--config", str(first / "config.yaml"), "--out"]
    assert main([*config, str(second)]) == 0
    assert (second / "metrics.jsonl").read_bytes() == (first / "metrics.jsonl").read_bytes()
    assert main([*config, str(third), "--log-to", "tensorboard"]) == 0
    assert not (third / "metrics.jsonl").exists()
    assert main([*config, str(last), "--log-to"]) == 0
    assert not (last / "metrics.jsonl").exists()
    assert (last / "metrics.csv").read_bytes() == (first / "metrics.csv").read_bytes()
    assert set(read_tensorboard(third)) >= {
        "Metrics/EpRet",
        "Metrics/LagrangeMultiplier/0/segment-0",
    }


@pytest.mark.parametrize("algorithm", RUNS)
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--log-to", "jsonl"], "--log-to: got no --out; --out DIR says where to write"),
        (
            ["--out", "x", "--log-to", "neptune"],
            "--log-to: got 'neptune'; Expected one of ('jsonl', ",
        ),
        (
            ["--out", "x", "--log-to", "jsonl", "jsonl"],
            "--log-to: got jsonl jsonl; every sink once",
        ),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, monkeypatch, capsys, algorithm, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["run", algorithm, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_told_before_anything_is_written(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "fedjax_rl.records.sinks.tensorboard_events", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    out = tmp_path / "run"
    assert main(["run", "fednpg", "--out", str(out), "--log-to", "jsonl", "tensorboard"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedjax-rl: --log-to tensorboard: got no installed package")
    assert line.endswith("pip install 'fedjax_rl[tensorboard]'")
    assert not out.exists()


@pytest.mark.parametrize("sinks", ["tensorboard", "[neptune]", "{a: 1}"])
def test_a_configuration_with_other_sinks_is_refused(tmp_path, capsys, sinks):
    (tmp_path / "config.yaml").write_text(f"algorithm: fednpg\nsinks: {sinks}\n")
    for arguments in (
        ["run", "fednpg", "--config", str(tmp_path / "config.yaml")],
        ["resume", str(tmp_path)],
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("fedjax-rl: sinks: got ")
        assert line.endswith("a list of jsonl, tensorboard, wandb, mlflow")
