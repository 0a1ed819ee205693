"""Peers of the benches: their own environments, and workers that wait for their turns."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import peers
from bench.peers import PeerUnavailable, Worker, WorkerFailed, peer_environment

BENCH = Path(peers.__file__).parent
PYTHON = Path(sys.executable)
CONFIGURATION = {"environments": 4, "steps": 128, "seconds": 0.01}

SERVED = f"""
import sys, time
sys.path.insert(0, {str(BENCH)!r})
from peer_worker import serve

def prepare(configuration):
    print("chatter of a library")
    return lambda iterations: time.sleep(0.005 * iterations)

serve(prepare)
"""
CRASHES = """
import sys
print("ready", flush=True)
sys.stdin.readline()
print("something of no interest", file=sys.stderr)
raise RuntimeError("the peer broke")
"""
HANGS = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
TALKS = "print('hello', flush=True)\n"


def worker(tmp_path, source, **options):
    script = tmp_path / "peer_trivial.py"
    script.write_text(source)
    return Worker(PYTHON, script, CONFIGURATION, **options)


def test_worker_runs_a_segment_a_turn_and_stops(tmp_path):
    with worker(tmp_path, SERVED) as peer:
        turns = [peer.turn() for _ in range(3)]
    steps = {turn["environment_steps"] for turn in turns}
    assert len(steps) == 1 and steps.pop() % 512 == 0
    assert all(turn["seconds"] >= 0.005 for turn in turns)
    assert peer._process.returncode == 0
    peer.stop()


def test_workers_take_turns(tmp_path):
    with worker(tmp_path, SERVED) as one, worker(tmp_path, SERVED) as other:
        for peer in (one, other, one, other):
            assert peer.turn()["seconds"] > 0


def test_worker_does_not_inherit_our_settings_of_xla(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--of-ours")
    monkeypatch.setenv("JAX_PLATFORMS", "ours")
    source = "import os\nprint('ready', flush=True)\ninput()\n"
    source += "print([n for n in os.environ if n.startswith(('XLA', 'JAX'))], flush=True)\ninput()"
    with (
        worker(tmp_path, source) as peer,
        pytest.raises(WorkerFailed, match=r"said '\[\]' instead"),
    ):
        peer.turn()


def test_crash_is_one_clear_error(tmp_path):
    peer = worker(tmp_path, CRASHES)
    with pytest.raises(WorkerFailed) as caught:
        peer.turn()
    expected = "peer_trivial: ended without an answer: RuntimeError: the peer broke"
    assert str(caught.value) == expected
    with pytest.raises(WorkerFailed, match=r"^peer_trivial: ended before its turn$"):
        peer.turn()


def test_worker_that_takes_too_long_is_ended(tmp_path):
    peer = worker(tmp_path, HANGS, timeout=5)
    peer._timeout = 0.2
    with pytest.raises(WorkerFailed, match=r"^peer_trivial: no answer within 0\.2 s$"):
        peer.turn()
    assert peer._process.returncode is not None


def test_worker_that_says_something_else_is_ended(tmp_path):
    with pytest.raises(WorkerFailed, match="said 'hello' instead of 'ready'"):
        worker(tmp_path, TALKS)


@pytest.mark.slow
def test_uninstallable_requirement_is_a_reason_in_one_line(tmp_path):
    with pytest.raises(PeerUnavailable) as caught:
        peer_environment(
            "nobody", ["no-such-package-of-ours==1"], tmp_path, pip_options=["--no-index"]
        )
    reason = str(caught.value)
    assert reason.startswith("nobody: ") and "no-such-package-of-ours" in reason
    assert "\n" not in reason and "://" not in reason
    assert not (tmp_path / peers.MARKER).exists()


@pytest.mark.slow
def test_environment_is_made_once(tmp_path, monkeypatch):
    python = peer_environment("empty", [], tmp_path, pip_options=["--no-index", "pip"])
    assert python.exists()

    def never(*arguments, **options):
        raise AssertionError(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", never)
        assert peer_environment("empty", [], tmp_path) == python
        with pytest.raises(AssertionError):
            peer_environment("empty", ["another"], tmp_path)


def test_slow_installation_is_unavailable(tmp_path, monkeypatch):
    def slow(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(PeerUnavailable, match=r"^slow: not installed within 60 s$"):
        peer_environment("slow", [], tmp_path / "slow", timeout=60)


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(PeerUnavailable, match="holds something else"):
        peer_environment("careless", [], tmp_path)
    assert (tmp_path / "thesis.tex").exists()
