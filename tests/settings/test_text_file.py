"""Text that other programs wrote: marks, line ends, encodings, decimal commas, units."""

import codecs
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import fedjax_rl
from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.stale.traces import read_trace
from fedjax_rl.report.reading import open_source
from fedjax_rl.settings.files import read_settings, read_yaml
from fedjax_rl.settings.text_file import read_csv, read_text
from fedjax_rl.sources.problems import load_problem

MARK = codecs.BOM_UTF8
WAYS = {
    "plain": lambda text: text.encode(),
    "mark": lambda text: MARK + text.encode(),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "mark-crlf": lambda text: MARK + text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "blank-lines": lambda text: (text + "\n \n\n").encode(),
    "no-end": lambda text: text.rstrip("\n").encode(),
}
"""How one text may be saved."""
WRONG = {
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16-unmarked": lambda text: text.encode("utf-16-le"),
    "latin-1": lambda text: (text + "# \xe4\n").encode("latin-1"),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
every_wrong_way = pytest.mark.parametrize("way", WRONG.values(), ids=WRONG)


def saved(path, content):
    path.write_bytes(content)
    return path


@every_way
@pytest.mark.parametrize("header", ["", "seconds\n", '"latency (s)"\n'])
def test_a_trace_has_all_its_values(tmp_path, way, header):
    trace = saved(tmp_path / "trace.csv", way(f"{header}60\n2.5e1\n 0 \n"))
    assert read_trace(trace) == (60.0, 25.0, 0.0)


@every_way
def test_a_trace_of_named_columns_is_its_last(tmp_path, way):
    trace = saved(tmp_path / "trace.csv", way("sampler,seconds\na,60\nb,5\n"))
    assert read_trace(trace) == (60.0, 5.0)


@pytest.mark.parametrize("text", [",latency\n0,60\n1,5\n", '"","x"\n"1",60\n"2",5\n'])
def test_a_first_column_of_row_names_may_have_no_name(tmp_path, text):
    """As pandas and R write tables."""
    assert read_trace(saved(tmp_path / "trace.csv", text.encode())) == (60.0, 5.0)


@every_way
def test_settings_are_read(tmp_path, way):
    text = yaml.safe_dump({"algorithm": "fedppo", "problem": "größe.npz", "rounds": 7})
    config, _ = read_settings(saved(tmp_path / "config.yaml", way(text)), "fedppo", DeepConfig)
    assert config == DeepConfig(problem="größe.npz", rounds=7)


@every_way
def test_access_is_read(tmp_path, way):
    access = saved(
        tmp_path / "access.yaml", way("one: [segment-0, segment-2]\ntwo: [segment-1, segment-3]\n")
    )
    problem = load_problem("windy-cliff", access=access)
    np.testing.assert_array_equal(problem.access, [[1, 0, 1, 0], [0, 1, 0, 1]])


@every_way
def test_a_sweep_is_read(tmp_path, way, capsys):
    text = "algorithm: fednpg\ngrid:\n  step_size: [0.1, nonsense]\n"
    file = saved(tmp_path / "sweep.yaml", way(text))
    assert main(["sweep", "--file", str(file)]) == 2
    assert "nonsense" in capsys.readouterr().err, "the file was understood up to this value"


@every_way
def test_a_report_has_its_curves(tmp_path, way):
    saved(tmp_path / "config.yaml", way("algorithm: fednpg\nrounds: 1\n"))
    saved(tmp_path / "metrics.csv", way("round,value\n0,1.5\n1,2.5\n"))
    saved(tmp_path / "summary.json", way(json.dumps({"gap": 1.0}) + "\n"))
    source = open_source(tmp_path)
    columns = source.columns("metrics.csv")
    assert list(columns) == ["round", "value"]
    np.testing.assert_array_equal(columns["value"], [1.5, 2.5])
    assert source.document("summary.json") == {"gap": 1.0}


READERS = {
    "trace": lambda path: read_trace(path),
    "yaml": lambda path: read_yaml("--config", path),
    "csv": lambda path: read_csv("directory", path),
    "text": lambda path: read_text("directory", path, "JSON document"),
}


@every_wrong_way
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_other_encodings_are_refused(tmp_path, way, reader):
    path = saved(tmp_path / "file", way("seconds\n1\n2\n"))
    with pytest.raises(InvalidInput) as caught:
        reader(path)
    assert "UTF-8" in str(caught.value) and "\n" not in str(caught.value)
    assert "file" in str(caught.value.value)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_missing_files_are_refused(tmp_path, reader):
    for path in (tmp_path / "none", tmp_path, Path("a\0b")):
        with pytest.raises(InvalidInput):
            reader(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60s\n30s\n", "'60s' in line 1 of "),
        ("seconds\n60 s\n", "'60 s' in line 2 of "),
        ("60,5\n30,5\n", "'60,5' in line 1 of "),
        ("seconds\n60,5\n", "'60,5' in line 2 of "),
        ('"60,5"\n', "'60,5' in line 1 of "),
        ("a;seconds\n1;60\n", "'a;seconds' in line 1 of "),
        ("1;60\n", "'1;60' in line 1 of "),
        ("1\t60\n", "'1\\t60' in line 1 of "),
        ("sampler,seconds\na,60\n5\n", "'5' in line 3 of "),
        ("NaN\n60\n", "'NaN' in line 1 of "),
        ("60\nnan\n", "'nan' in line 2 of "),
        ("n/a\n60\n", "'n/a' in line 1 of "),
        ("seconds\ninf\n", "'inf' in line 2 of "),
        ("60\n\n-1\n", "'-1' in line 3 of "),
        ("1_000\n", "'1_000' in line 1 of "),
        ("60\nseconds\n", "'seconds' in line 2 of "),
        ("sampler,seconds\n60,\n", "'' in line 2 of "),
        ("", "no times in "),
        ("\n \n", "no times in "),
        ("seconds\n", "no times in "),
        ('60\n"5\n', "line 2 of "),
    ],
)
def test_what_is_no_time_is_refused_by_line_and_value(tmp_path, text, message):
    trace = saved(tmp_path / "trace.csv", text.encode())
    with pytest.raises(InvalidInput) as caught:
        read_trace(trace)
    assert caught.value.field == "--latency"
    assert str(caught.value).startswith(f"--latency: got {message}") or message in str(caught.value)
    assert "\n" not in str(caught.value) and str(trace) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("round;value\n0;1,5\n", "semicolons"),
        ("round,value\n0,1\n1\n2,3\n", "1 cell in line 3"),
        ("", "empty"),
    ],
)
def test_tables_that_would_lose_something_are_refused(tmp_path, content, message):
    (tmp_path / "config.yaml").write_text("algorithm: fednpg\n")
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(InvalidInput, match=message):
        open_source(tmp_path).columns("metrics.csv")


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / "config.yaml").write_text("algorithm: fednpg\n")
    (tmp_path / "metrics.csv").write_text("round,value\n0,1\n1")
    assert open_source(tmp_path).columns("metrics.csv")["round"].tolist() == [0.0]


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\na: 2\n", "[" * 5000, "a: b: c\n"])
def test_what_is_no_yaml_is_told_in_one_line(tmp_path, text):
    with pytest.raises(InvalidInput, match="valid YAML") as caught:
        read_yaml("--config", saved(tmp_path / "config.yaml", text.encode()))
    assert "\n" not in str(caught.value)


def test_text_is_opened_in_one_place():
    """But for what the package itself wrote beside the arrays it belongs to, and the system's."""
    package = Path(fedjax_rl.__file__).parent
    own = {"settings/text_file.py", "report/rendering.py"}
    of_the_system = {"training/memory.py", "records/programs.py", "cluster/cores.py"}
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ".read_text(" in path.read_text(encoding="utf-8")
        or "csv.reader(" in path.read_text(encoding="utf-8")
    }
    assert found == own | of_the_system
