"""A kind of experiment of one's own gets everything by one `register_family`."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families import algorithms, family_of, register_family
from fedjax_rl.families.registry import BUILT_IN
from tests.conftest import REPOSITORY, fresh_environment
from tests.families.least_squares import FAMILY, data_of

NAME = "fedavg-least-squares"
register_family(FAMILY)


def table(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_converges_to_the_closed_form(tmp_path, capsys):
    """With one local step federated averaging is gradient descent on everybody's error."""
    out = tmp_path / "run"
    arguments = ["run", NAME, "--rounds", "400", "--seeds", "2", "--out", str(out)]
    assert main([*arguments, "--step-size", "0.1", "--log-to", "jsonl"]) == 0
    assert "optimum" in capsys.readouterr().out
    found = np.load(out / "policy.npz")["kept"]
    assert found == pytest.approx(np.tile(data_of(4).solution, (2, 1)), abs=1e-9)
    rows = table(out / "metrics.csv")
    assert [int(float(row["round"])) for row in rows] == list(range(401))
    assert float(rows[-1]["gap"]) == pytest.approx(0, abs=1e-12)
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["gap_by_seed"]) == 2
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 401
    assert (out / "curves.png").stat().st_size > 1000
    again = tmp_path / "again"
    assert main(["run", NAME, "--config", str(out / "config.yaml"), "--out", str(again)]) == 0
    assert (again / "metrics.csv").read_bytes() == (out / "metrics.csv").read_bytes()


def test_a_seed_that_diverges_is_told_and_left_out(tmp_path, capsys):
    arguments = [
        "run",
        NAME,
        "--step-size",
        "1e200",
        "--rounds",
        "9",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(arguments) == 1
    assert "DIVERGED: seed 0" in capsys.readouterr().out
    (failed,) = json.loads((tmp_path / "run" / "summary.json").read_text())["failed_seeds"]
    assert failed["seed"] == 0


def test_a_sweep_a_comparison_and_a_report(tmp_path, capsys):
    axes = ["--grid", "step_size=0.01,0.1", "--grid", "local_steps=1,2", "--seeds", "2"]
    assert main(["compare", NAME, *axes, "--out", str(tmp_path / "c")]) == 0
    rows = table(tmp_path / "c" / "comparison.csv")
    assert [row["rank"] for row in rows] == ["4", "3", "2", "1"]
    assert "IQM [95 %]" in (tmp_path / "c" / "comparison.md").read_text()
    assert len(table(tmp_path / "c" / "sweep.csv")) == 8
    alone = ["--step-size", "0.1", "--local-steps", "2", "--seeds", "2"]
    assert main(["run", NAME, *alone, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert float(rows[3]["mean"]) == pytest.approx(summary["gap"], rel=1e-12)
    assert main(["best", str(tmp_path / "c")]) == 0
    assert "step_size: 0.1" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "c")]) == 0
    assert "nothing to do" in capsys.readouterr().out
    page = tmp_path / "page.html"
    both = [str(tmp_path / "run"), str(tmp_path / "c")]
    assert main(["report", *both, "--out", str(page)]) == 0
    assert "least squares" in page.read_text() and "distance" in page.read_text()


PROGRAM = """
import sys
from fedjax_rl.cli import main
from fedjax_rl.families import register_family
from tests.families.least_squares import FAMILY
register_family(FAMILY)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    arguments = ["run", NAME, "--rounds", "3000", "--checkpoint-every", "50"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*arguments, "--out", str(whole)]) == 0
    run = [sys.executable, "-c", PROGRAM]
    environment = fresh_environment(compiled_quickly=False)
    environment["XLA_FLAGS"] = os.environ["XLA_FLAGS"]  # the same bits need the same compiler
    process = subprocess.Popen(
        [*run, *arguments, "--out", str(killed)], cwd=REPOSITORY, env=environment, text=True
    )
    deadline = time.monotonic() + 120
    while not list(killed.glob("checkpoints/*/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not (killed / "summary.json").exists()
    assert main(["resume", str(killed)]) == 0
    assert (killed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_names_are_found_or_refused():
    assert {*BUILT_IN, NAME, "gepo"} <= {*algorithms()}
    assert family_of(NAME) is FAMILY
    assert register_family(FAMILY) is FAMILY
    with pytest.raises(InvalidInput, match="did you mean 'fedavg-least-squares'"):
        family_of("fedavg-least-square")
    with pytest.raises(InvalidInput, match="that name is taken"):
        register_family(FAMILY._replace(algorithms={"fednpg": ""}))
    with pytest.raises(InvalidInput, match="that name is taken"):
        register_family(FAMILY._replace(name="another"))
    with pytest.raises(InvalidInput, match="a name has no colon"):
        register_family(FAMILY._replace(algorithms={"a:b": ""}))
