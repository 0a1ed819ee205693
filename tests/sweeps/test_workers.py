"""Chunks run by workers: the same bits, one end for all, and what is refused."""

import csv
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import pytest

from fedjax_rl.algorithm import problems
from fedjax_rl.cli import main
from fedjax_rl.cluster import cores as counted
from fedjax_rl.cluster import hosts
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.records.output import Destination
from fedjax_rl.runs.resume import resume
from fedjax_rl.sources.problems import save_problem
from fedjax_rl.sweeps import messages, workers
from fedjax_rl.sweeps.plan import plan_of
from fedjax_rl.sweeps.request import SweepRequest
from fedjax_rl.sweeps.session import sweep_and_record
from fedjax_rl.sweeps.space import space_of
from fedjax_rl.sweeps.workers import Crew, check_workers, crew_of
from fedjax_rl.training import members as side_by_side
from fedjax_rl.training.members import size_of
from tests import support
from tests.conftest import fresh_environment

pytestmark = pytest.mark.timeout(600)

GRID = {"step_size": [0.05, 0.1, 0.2, 0.4, 0.8], "local_steps": [1, 2]}
FILES = ("sweep.csv", "curves.npz")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return FedNPGConfig(problem=str(path), rounds=20)


def request(base, out, count, algorithm="fednpg", grid=None, chunk=1):
    space = space_of(type(base), grid or GRID, {}, None)
    return SweepRequest(algorithm, base, space, chunk, Destination(out), workers=count)


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    """Ten members in two groups, by one process."""
    out = tmp_path_factory.mktemp("sweeps") / "alone"
    assert not sweep_and_record(request(base, out, 1))
    return out


def alike(out, other):
    assert [(out / name).read_bytes() for name in FILES] == [
        (other / name).read_bytes() for name in FILES
    ]


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_rows_are_the_same_bits_by_any_number_of_workers(base, alone, tmp_path, count, capfd):
    out = tmp_path / "out"
    assert not sweep_and_record(request(base, out, count))
    alike(out, alone)
    output = capfd.readouterr()
    assert re.search(rf"^workers: {count} processes.*\nmemory: about ", output.out, re.MULTILINE)
    assert output.out.count("time: about") == 1
    assert output.err.count("chunk ") == 10 and "chunk 10 of 10: all in" in output.err
    assert not list(out.glob("chunks/*/"))


@pytest.mark.slow
def test_sums_of_networks_are_split_as_in_one_process(tmp_path):
    """Products over 2048 samples depend on how many threads share them: on the cores, not on us."""
    base = DeepConfig(
        problem="fedjax_rl.envs.known:chain",
        **{"agents": 2, "envs": 32, "rollout": 64, "rounds": 3, "hidden": (64,), "epochs": 1},
        **{"minibatches": 1, "episodes": 100, "evaluate_every": 3},
    )
    grid = {"learning_rate": [1e-3, 3e-3]}
    for count in (1, 2):
        sweep_and_record(request(base, tmp_path / str(count), count, "fedppo", grid))
    alike(tmp_path / "1", tmp_path / "2")


def test_nothing_is_written_without_a_directory(base, capfd):
    few = {"step_size": [0.05, 0.1]}
    assert not sweep_and_record(request(base, None, 2, grid=few))
    output = capfd.readouterr().out
    assert "2 members, 0 diverged" in output and "Nothing was written" in output


class Command:
    """``fedjax-rl`` with its workers, in a process of its own."""

    def __init__(self, *arguments):
        self.begun = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedjax_rl", *map(str, arguments)],
            env=fresh_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self):
        """Processes that it has started, by their numbers."""
        found = []
        for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = status.read_text().rpartition(")")[2].split()[1]
                command = (status.parent / "cmdline").read_text()
            except OSError:
                continue
            if parent == str(self.process.pid) and "fedjax_rl.sweeps.worker" in command:
                found.append(int(status.parent.name))
        return found

    def until_saved(self, out, count):
        """Waits until so many chunks at work have saved themselves anew; its workers."""
        for _ in range(6000):
            saved = [written(path) for path in out.glob("chunks/*/checkpoints/round-*[0-9]")]
            if sum(when > self.begun for when in saved) >= count:
                return self.workers()
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.05)
        raise AssertionError("no checkpoint")

    def ended(self):
        """Its status and what it said."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said


def written(path):
    """When; long ago where it is gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def gone(numbers):
    """Whether these processes end within a while; a zombie has."""
    for _ in range(1200):
        states = [pathlib.Path(f"/proc/{number}/stat") for number in numbers]
        alive = [path for path in states if path.exists()]
        if all(path.read_text().rpartition(")")[2].split()[0] == "Z" for path in alive):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_end_together_and_nothing_is_lost(base, tmp_path):
    """A worker is killed, then Ctrl-C, then the sweep's own process is killed: the same bits."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    arguments = ["fednpg", "--problem", base.problem, "--rounds", "100000", "--chunk", "2"]
    arguments += ["--checkpoint-seconds", "0.2", "--grid", "step_size=0.05,0.1,0.2,0.4"]
    status, said = Command("sweep", *arguments, "--workers", 1, "--out", whole).ended()
    assert status == 0, said

    swept = Command("sweep", *arguments, "--workers", 2, "--out", out)
    one, other = swept.until_saved(out, 2)
    os.kill(one, signal.SIGKILL)
    status, said = swept.ended()
    assert status == 1 and gone([one, other])
    assert f"(process {one}) ended by signal 9 (SIGKILL); the others are stopped" in said

    swept = Command("resume", out, "--workers", 2)
    both = swept.until_saved(out, 2)
    swept.process.send_signal(signal.SIGINT)
    status, said = swept.ended()
    assert status == 130 and gone(both)
    assert said.count("saving, then stopping") == 1
    assert "interrupted, what was saved is kept; go on with: fedjax-rl resume" in said

    swept = Command("resume", out, "--workers", 2)
    while len(both := swept.workers()) < 2 and swept.process.poll() is None:
        time.sleep(0.05)
    time.sleep(5)
    swept.process.kill()
    swept.process.communicate(timeout=60)
    assert gone(both)

    status, said = Command("resume", out, "--workers", 1).ended()
    assert status == 0, said
    with (out / "sweep.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished"] * 4
    alike(out, whole)


def test_what_another_process_does_not_know_is_refused_or_run_here(
    base, tmp_path, monkeypatch, capfd
):
    monkeypatch.setitem(problems._entries, "only-here", lambda: support.random_problem(0))
    own = FedNPGConfig(problem="only-here", rounds=2)
    few, out = {"step_size": [0.1, 0.2]}, tmp_path / "out"
    with pytest.raises(
        InvalidInput, match=r"--workers: got 2; 1, for another process says: .*only-here"
    ):
        sweep_and_record(request(own, tmp_path / "refused", 2, grid=few))
    monkeypatch.setattr(workers, "SMALL", 0.0)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    assert not sweep_and_record(request(own, out, "auto", grid=few))
    assert "workers: 1 after all, for another process says: " in capfd.readouterr().out
    assert (out / "sweep.csv").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("share", lambda: (0, 3), "3 --processes share the members"),
        ("platform", lambda: "gpu", "one process fills a gpu"),
        (
            "local_devices",
            lambda backend=None: jax.devices() * 8,
            "--devices deals members to the 8 devices",
        ),
    ],
)
def test_workers_beside_other_ways_to_spread_are_refused(monkeypatch, name, value, reason):
    owner = {"share": hosts, "platform": workers, "local_devices": jax}[name]
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(InvalidInput, match=f"--workers: got 2; auto or 1, for {reason}"):
        check_workers(2)
    check_workers("auto")
    check_workers(1)
    assert workers.cores_for_chunks() == 1, "chunks are as they were"
    crew = crew_of("auto", 8, 1e15, 1)
    assert crew.processes == 1 and crew.why.startswith(reason)


def test_a_number_of_workers_that_cannot_be_is_refused(base, alone, tmp_path):
    with pytest.raises(InvalidInput, match="--workers: got 0; auto, or at least 1"):
        sweep_and_record(request(base, tmp_path / "out", 0))
    assert not (tmp_path / "out").exists()


def test_a_run_has_no_workers(base, tmp_path):
    out = tmp_path / "run"
    assert (
        main(["run", "fednpg", "--problem", base.problem, "--rounds", "2", "--out", str(out)]) == 0
    )
    (out / "summary.json").unlink()
    with pytest.raises(InvalidInput, match="--workers: got 2; auto or 1, for this is no sweep"):
        resume(out, workers=2)


def test_little_work_stays_in_one_process(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 4)
    monkeypatch.setattr(workers, "free_bytes", lambda: 2 * 100 * workers.PROCESS_BYTES)
    much = workers.SMALL
    assert crew_of("auto", 8, much / 2, 1) == Crew(1, "too little work for more")
    assert crew_of("auto", 8, much, 1) == Crew(4)
    assert crew_of("auto", 3, much, 1) == Crew(3, "no more chunks")
    assert crew_of("auto", 1, much, 1) == Crew(1, "one chunk")
    assert crew_of("auto", 8, much, 49 * workers.PROCESS_BYTES) == Crew(2, "no more fit memory")
    assert crew_of(8, 8, 0.0, 1) == Crew(8), "who asks for them gets them"
    assert crew_of(8, 5, 0.0, 1) == Crew(5, "no more chunks")
    assert crew_of(1, 8, much, 1) == Crew(1)


def test_the_plan_says_who_runs_what(base, monkeypatch):
    (_, group), *_ = plan_of(request(base, None, 1)).work
    one = messages.staffed(Crew(1, "too little work for more"), [group])
    assert one[0] == "workers: 1 (too little work for more)" and " at once, from" in one[1]
    monkeypatch.setattr(messages, "cores", lambda: 2)
    two = messages.staffed(Crew(2), [group])
    assert two[0] == "workers: 2 processes, one to a core"
    few = messages.staffed(Crew(3, "no more chunks"), [group])
    assert few[0] == "workers: 3 processes (no more chunks)"
    process = messages.in_bytes(workers.PROCESS_BYTES)
    assert f" in each of them, from the sizes of a member's arrays, and {process} for" in two[1]


def test_chunks_are_dealt_to_the_cores_whoever_runs_them(base, monkeypatch):
    """So that the number of workers changes no bit."""
    assert [size_of(64, 1, None, 10**9, parts) for parts in (1, 2, 3, 64, 100)] == [
        64,
        32,
        22,
        1,
        1,
    ]
    assert size_of(65, 1, None, 10**9, 2) == 33, "two chunks"
    assert size_of(200, 1, None, 10**9, 3) == 34, "six chunks and not four"
    assert size_of(64, 1, 64, 1, 8) == 64, "what was asked for"
    monkeypatch.setattr(side_by_side, "free_bytes", lambda: 10**9)
    for able, sizes in (1, [5, 5]), (2, [5, 5]), (4, [3, 3]):
        monkeypatch.setattr(workers, "cores", lambda able=able: able)
        for count in (1, 2, "auto"):
            plan = plan_of(request(base, None, count, chunk=None))
            assert [group.size for _, group in plan.work] == sizes


def test_cores_are_those_of_the_mask_and_of_the_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 2, 7, 3}, raising=False)
    monkeypatch.setattr(counted, "QUOTA", tmp_path / "cpu.max")
    assert counted.cores() == 4
    for text, expected in ("max 100000", 4), ("150000 100000", 2), ("1000 100000", 1), ("?", 4):
        (tmp_path / "cpu.max").write_text(text)
        assert counted.cores() == expected
    assert [counted.core_of(worker, 5) for worker in range(5)] == [2, 3, 5, 7, 2]
    assert counted.core_of(0, 3) is None, "another sweep may use the other cores"
