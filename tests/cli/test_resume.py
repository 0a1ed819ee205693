"""A run that was killed, stopped or damaged goes on to the result that it would have had."""

import contextlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bench import survival
from fedjax_rl.cli import main
from fedjax_rl.errors import Stopped
from fedjax_rl.records import checkpoints
from tests.conftest import fresh_environment
from tests.quick import compiled_quickly

pytestmark = pytest.mark.timeout(280)

LONG = ["run", "fednpg", "--rounds", "400000", "--log-every", "1000", "--seeds", "2"]


KILLS = {name: 1 for name in survival.RUNS} | {"fednpg": 3}
"""``python -m bench survival`` kills each of them twenty times."""


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "kills"), KILLS.items(), ids=KILLS)
def test_killed_and_none_the_wiser(tmp_path, monkeypatch, algorithm, kills):
    short = "fednpg" not in algorithm  # whose many rounds take longer than compiling
    for name, value in fresh_environment(compiled_quickly=short).items():
        monkeypatch.setenv(name, value)
    outcome = survival.survive(algorithm, survival.RUNS[algorithm], kills, tmp_path, seed=3)
    assert outcome["kills"] == kills
    assert outcome["differences"] == []
    assert outcome["finished"] >= 1


@contextlib.contextmanager
def started(*arguments, **options):
    """A process of the command line, which is gone in the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", *map(str, arguments)],
        env=fresh_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path, seconds=100):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_is_saved_and_nobody_else_may_write(tmp_path, number, status, capsys):
    out = tmp_path / "run"
    with started(*LONG, "--out", out) as process:
        wait_for(out / "metrics.csv")
        for arguments in (["resume"], [*LONG, "--overwrite", "--out"]):
            assert main([*arguments, str(out)]) == 2
            assert "another process writes there" in capsys.readouterr().err
        process.send_signal(number)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == status
    notice, last = printed.strip().splitlines()
    assert notice.startswith("fedjax-rl: saving, then stopping")
    assert last.endswith(f"go on with: fedjax-rl resume {out}")
    saved, damaged = checkpoints.newest(out / "checkpoints")
    assert f"saved after round {saved.manifest['round']};" in last
    assert damaged == []
    assert 0 < saved.manifest["round"] < 400_000
    assert not (out / "summary.json").exists()


def test_the_command_to_go_on_with_can_be_pasted():
    stopped = Stopped(2, "saved after round 3", Path("my runs/it's"))
    command = str(stopped.of(Path("my runs/all"))).partition("go on with: ")[2]
    assert shlex.split(command) == ["fedjax-rl", "resume", "my runs/all"]
    assert shlex.split(str(stopped))[-1] == "my runs/it's"


def finished_run(out, *flags):
    arguments = ["run", "fednpg", "--rounds", "40", "--log-every", "7", "--out", str(out)]
    assert main([*arguments, "--checkpoint-every", "10", *flags]) == 0
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with checkpoints after rounds 30 and 40."""
    return finished_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def broken(whole, tmp_path):
    """The same, as if it had been killed before its last files were there."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for name in ("summary.json", "policy.npz", "value.png"):
        (out / name).unlink()
    with (out / "metrics.csv").open("a") as file:
        file.write("41,0.")
    return out


def test_a_finished_run_is_left_alone(whole, capsys):
    before = (whole / "summary.json").stat().st_mtime_ns
    assert main(["resume", str(whole)]) == 0
    assert "is finished" in capsys.readouterr().out
    assert (whole / "summary.json").stat().st_mtime_ns == before


def test_a_run_behind_its_last_round_is_finished(whole, broken, capsys):
    assert main(["resume", str(broken)]) == 0
    assert "Going on from" in capsys.readouterr().out
    assert survival.compare(whole, broken) == []


def test_without_a_checkpoint_it_starts_over(whole, broken, capsys):
    shutil.rmtree(broken / "checkpoints")
    assert main(["resume", str(broken)]) == 0
    assert "starting over" in capsys.readouterr().out
    assert survival.compare(whole, broken) == []


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(whole, broken, capsys):
    newest = sorted((broken / "checkpoints").iterdir())[-1]
    data = next((newest / "arrays").glob("**/d/*"))
    data.write_bytes(data.read_bytes()[:-10])
    assert main(["resume", str(broken)]) == 0
    output = capsys.readouterr()
    assert f"warning: {newest} is damaged" in output.err
    assert f"Going on from {newest.parent}" in output.out
    assert str(newest) not in output.out
    assert survival.compare(whole, broken) == []


def test_another_configuration_is_refused_and_nothing_touched(broken, capsys):
    path = broken / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"rounds": 50}))
    before = (broken / "metrics.csv").read_bytes()
    assert main(["resume", str(broken)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "with rounds: 40; one with rounds: 50" in line
    assert (broken / "metrics.csv").read_bytes() == before


def test_other_versions_are_a_warning(broken, capsys, monkeypatch):
    monkeypatch.setattr("fedjax_rl.__version__", "0.0.0")
    assert main(["resume", str(broken)]) == 0
    assert "the last bits may differ (fedjax_rl: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_no_loss(tmp_path, run_python):
    """A quota on the size of files, which only a checkpoint exceeds."""
    out = tmp_path / "run"
    flags = ["--rounds", "60000", "--log-every", "1000", "--checkpoint-seconds", "0", "--out"]
    done = run_python(f"""
import resource
from fedjax_rl.cli import main
from fedjax_rl.errors import Stopped
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
raise SystemExit(main(["run", "fednpg", *{flags}, {str(out)!r}]))
""")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"fedjax-rl: checkpoint {out}")
    assert line.endswith("could not be written (File too large); those before it are intact")
    saved, damaged = checkpoints.newest(out / "checkpoints")
    assert damaged == []
    assert 0 < saved.manifest["round"] < 60_000
    assert main(["resume", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["rounds"] == 60_000


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["resume", "nowhere"], "run directory"),
        (["resume", "."], "of 'solve'; one that fedjax-rl run or sweep wrote"),
        (["run", "fednpg", "--checkpoint-every", "5"], "--checkpoint-every: got no --out"),
        (["run", "fedppo", "--checkpoint-seconds=5"], "--checkpoint-seconds: got no --out"),
        (["run", "gepo", "--keep-checkpoints", "-1", "--out", "x"], "--keep-checkpoints: got -1"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("algorithm: solve\n")
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_checkpoints_can_be_left_out_and_an_earlier_run_s_go(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    finished_run(out, "--overwrite", "--keep-checkpoints", "0")
    assert not (out / "checkpoints").exists()
    assert survival.compare(whole, out) == ["run/config.yaml"]


@pytest.fixture
def quick_compilation():
    with compiled_quickly():
        yield


@pytest.mark.slow
def test_a_comparison_is_resumed_as_a_whole(tmp_path, quick_compilation):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tiny = "--problem fedjax_rl.envs.known:chain --envs 4 --rollout 8 --hidden 8 8 --rounds 3"
    flags = f"{tiny} --episodes 100 --epochs 1 --minibatches 2 --checkpoint-every 1 --compare"
    flags += " --preconditioner common"
    assert main(["run", "fedppo", *flags.split(), "--out", str(whole)]) == 0
    shutil.copytree(whole, broken)
    (broken / "comparison.csv").unlink()
    (broken / "omniscient" / "summary.json").unlink()
    shutil.rmtree(broken / "unconstrained")
    assert main(["resume", str(broken)]) == 0
    for name in ("omniscient", "no-communication", "unconstrained"):
        assert survival.compare(whole / name, broken / name) == []
    text = (broken / "comparison.csv").read_text()
    assert [line.split(",")[:-1] for line in text.splitlines()] == [
        line.split(",")[:-1] for line in (whole / "comparison.csv").read_text().splitlines()
    ]
