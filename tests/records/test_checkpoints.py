"""A checkpoint is read back to the bit, or not at all."""

import ast
import errno
import json
import pathlib
import shutil
import signal
from collections import namedtuple
from types import SimpleNamespace

import jax
import ml_dtypes
import numpy as np
import pytest

import fedjax_rl
from fedjax_rl.errors import InvalidInput, Stopped
from fedjax_rl.records import checkpoint_files, checkpointer, checkpoints
from fedjax_rl.records.checkpoint_files import MANIFEST, digest_of
from fedjax_rl.records.checkpoint_leaves import flat
from fedjax_rl.records.checkpointer import DirectoryCheckpointer
from fedjax_rl.records.checkpoints import CheckpointFailure, Origin, Progress
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.saving import CheckpointSettings

pytestmark = pytest.mark.timeout(60)

State = namedtuple("State", "weights moments streams counts flags nothing")
ORIGIN = Origin({"algorithm": "walk", "rounds": 9, "hidden": (8, 8)}, {"jax": "1", "devices": "a"})


def state_of(seed=0):
    rng = np.random.default_rng(seed)
    return State(
        weights={"layer": rng.standard_normal((3, 2)), "bias": np.array([np.nan, np.inf, -0.0])},
        moments=(rng.standard_normal(4).astype(np.float32), np.ones(2, ml_dtypes.bfloat16) / 3),
        streams=jax.random.split(jax.random.key(seed), 3),
        counts=np.array(2**40 + seed),
        flags=np.array([True, False]),
        nothing=np.zeros((0, 3), np.float64),
    )


def progress_of(round, seed=0):
    record = {"history": {"round": np.arange(round), "cost/a": np.arange(round) / 3}}
    return Progress(round, state_of(seed), np.array([-1, 4]), record, 1.5)


def write(folder, *rounds, keep=9, origin=ORIGIN):
    for round in rounds:
        checkpoints.write(folder, progress_of(round), origin, keep)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def bits(tree):
    return {path: (leaf.dtype, leaf.shape, leaf.tobytes()) for path, leaf in flat(tree).items()}


def test_everything_comes_back_to_the_bit(tmp_path):
    checkpoints.write(tmp_path, progress_of(7, seed=3), ORIGIN, 1)
    saved, damaged = checkpoints.newest(tmp_path)
    back = checkpoints.progress_of(saved, state_of(seed=0))
    assert damaged == []
    assert isinstance(back.state, State)
    assert bits(back.state) == bits(state_of(seed=3))
    assert bits(back.state) != bits(state_of(seed=0))
    assert bits(back.record) == bits(progress_of(7).record)
    assert (back.round, back.seconds, back.failed.tolist()) == (7, 1.5, [-1, 4])
    drawn, expected = (jax.random.bits(s.streams[1]) for s in (back.state, state_of(seed=3)))
    assert drawn == expected, "keys are keys again"


def test_the_newest_are_kept(tmp_path):
    (tmp_path / "round-000000001.partial").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, 1, 2, 10, keep=2)
    assert names(tmp_path) == ["notes.txt", "round-000000002", "round-000000010"]
    checkpoints.remove_all(tmp_path)
    assert names(tmp_path) == ["notes.txt"]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncated, flipped, pathlib.Path.unlink])
@pytest.mark.parametrize("kind", ["manifest.json", "arrays/_METADATA", "arrays/**/d/*"])
def test_damage_is_seen_and_the_one_before_is_used(tmp_path, kind, damage):
    write(tmp_path, 3, 5)
    damage(sorted((tmp_path / "round-000000005").glob(kind))[-1])
    saved, damaged = checkpoints.newest(tmp_path)
    assert saved.path.name == "round-000000003"
    (line,) = damaged
    assert "round-000000005 is damaged" in line
    assert kind.split("/")[0] in line
    write(tmp_path, 4)
    assert names(tmp_path) == ["round-000000003", "round-000000004"], "what is damaged goes"


def test_an_interrupted_write_is_no_checkpoint(tmp_path):
    write(tmp_path, 3)
    shutil.copytree(tmp_path / "round-000000003", tmp_path / "round-000000009.partial")
    saved, damaged = checkpoints.newest(tmp_path)
    assert (saved.path.name, damaged) == ("round-000000003", [])
    checkpoints.remove_half_written(tmp_path)
    assert names(tmp_path) == ["round-000000003"]


def test_without_a_whole_one_there_is_none(tmp_path):
    assert checkpoints.newest(tmp_path / "checkpoints") == (None, [])
    write(tmp_path, 3)
    truncated(tmp_path / "round-000000003" / MANIFEST)
    saved, damaged = checkpoints.newest(tmp_path)
    assert saved is None
    assert len(damaged) == 1


def test_a_format_of_the_future_is_refused(tmp_path):
    write(tmp_path, 3, 5)
    path = tmp_path / "round-000000005" / MANIFEST
    manifest = {"format": 3, "round": 5, "surprise": True}
    path.write_text(json.dumps(manifest | {"sha256": digest_of(manifest)}))
    with pytest.raises(InvalidInput, match=r"round-000000005 of format 3; format 2 or older"):
        checkpoints.newest(tmp_path)


def test_another_run_is_refused_and_other_versions_are_named(tmp_path):
    write(tmp_path, 3)
    saved, _ = checkpoints.newest(tmp_path)
    assert checkpoints.check_origin(saved, ORIGIN) == []
    newer = ORIGIN._replace(made_with={"jax": "2", "devices": "a"})
    assert checkpoints.check_origin(saved, newer) == ["jax: 1 then, 2 now"]
    other = ORIGIN._replace(settings={**ORIGIN.settings, "rounds": 10})
    with pytest.raises(InvalidInput, match=r"with rounds: 9; one with rounds: 10, as config\.yaml"):
        checkpoints.check_origin(saved, other)


def test_a_state_of_another_shape_is_refused(tmp_path):
    write(tmp_path, 3)
    saved, _ = checkpoints.newest(tmp_path)
    other = state_of()._replace(flags=np.array([True]))
    with pytest.raises(InvalidInput, match=r"\.flags: bool\[2\]; a state with \.flags: bool\[1\]"):
        checkpoints.progress_of(saved, other)
    rekeyed = state_of()._replace(streams=jax.random.split(jax.random.key(0, impl="rbg"), 3))
    with pytest.raises(InvalidInput, match="streams<rbg>: nothing"):
        checkpoints.progress_of(saved, rekeyed)


def test_a_full_disk_leaves_the_earlier_ones(tmp_path, monkeypatch):
    write(tmp_path, 3, 5)

    def full(path, arrays):
        path.mkdir()
        (path / "half").write_bytes(b"0" * 10)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint_files, "_write_arrays", full)
    with pytest.raises(CheckpointFailure, match=r"\(No space left on device\); those before it"):
        checkpoints.write(tmp_path, progress_of(9), ORIGIN, 1)
    assert names(tmp_path) == ["round-000000003", "round-000000005"]
    assert checkpoints.newest(tmp_path)[0].path.name == "round-000000005"


def kept_rounds(tmp_path, settings, rounds):
    """Rounds that a checkpointer saves when it is visited after each of these."""
    with DirectoryCheckpointer(tmp_path, settings, ORIGIN) as saver:
        for round in rounds:
            saver.visit(round, lambda round=round: progress_of(round))
    folder = tmp_path / "checkpoints"
    return [int(name[-9:]) for name in names(folder)] if folder.exists() else []


def test_saved_once_for_every_so_many_rounds(tmp_path):
    settings = CheckpointSettings(checkpoint_every=10, keep_checkpoints=9)
    assert kept_rounds(tmp_path, settings, [1, 9, 10, 19, 25, 29, 41]) == [10, 25, 41]
    assert settings.span(1000) == 10
    assert settings.span(3) == 3
    assert CheckpointSettings().span(1000) == 1000


def test_saved_after_so_many_seconds(tmp_path, monkeypatch):
    now = iter([0.0, 59.0, 60.0, 60.0, 61.0, 119.0, 120.5, 120.5])
    monkeypatch.setattr(checkpointer, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert kept_rounds(tmp_path, CheckpointSettings(), [1, 2, 3, 4, 5]) == [2, 5]


def test_what_went_wrong_beside_the_run_stops_it_at_the_next_visit(tmp_path, monkeypatch):
    def fail(*arguments):
        raise CheckpointFailure("the disk is full")

    monkeypatch.setattr(checkpoints, "write", fail)
    always = CheckpointSettings(checkpoint_seconds=0)
    for visits in (1, 2):  # the last failure shows when the checkpointer is left
        saver = DirectoryCheckpointer(tmp_path, always, ORIGIN)
        with pytest.raises(CheckpointFailure, match="full"), saver:
            for round in range(visits):
                saver.visit(round, lambda: progress_of(1))


def test_a_signal_saves_and_stops(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(Stopped) as stopped,
        DirectoryCheckpointer(tmp_path, CheckpointSettings(), ORIGIN) as saver,
    ):
        saver.visit(1, lambda: progress_of(1))
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == before, "a second one acts at once"
        saver.visit(2, lambda: progress_of(2))
    assert stopped.value.status == 143
    assert str(stopped.value).endswith(f"go on with: fedjax-rl resume {tmp_path}")
    assert names(tmp_path / "checkpoints") == ["round-000000002"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("checkpoint_every", 0), ("checkpoint_seconds", -1), ("keep_checkpoints", -1)],
)
def test_settings_are_checked(setting, value):
    with pytest.raises(InvalidInput, match="--" + setting.replace("_", "-")):
        CheckpointSettings(**{setting: value})


def test_two_processes_cannot_write_one_directory(tmp_path, run_python):
    where = tmp_path / "run"
    source = f"""
from pathlib import Path
from fedjax_rl.records.directory import RunDirectory
RunDirectory(Path({str(where)!r}), resume=True)
"""
    with RunDirectory(where) as directory:
        assert directory.names() == []
        refused = run_python(source)
        assert refused.returncode != 0
        assert "another process writes there" in refused.stderr
    assert names(where) == []
    killed = run_python(source.replace("RunDirectory(Path", "held = RunDirectory(Path") + KILL)
    assert killed.returncode == -9
    assert names(where) == [".lock"], "left behind, but locked by nobody"
    with RunDirectory(where):
        pass
    assert names(where) == []


KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_nothing_is_unpickled():
    for path in pathlib.Path(fedjax_rl.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                roots = {(name or "").split(".")[0] for name in modules}
                assert not roots & UNPICKLERS, path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
