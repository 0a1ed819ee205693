"""The bench of a card keeps to its limit, survives rows that fail, and says what it lacks."""

import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bench import accelerator, accelerator_rows, products, report_accelerator
from bench.accelerator_rows import FAILED, LEFT_OUT, MEASURED, Document, Limit, NotNeeded, Row
from bench.accelerator_truth import difference, judged
from tests.conftest import fresh_environment

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_rows_run_on_a_processor(tmp_path):
    out = tmp_path / "accelerator.json"
    command = [sys.executable, "-m", "bench", "accelerator", "--quick", "--minutes", "9"]
    finished = subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=fresh_environment(compiled_quickly=True),
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = json.loads(out.read_text())
    assert found["stopped"] is None
    assert {row["section"] for row in found["rows"].values()} == set(accelerator.SECTIONS)
    for name, row in found["rows"].items():
        assert row["status"] == MEASURED, f"{name}: {row}"
        assert row["figures"].get("agrees", True), f"{name}: {row}"
        assert f"{name}: " in finished.stdout
    page = report_accelerator.written(found)
    assert report_accelerator.NOT_YET not in page
    shares = found["rows"]["shares of the peaks"]["figures"]["rows"]
    assert len(shares) > 5 and all(share["bandwidth"] > 0 for share in shares.values())
    assert all(share["products"] > 0 for name, share in shares.items() if "table" not in name)


class Module:
    """A section with the rows that a test wants."""

    def __init__(self, *rows):
        self._rows = rows

    def rows(self, quick):
        return self._rows


def works(done):
    return {"say": "fine", "found": np.float32(1.5), "seen": sorted(done)}


def fails(done):
    raise RuntimeError("out of\n  memory")


def saturated(done):
    raise NotNeeded("more members were no gain before")


LONG = 1e6
"""Seconds: at a limit that is reached the process ends, and the tests with it."""


def measured(tmp_path, *rows):
    out = tmp_path / "accelerator.json"
    status = accelerator.measured({"a": Module(*rows)}, True, Limit(LONG), out, ["x is missing"])
    return status, json.loads(out.read_text())


def test_rows_that_fail_are_entries_and_not_the_end(tmp_path):
    status, found = measured(
        tmp_path, Row("one", 1.0, works), Row("two", 1.0, fails), Row("three", 1.0, works)
    )
    assert status == 0
    assert [row["status"] for row in found["rows"].values()] == [MEASURED, FAILED, MEASURED]
    assert found["rows"]["two"]["reason"] == "RuntimeError: out of memory"
    assert found["rows"]["three"]["figures"] == {
        "say": "fine",
        "found": 1.5,
        "seen": ["one", "two"],
    }
    assert found["lacks"] == ["x is missing"] and found["quick"] is True
    assert found["card"]["platform"] == "cpu" and found["machine"]["versions"]["jax"]


def test_nothing_measured_is_a_failure(tmp_path):
    status, found = measured(tmp_path, Row("one", 1.0, fails))
    assert status == 2 and found["rows"]["one"]["status"] == FAILED


def test_a_row_that_does_not_fit_is_left_out_and_a_shorter_one_is_not(tmp_path):
    status, found = measured(
        tmp_path, Row("short", 1e-3, works), Row("long", 1e9, works), Row("brief", 1e-3, works)
    )
    assert status == 0
    assert [row["status"] for row in found["rows"].values()] == [MEASURED, LEFT_OUT, MEASURED]
    assert "s are left" in found["rows"]["long"]["reason"]
    assert found["stopped"] == "1 rows were left out"


def test_a_section_leaves_time_for_the_first_row_of_later_ones(tmp_path):
    out = tmp_path / "accelerator.json"
    sections = {"a": Module(Row("many", 6e5, works)), "b": Module(Row("one", 5e5, works))}
    accelerator.measured(sections, True, Limit(LONG), out, [])
    found = json.loads(out.read_text())["rows"]
    assert [row["status"] for row in found.values()] == [LEFT_OUT, MEASURED]


def test_who_interrupts_has_the_rows_so_far(tmp_path):
    def interrupted(done):
        raise KeyboardInterrupt

    status, found = measured(tmp_path, Row("one", 1.0, works), Row("two", 1.0, interrupted))
    assert status == 0 and list(found["rows"]) == ["one"] and found["stopped"] == "interrupted"


def test_a_row_may_say_that_it_is_not_needed(tmp_path):
    _, found = measured(tmp_path, Row("one", 1.0, saturated))
    assert found["rows"]["one"] == {
        "section": "a",
        "status": LEFT_OUT,
        "seconds": 0.0,
        "reason": "more members were no gain before",
        "card": {},
    }


def test_within_a_row_the_limit_ends_the_process_and_the_file_is_whole(tmp_path, monkeypatch):
    """A compilation cannot be interrupted: what ends is the process, which a test cannot lose."""
    out = tmp_path / "accelerator.json"
    ended, timers, read = [], [], []

    class Timer:
        daemon = False

        def __init__(self, seconds, function):
            timers.append((seconds, function, self))

        def start(self):
            assert self.daemon, "it must not keep the process from ending"

        def cancel(self):
            pass

    def lasting(done):
        timers[0][1]()
        read.append(json.loads(out.read_text()))
        return {}

    monkeypatch.setattr(accelerator.os, "_exit", ended.append)
    monkeypatch.setattr(accelerator.threading, "Timer", Timer)
    rows = Row("short", 1e-3, works), Row("lasting", 1e-3, lasting)
    accelerator.measured({"a": Module(*rows)}, True, Limit(6e6), out, [])
    assert ended == [0] and 0 < timers[0][0] <= 6e6
    assert list(read[0]["rows"]) == ["short"]
    assert read[0]["stopped"] == "at the limit of 100000 minutes, within a row"


def test_estimates_follow_what_rows_took():
    limit = Limit(60.0)
    row = Row("one", 10.0, works)
    assert limit.estimate("a", row) == 10.0
    limit.took("a", row, 30.0)
    assert limit.estimate("a", row) == 30.0 and limit.estimate("b", row) == 30.0
    limit.took("b", row, 10.0)
    assert limit.estimate("b", row) == 10.0
    assert limit.estimate("c", row) == 20.0


def test_the_file_is_replaced_and_holds_what_json_can(tmp_path):
    path = tmp_path / "figures.json"
    document = Document(path, {"bench": "accelerator"})
    document.add("one", {"status": MEASURED, "value": float("nan"), "list": (np.float64(2.0), 1)})
    assert json.loads(path.read_text())["rows"]["one"]["value"] is None
    document.stop("the end")
    assert json.loads(path.read_text())["stopped"] == "the end"
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_what_is_missing_is_said_in_a_line_each(monkeypatch, capsys):
    monkeypatch.setattr(accelerator, "NEEDED", ("numpy", "no_such_package", "neither_this"))
    assert accelerator.missing() == [
        "no_such_package is missing: put its wheel on PYTHONPATH",
        "neither_this is missing: put its wheel on PYTHONPATH",
    ]
    found, lines = accelerator.found({"a": "bench.harness", "b": "no_such_package.rows"})
    assert list(found) == ["a"]
    assert lines == ["rows b are left out: ModuleNotFoundError: No module named 'no_such_package'"]


def test_without_jax_nothing_can_be_measured(monkeypatch, capsys):
    monkeypatch.setattr(accelerator, "_is_here", lambda name: name != "jax")
    assert accelerator.main(["--quick"]) == 2
    printed = capsys.readouterr()
    assert "jax is missing" in printed.out and printed.err == "nothing can be measured\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--quick", "--minutes", "0"], "--minutes: got 0; a positive number"),
        (["--quick", "--minutes", "nan"], "--minutes: got nan; a positive number"),
        (["--quick", "--out", "nowhere/at/all.json"], "--out: got nowhere/at/all.json; a file"),
        ([], "no accelerator: JAX finds a processor alone, which --quick takes"),
    ],
)
def test_what_is_refused(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert accelerator.main(arguments) == 2
    assert capsys.readouterr().err.startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_differences_are_seen():
    one = {"a": np.array([100.0, 1.0]), "b": np.zeros(3)}
    other = {"a": np.array([101.0, 1.0]), "b": np.array([0.0, 0.0, 1e-3])}
    assert difference(one, other, relative=False) == 1.0
    assert difference(one, other, relative=True) == 0.01
    assert (
        difference(one, {"a": np.array([np.nan, 1.0]), "b": np.zeros(3)}, relative=True) == np.inf
    )
    assert not judged(np.inf, 1e-4)["agrees"] and not judged(2e-4, 1e-4)["agrees"]
    assert judged(1e-4, 1e-4)["agrees"]


def test_products_are_counted_without_compiling():
    """Against a count by hand: 3 · 5 products of 8 × 8 matrices, and what loops are fed."""

    def nested(matrix, rows):
        def inner(matrix, row):
            return matrix @ matrix, row.sum()

        def outer(matrix, _):
            return lax.scan(inner, matrix, rows)

        return lax.scan(outer, matrix, length=3)

    counted = products.products_of(nested, jnp.ones((8, 8)), jnp.ones((5, 2)))
    assert counted.flops == 15 * 2 * 8**3
    moved = 15 * 3 * 64 * 4  # operands and results
    moved += 3 * (10 + 5) * 4 + 15 * 4  # rows in and out of the inner loops, out of the outer one
    assert counted.bytes == moved


def test_the_page_says_what_was_not_measured():
    empty = report_accelerator.written(None)
    assert empty.count(report_accelerator.NOT_YET) == 1 + len(report_accelerator.SECTIONS)
    assert report_accelerator.PAGE.read_text(encoding="utf-8") == report_accelerator.page()


def test_figures_of_a_processor_are_not_those_of_a_card(tmp_path, monkeypatch):
    _, found = measured(tmp_path, Row("one", 1.0, works))
    assert not report_accelerator.on_a_card(found | {"quick": False})
    monkeypatch.setattr(report_accelerator, "FIGURES", tmp_path / "accelerator.json")
    assert report_accelerator.figures() is None
    assert report_accelerator.on_a_card(
        found | {"quick": False, "card": found["card"] | {"platform": "gpu"}}
    )


def test_sections_are_in_order():
    assert list(accelerator.SECTIONS) == ["a", "c", "b", "d", "e", "f"]
    assert set(accelerator.SECTIONS) == set(report_accelerator.SECTIONS)
    assert accelerator_rows.PACE[0] < 1 < accelerator_rows.PACE[1]
