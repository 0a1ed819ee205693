"""What a run logs is read back with each tool's own reader."""

import importlib.util
import json
import shutil
import sys

import pytest

from fedjax_rl.cli import main
from fedjax_rl.records.directory import RunDirectory
from fedjax_rl.records.sinks.mlflow_store import allowed
from fedjax_rl.records.sinks.protocol import About
from tests.conftest import _run, fresh_environment
from tests.records.sinks import readers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

FLAGS = "--rounds 12 --log-every 5 --seeds 2 --checkpoint-every 4"
SINKS = ("jsonl", "tensorboard", "wandb", "mlflow")
READERS = {
    "tensorboard": (readers.read_tensorboard, 1e-6),
    "wandb": (readers.read_wandb, 1e-15),
    "mlflow": (readers.read_mlflow, 0.0),
}
"""And how far a number may be from that in ``metrics.csv``: TensorBoard keeps float32."""
NAMES = {
    "value": "Metrics/EpRet",
    "average_gap": "Metrics/AverageGap",
    "worst_violation": "Metrics/WorstViolation",
    "strong_violation": "Metrics/StrongViolation",
    "environment_steps": "TotalEnvSteps",
    **{f"cost/segment-{j}": f"Metrics/EpCost/segment-{j}" for j in range(4)},
    **{
        f"multiplier/{j}/segment-{j}": f"Metrics/LagrangeMultiplier/{j}/segment-{j}"
        for j in range(4)
    },
}
GUARDED = """
import json, logging, os, signal, socket, sys, threading
for name in ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "GITLAB_CI"):
    os.environ.pop(name, None)  # with which MLflow would behave by itself
asked = []
connect, resolve = socket.socket.connect, socket.getaddrinfo
def guarded(self, address):
    if self.family != socket.AF_UNIX:
        asked.append(str(address))
        raise OSError("no network here")
    return connect(self, address)
def resolved(*arguments, **options):
    asked.append(str(arguments[:2]))
    raise OSError("no network here")
socket.socket.connect, socket.getaddrinfo = guarded, resolved
def surroundings():
    signals = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    root = [logging.root.level, len(logging.root.handlers)]
    streams = [id(sys.stdout), id(sys.stderr)]
    return {"cwd": os.getcwd(), "signals": signals, "root": root, "streams": streams, **os.environ}
import jax, orbax.checkpoint
from fedjax_rl.cli import main
jax.devices()  # sets variables of its own, as orbax sets up logging
before = surroundings()
status = main(sys.argv[1:])
after = surroundings()
changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
import psutil, wandb
children = [child.name() for child in psutil.Process().children() if "wandb" in child.name()]
told = {"status": status, "changed": changed, "asked": asked, "children": children}
print("TOLD", json.dumps({**told, "run": wandb.run is not None}))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with every sink, in a process of its own, and what that process said."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = ["run", "fednpg", *FLAGS.split(), "--out", str(folder / "run"), "--log-to", *SINKS]
    done = _run(["-c", GUARDED, *arguments], 240, fresh_environment(), folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", done


@pytest.fixture
def broken(whole, tmp_path):
    """The same, as if it had been killed before its last files were there."""
    out = tmp_path / "run"
    shutil.copytree(whole[0], out, symlinks=True)
    (out / "summary.json").unlink()
    return out


def unexpected(errors):
    """Lines on standard error but for those that say what takes long, or that tests compile
    the shorter way in this process and not in the one that began the run."""
    lines = [line for line in errors.splitlines() if not line.endswith(" …")]
    return [line for line in lines if "xla_cpu_use_fusion_emitters" not in line]


def check_all(out):
    """Every tool has the rows of ``metrics.csv``, each once, under the names of its users."""
    table = readers.read_csv(out)
    assert [step for step, _ in table["value"]] == [0, 5, 10, 12]
    for reader, tolerance in READERS.values():
        read = reader(out)
        assert len(read) == len(table) - 1 + ("Time/FPS" in read)
        for column, name in NAMES.items():
            assert [step for step, _ in read[name]] == [0, 5, 10, 12]
            values = [value for _, value in read[name]]
            expected = [value for _, value in table[column]]
            assert values == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_every_tool_reads_back_what_metrics_csv_holds(whole):
    check_all(whole[0])


@pytest.mark.parametrize("name", READERS)
def test_speed_is_known_after_the_first_row(whole, name):
    speed = READERS[name][0](whole[0])["Time/FPS"]
    assert [step for step, _ in speed] == [5, 10, 12]
    assert all(0 < value < 1e9 for _, value in speed)


def test_json_lines_are_the_table(whole):
    with (whole[0] / "metrics.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    table = readers.read_csv(whole[0])
    assert [list(row) for row in rows] == [list(table)] * 4
    for name, column in table.items():
        assert [row[name] for row in rows] == [value for _, value in column]


def test_settings_are_told(whole):
    (run,) = (one["run"] for one in readers.wandb_records(whole[0]) if one["type"] == "run")
    assert (run["project"], run["display_name"]) == ("fedjax-rl", "run")
    config = run["config"]["update"]
    assert (config["algorithm"], config["rounds"], config["seeds"]) == ("fednpg", 12, 2)
    _, run = readers.mlflow_run(whole[0])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["algorithm"] == "fednpg"
    assert (run.data.params["rounds"], run.data.params["step_size"]) == ("12", "auto")


def test_tools_are_silent_ask_nobody_and_leave_nothing_behind(whole):
    out, done = whole
    assert unexpected(done.stderr) == []
    *lines, last = done.stdout.splitlines()
    assert json.loads(last.removeprefix("TOLD")) == {
        **{"status": 0, "changed": [], "asked": [], "children": [], "run": False}
    }
    assert not any(word in "".join(lines[:-1]).lower() for word in ("mlflow", "wandb"))
    assert lines[-1].startswith(f"Written to {out}")
    assert {path.name for path in out.parent.iterdir()} == {"run"}


def test_a_resumed_run_has_every_row_once(broken, capfd):
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"round": 13')
    assert main(["resume", str(broken)]) == 0
    output = capfd.readouterr()
    assert "Going on from" in output.out
    assert unexpected(output.err) == []
    check_all(broken)
    test_json_lines_are_the_table((broken, None))


def test_overwriting_removes_what_tools_had(broken):
    (broken / "tensorboard-notes.md").write_text("mine")
    flags = ["--rounds", "3", "--out", str(broken), "--overwrite"]
    assert main(["run", "fednpg", *flags]) == 0
    names = {path.name for path in broken.iterdir()}
    assert not names & {"metrics.jsonl", "tensorboard", "wandb", "mlflow"}
    assert "tensorboard-notes.md" in names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Metrics/EpCost/segment-0", "Metrics/EpCost/segment-0"),
        ("Metrics/EpCost/a,b (ü)", "Metrics/EpCost/a_b ___"),
        ("Metrics/EpCost/../x", "Metrics/EpCost/__/x"),
        ("Metrics/EpCost/", "Metrics/EpCost/_"),
    ],
)
def test_names_that_mlflow_refuses_are_changed(name, expected):
    from mlflow.utils.validation import _validate_metric_name

    assert allowed(name) == expected
    _validate_metric_name(allowed(name))


def test_nothing_is_imported_that_was_not_asked_for(tmp_path):
    tools = ("tensorboard", "wandb", "mlflow", "sqlalchemy", "alembic", "gymnax", "orbax")
    source = (
        "import sys; from fedjax_rl.cli import main; "
        "main(['run', 'fednpg', '--rounds', '2', '--log-to', 'jsonl', '--out', 'run']); "
        f"print([name for name in {tools} if name in sys.modules])"
    )
    done = _run(["-c", source], 120, fresh_environment(), tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_interpreter_has_every_extra():
    """CI installs them: nothing here is skipped where they are missing."""
    assert all(importlib.util.find_spec(name) for name in ("tensorboard", "wandb", "mlflow"))


def test_weights_and_biases_leaves_the_way_out_of_the_process_alone(tmp_path):
    from fedjax_rl.records.sinks.wandb_offline import open_sink

    before = sys.exit, sys.excepthook
    with RunDirectory(tmp_path / "run") as directory:
        sink = open_sink(directory, About("fednpg", {}))
        assert (sys.exit, sys.excepthook) == before
        sink.close(True)
    assert (sys.exit, sys.excepthook) == before
