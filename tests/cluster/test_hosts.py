"""Several processes on the loopback interface, and what they are told by the environment."""

import contextlib
import csv
import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from fedjax_rl.cluster.hosts import HostSettings, Team, first_node, team_of
from fedjax_rl.errors import InvalidInput
from fedjax_rl.records.checkpoints import newest
from tests.conftest import fresh_environment

pytestmark = pytest.mark.slow

SMALL = (
    *("run", "fedppo", "--problem", "cartpole-pos2", "--agents", "2", "--envs", "4"),
    *("--rollout", "8", "--hidden", "4", "--minibatches", "1", "--epochs", "1"),
    *("--episodes", "100", "--seed", "1"),
)
RUN_SHORT = (*SMALL, "--rounds", "3", "--evaluate-every", "3")
RUN_LONG = (
    *("run", "fednpg", "--problem", "random-mdp", "--agents", "2"),
    *("--rounds", "100000", "--log-every", "5", "--checkpoint-every", "5"),
)


def free_ports():
    """The first of two neighbouring ports that nobody has."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                return port


@contextlib.contextmanager
def team(*arguments, port=None, processes=2):
    """Processes of one command; they are gone in the end."""
    port = port or free_ports()
    with contextlib.ExitStack() as stack:
        started = []
        for process in range(processes):
            said = ["--coordinator", f"127.0.0.1:{port}", "--process", process]
            command = [*arguments, *said, "--processes", processes]
            started.append(
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", "fedjax_rl", *map(str, command)],
                        env=fresh_environment(1, compiled_quickly=True),
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
            )
            stack.callback(started[-1].kill)
        yield started


def columns(path):
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


@pytest.mark.timeout(300)
def test_two_processes_train_like_one(tmp_path, run_cli):
    saving = (*RUN_SHORT, "--checkpoint-every", "1")
    with team(*saving, "--out", tmp_path / "two") as processes:
        printed = [process.communicate(timeout=250) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed[0][1] + printed[1][1]
    assert "Written to" in printed[0][0]
    assert "agent steps" not in printed[1][0]  # process 0 speaks for all
    alone = run_cli(*saving, "--out", "one", timeout=250, compiled_quickly=True)
    assert alone.returncode == 0, alone.stderr
    for name in ("metrics.csv", "evaluations.csv"):
        one, two = columns(tmp_path / "one" / name), columns(tmp_path / "two" / name)
        assert list(one) == list(two)
        for column in one:
            np.testing.assert_allclose(two[column], one[column], rtol=1e-5, atol=1e-6)
    with np.load(tmp_path / "one/policy.npz") as one, np.load(tmp_path / "two/policy.npz") as two:
        assert set(one) == set(two)
        for leaf in one:
            np.testing.assert_allclose(two[leaf], one[leaf], rtol=1e-5, atol=1e-6)
    one, two = (saved_state(tmp_path / name) for name in ("one", "two"))
    assert set(one.arrays["state"]) == set(two.arrays["state"])
    for name, leaf in one.arrays["state"].items():
        assert two.arrays["state"][name].dtype == leaf.dtype
        np.testing.assert_allclose(two.arrays["state"][name], leaf, rtol=1e-5, atol=1e-5)
    # Each process wrote its own agent: the pieces are halves of what only agents have.
    (part,) = two.path.glob("part-*")
    with np.load(part) as pieces:
        theirs = json.loads(str(pieces["layout"]))
    assert len(theirs) == len(two.manifest["layout"]) > 10
    for (name, shape, begin), (same, alike, start) in zip(
        theirs, two.manifest["layout"], strict=True
    ):
        assert (name, shape) == (same, alike)
        assert shape[0] == 2 and begin[0] == 1 and start[0] == 0
    part.unlink()
    damaged = newest(tmp_path / "two/checkpoints")
    assert damaged[0] is not None and damaged[0].manifest["round"] < two.manifest["round"]
    assert "part-1.npz" in damaged[1][0] and "missing" in damaged[1][0]


def saved_state(out):
    saved, damaged = newest(out / "checkpoints")
    assert saved is not None and damaged == []
    return saved


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_death_stops_the_others_and_the_run_goes_on_alone(tmp_path, victim, run_cli):
    out = tmp_path / "run"
    with team(*RUN_LONG, "--out", out) as processes:
        deadline = time.monotonic() + 200
        while not list(out.glob("checkpoints/round-*[0-9]")):
            assert time.monotonic() < deadline, processes[1 - victim].communicate(timeout=9)[1]
            time.sleep(0.05)
        processes[victim].kill()
        began = time.monotonic()
        _, stderr = processes[1 - victim].communicate(timeout=30)
        assert time.monotonic() - began < 30
    assert f"process {victim} of 2 is gone; process {1 - victim} stops" in stderr
    assert "Traceback" not in stderr
    config = out / "config.yaml"
    shorter = config.read_text().replace("rounds: 100000", "rounds: 20")
    assert not (out / "summary.json").exists()
    if victim == 0:
        return
    # With fewer processes, from the checkpoint, whose settings are still the longer run's.
    config.write_text(shorter)
    refused = run_cli("resume", out)
    assert refused.returncode == 2
    assert "rounds: 100000" in refused.stderr
    config.write_text(shorter.replace("rounds: 20", "rounds: 100000"))
    resumed = subprocess.Popen(
        [sys.executable, "-m", "fedjax_rl", "resume", str(out)],
        env=fresh_environment(1, compiled_quickly=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with resumed:
        line = ""
        while "Going on from" not in line:
            line = resumed.stdout.readline()
            assert line, resumed.stderr.read()
        while not line.strip()[:1].isdigit():
            line = resumed.stdout.readline()
            assert line, resumed.stderr.read()
        resumed.kill()


@pytest.mark.timeout(200)
def test_two_processes_share_a_sweep(tmp_path, run_cli):
    arguments = ("sweep", "fednpg", "--problem", "random-mdp", "--rounds", "5", "--chunk", "2")
    arguments += ("--grid", "step_size=0.1,0.2,0.4", "--grid", "local_steps=1,2", "--seeds", "2")
    with team(*arguments, "--out", tmp_path / "two") as processes:
        printed = [process.communicate(timeout=150) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed[0][1] + printed[1][1]
    alone = run_cli(*arguments, "--out", "one", compiled_quickly=True)
    assert alone.returncode == 0, alone.stderr
    assert len(list((tmp_path / "two/chunks").glob("*.npz"))) == 8  # each ran half of a group
    figures = ("member", "step_size", "average_gap", "last_violation")
    with (
        (tmp_path / "one/sweep.csv").open() as one,
        (tmp_path / "two/sweep.csv").open() as two,
    ):
        rows, others = list(csv.DictReader(one)), list(csv.DictReader(two))
    assert len(rows) == len(others) == 12
    for row, other in zip(rows, others, strict=True):
        for name in figures:
            assert float(row[name]) == pytest.approx(float(other[name]), abs=1e-12)


@pytest.mark.timeout(120)
def test_a_user_mistake_of_one_process_ends_all(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with team(*RUN_SHORT, "--out", tmp_path / "taken") as processes:
        printed = [process.communicate(timeout=100) for process in processes]
    assert processes[0].returncode == 2
    assert "--out" in printed[0][1] and "Traceback" not in printed[0][1]
    assert processes[1].returncode not in (0, None)


def test_slurm_says_who_is_who():
    environment = {
        "SLURM_PROCID": "3",
        "SLURM_NTASKS": "8",
        "SLURM_JOB_NODELIST": "gpu[03-07,9],cpu1",
        "SLURM_JOB_ID": "4711",
    }
    assert team_of(HostSettings("auto"), environment) == Team("gpu03", 20000 + 2 * 4711, 3, 8)
    # Without being asked, a job's environment changes nothing.
    assert team_of(HostSettings(), environment) is None


def test_kubernetes_and_jax_say_who_is_who():
    job = {"JOB_COMPLETION_INDEX": "1", "JAX_COORDINATOR_ADDRESS": "head:99"}
    assert team_of(HostSettings("auto", processes=4), job) == Team("head", 99, 1, 4)
    ours = {**job, "JAX_PROCESS_ID": "2", "JAX_NUM_PROCESSES": "5"}
    assert team_of(HostSettings("auto"), ours) == Team("head", 99, 2, 5)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        *[("one", "one"), ("a,b", "a"), ("n[1-3]", "n1"), ("n[02,4]", "n02")],
        *[("rack[1-2]-x,other", "rack1-x"), ("a,n[1-3]", "a")],
    ],
)
def test_first_node_of_a_list(nodes, first):
    assert first_node(nodes) == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (HostSettings("head:99"), "--process: got nothing"),
        (HostSettings(process=1, processes=2), "--coordinator: got nothing"),
        (HostSettings("head:99", 1), "--processes: got nothing"),
        (HostSettings("auto"), "--coordinator: got nothing"),
        (HostSettings("head", 0, 2), "--coordinator: got head; host:port"),
        (HostSettings("head:port", 0, 2), "--coordinator: got head:port; host:port"),
        (HostSettings("head:65535", 0, 2), "--coordinator: got head:65535; host:port"),
        (HostSettings("head:99", 2, 2), "--process: got 2; 0 … 1"),
        (HostSettings("head:99", 0, 0), "--processes: got 0; at least 1"),
    ],
)
def test_what_is_missing_or_cannot_be(settings, message):
    with pytest.raises(InvalidInput, match=message):
        team_of(settings, {})


def test_an_environment_that_is_not_numbers():
    with pytest.raises(InvalidInput, match="process 'x'; a whole number"):
        team_of(HostSettings("auto"), {"SLURM_PROCID": "x"})
