"""Which rows are logged, how fast a run is said to be, and what a failing tool may cost."""

import sys
import threading

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput, MissingExtra
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks import log as module
from fedjax_rl.records.sinks.background import BackgroundSink
from fedjax_rl.records.sinks.log import MODULES, LogSchedule, RunLog, check_sinks, open_log
from fedjax_rl.records.sinks.protocol import About, Logged, defined
from fedjax_rl.terminal.surroundings import environment, quiet

pytestmark = pytest.mark.timeout(60)

ABOUT = About("fednpg", {"rounds": 7})


class Kept:
    """Keeps what it is given."""

    def __init__(self, fails_at=None):
        self.rows, self.fails_at, self.closed = [], fails_at, None

    def write(self, rows):
        if self.fails_at in rows.steps:
            raise RuntimeError("no\nmore  room")
        self.rows += [(step, dict(metrics)) for step, metrics in defined(rows)]

    def close(self, finished):
        self.closed = finished


def rounds(first, last, steps=None):
    counted = np.arange(first, last + 1)
    rows = {"round": counted, "value": counted / 2.0}
    return rows if steps is None else rows | {"environment_steps": steps * counted}


def log_of(sinks, every=3, last=7, seeds=1):
    log = RunLog(LogSchedule("round", last, every, seeds))
    for name, sink in sinks.items():
        log.add(name, sink)
    return log


def steps_of(sink):
    return [step for step, _ in sink.rows]


def test_rows_that_are_due_reach_every_sink_once():
    one, other = Kept(), Kept()
    log = log_of({"csv": one, "wandb": other})
    for span in (rounds(0, 0), rounds(1, 2), rounds(3, 5), rounds(6, 7)):
        log.write(span)
    log.write_last(rounds(0, 7))
    assert steps_of(one) == steps_of(other) == [0, 3, 6, 7]
    assert [row["Metrics/EpRet"] for _, row in one.rows] == [0.0, 1.5, 3.0, 3.5]


def test_the_last_row_of_a_run_that_ended_early_is_logged():
    sink = Kept()
    log = log_of({"csv": sink})
    log.write(rounds(0, 5))
    log.write_last(rounds(0, 5))
    assert steps_of(sink) == [0, 3, 5]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (10.0, [None, 2 * 10 * 2 / 4, 2 * 10 * 4 / 1]),  # seeds x steps x rounds / seconds
        (0.0, [None, 2 * 2 / 4, 2 * 4 / 1]),  # none are counted: rounds
        (None, [None, 2 * 2 / 4, 2 * 4 / 1]),
    ],
)
def test_frames_per_second_are_of_all_seeds_since_the_last_visit(monkeypatch, steps, expected):
    times = iter([100.0, 104.0, 105.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    sink = Kept()
    log = log_of({"csv": sink}, every=1, seeds=2)
    for span in (rounds(0, 1, steps), rounds(2, 3, steps), rounds(4, 7, steps)):
        log.write(span)
    first, second, third = expected
    assert [row.get("Time/FPS") for _, row in sink.rows] == [first] * 2 + [second] * 2 + [third] * 4


def test_a_tool_that_fails_is_left_out_with_a_warning(capsys):
    table, tool = Kept(), Kept(fails_at=6)
    log = log_of({"csv": table, "mlflow": tool})
    for span in (rounds(0, 3), rounds(4, 6), rounds(7, 7)):
        log.write(span)
    log.close(True)
    assert steps_of(table) == [0, 3, 6, 7] and steps_of(tool) == [0, 3]
    assert table.closed is True and tool.closed is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "fedjax-rl: warning: --log-to mlflow failed and is left out "
        "(RuntimeError: no more room); metrics.csv has every row"
    )


class Held(Kept):
    """Writes when it is let go."""

    def __init__(self):
        super().__init__()
        self.begun, self.let_go = threading.Event(), threading.Event()

    def write(self, rows):
        self.begun.set()
        assert self.let_go.wait(30)
        super().write(rows)


def test_a_slow_tool_does_not_hold_up_the_run():
    sink = Held()
    log = log_of({"wandb": BackgroundSink(sink)})
    for span in (rounds(0, 2), rounds(3, 5), rounds(6, 7)):
        log.write(span)
    assert sink.rows == []
    sink.let_go.set()
    log.close(True)
    assert steps_of(sink) == [0, 3, 6, 7] and sink.closed is True


def test_a_run_that_is_stopped_does_not_wait_for_rows_to_be_written():
    sink = Held()
    log = log_of({"wandb": BackgroundSink(sink)})
    log.write(rounds(0, 2))
    assert sink.begun.wait(30)
    log.write(rounds(3, 5))
    threading.Timer(0.2, sink.let_go.set).start()
    log.close(False)
    assert steps_of(sink) == [0] and sink.closed is False


@pytest.mark.parametrize("last", [3, 6])
def test_what_fails_beside_the_run_is_told_and_the_rows_behind_it_are_passed_over(capsys, last):
    """At the next rows, or when there are none, in the end."""
    sink = Kept(fails_at=3)
    log = log_of({"wandb": (background := BackgroundSink(sink))})
    log.write(rounds(0, 3))
    background._writer.submit(int).result()  # until it has failed
    if last == 6:
        log.write(rounds(4, 6))
        assert "--log-to wandb failed" in capsys.readouterr().err
        log.close(True)
        assert capsys.readouterr().err == ""
    else:
        log.close(True)
        (line,) = capsys.readouterr().err.splitlines()
        assert "--log-to wandb failed" in line and "(RuntimeError: no more room)" in line
    assert sink.rows == [] and sink.closed is None


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_file_of_ours_that_fails_ends_the_run(name):
    log = log_of({name: Kept(fails_at=3)})
    with pytest.raises(RuntimeError):
        log.write(rounds(0, 3))


def test_a_run_that_fails_is_not_finished(tmp_path, monkeypatch):
    sink = Kept()
    monkeypatch.setattr(module, "_opened", lambda *_: sink)
    with (
        RunDirectory(tmp_path / "run") as directory,
        pytest.raises(KeyError),
        open_log(directory, ["wandb"], ABOUT, LogSchedule("round", 7, 1, 1)) as log,
    ):
        log.write(rounds(0, 1))
        raise KeyError
    assert sink.closed is False and steps_of(sink) == [0, 1]


def test_a_tool_that_does_not_open_says_so_in_one_line(tmp_path):
    (tmp_path / "run").mkdir()
    with RunDirectory(tmp_path / "run") as directory:
        (directory.path / "tensorboard").write_text("in the way")
        with (
            pytest.raises(OSError, match=r"^--log-to tensorboard does not open \(FileExists.*\)$"),
            open_log(directory, ["tensorboard"], ABOUT, LogSchedule("round", 7, 1, 1)),
        ):
            pass


def test_what_is_undefined_is_left_out_of_a_row():
    metrics = {"a": np.array([1.0, np.nan]), "b": np.array([2, 3])}
    rows = Logged(np.array([4, 5]), {}, metrics)
    assert list(defined(rows)) == [(4, {"a": 1.0, "b": 2.0}), (5, {"b": 3.0})]


@pytest.fixture
def forget(monkeypatch):
    """Forgets that a package was imported, and afterwards what came in its place."""
    forgotten = []

    def roots(package):
        return [name for name in sys.modules if name.split(".")[0] == package]

    def forget(package, *others):
        forgotten.append(package)
        for name in [*roots(package), *others]:
            monkeypatch.delitem(sys.modules, name, raising=False)

    yield forget
    for package in forgotten:
        for name in roots(package):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "package"),
    [
        *(("tensorboard", "tensorboard"), ("wandb", "wandb")),
        *(("mlflow", "mlflow"), ("mlflow", "alembic"), ("mlflow", "sqlalchemy")),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, forget, name, package):
    forget(package, MODULES[name])
    monkeypatch.setattr(sys, "meta_path", [Hides(package), *sys.meta_path])
    with pytest.raises(MissingExtra) as caught:
        check_sinks(["jsonl", name])
    assert str(caught.value) == (
        f"--log-to {name}: got no installed package {package!r}; "
        f"install it with: pip install 'fedjax_rl[{name}]'"
    )


class Hides:
    """An importer before all others that says that a package is not there."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_folder_of_that_name_is_not_the_tool(monkeypatch, forget, tmp_path):
    """Users of Weights & Biases have a folder ``wandb`` wherever they work."""
    (tmp_path / "wandb").mkdir()
    forget("wandb", MODULES["wandb"])
    standard = [path for path in sys.path if "site-packages" not in path]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *standard])
    with pytest.raises(MissingExtra, match="no installed package 'wandb'"):
        check_sinks(["wandb"])


def test_sinks_are_known_and_named_once():
    with pytest.raises(InvalidInput, match="--log-to: got 'neptune'; one of jsonl, tensorboard"):
        check_sinks(["neptune"])
    with pytest.raises(InvalidInput, match="--log-to: got jsonl jsonl; every sink once"):
        check_sinks(["jsonl", "jsonl"])


def test_surroundings_are_put_back(monkeypatch):
    import logging
    import os

    monkeypatch.setenv("FEDJAX_RL_A", "before")
    monkeypatch.delenv("FEDJAX_RL_B", raising=False)
    logger = logging.getLogger("fedjax_rl.tests.loud")
    logger.setLevel(logging.INFO)
    with pytest.raises(KeyError), environment(FEDJAX_RL_A="1", FEDJAX_RL_B="2"), quiet(logger.name):
        assert (os.environ["FEDJAX_RL_A"], os.environ["FEDJAX_RL_B"]) == ("1", "2")
        assert not logger.isEnabledFor(logging.INFO) and logger.isEnabledFor(logging.WARNING)
        raise KeyError
    assert os.environ["FEDJAX_RL_A"] == "before" and "FEDJAX_RL_B" not in os.environ
    assert logger.level == logging.INFO
