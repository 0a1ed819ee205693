"""Grids of which some combinations do not read all that is swept."""

from __future__ import annotations

import csv
from typing import Any

import pytest
import yaml

from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.protocol import settings_of
from fedjax_rl.families.registry import family_of
from fedjax_rl.settings.fields import base_of, whole_of
from fedjax_rl.sweeps.plan import check_read, configured, members_of
from fedjax_rl.sweeps.space import space_of
from fedjax_rl.training.members import Member
from tests import support
from tests.sweeps.axes import save_problem

pytestmark = pytest.mark.timeout(240)


class Planner:
    """Members of an algorithm that are never run."""

    def __init__(self, algorithm: str):
        self.algorithm = algorithm

    def assemble(self, config: Any) -> Any:
        return None


def members(algorithm: str, grid: dict[str, list[Any]], **settings: Any) -> list[Member]:
    """Of a grid on top of these settings; refuses what no combination reads."""
    kind = base_of(settings_of(family_of(algorithm), algorithm, settings, grid))
    base, space, planner = kind(**settings), space_of(kind, grid, {}, None), Planner(algorithm)
    check_read([planner], base, space)
    return list(members_of(planner, base, space))


MIXED: list[tuple[str, dict[str, list[Any]], list[tuple[Any, ...]]]] = [
    (
        "fedppo",
        {"duals": ["gradient", "pid"], "proportional_gain": [2.0, 3.0]},
        [("gradient", 2.0), ("pid", 2.0), ("pid", 3.0)],
    ),
    (
        "fedppo",
        {"reference": ["fed", "unconstrained"], "proportional_gain": [1.5, 3.0]},
        [("fed", 1.5), ("fed", 3.0), ("unconstrained", 2.0)],
    ),
    (
        "fednpg",
        {"learner": ["npg", "crpo"], "tolerance": [0.0, 4.0]},
        [("npg", 0.0), ("crpo", 0.0), ("crpo", 4.0)],
    ),
    (
        "fednpg",
        {"learner": ["crpo", "npg"], "dual_step_size": [0.1, 0.2]},
        [("crpo", "auto"), ("npg", 0.1), ("npg", 0.2)],
    ),
    (
        "fednpg",
        {"reference": ["omniscient", "fed"], "participants": [1, 2]},
        [("omniscient", None), ("fed", 1), ("fed", 2)],
    ),
    (
        "gepo",
        {"latency": ["constant", "lognormal"], "latency_high": [200.0, 300.0]},
        [("constant", 1920.0), ("lognormal", 200.0), ("lognormal", 300.0)],
    ),
    ("gepo", {"window": [0, 4], "pacing": [1, 2]}, [(0, None), (4, 1), (4, 2)]),
]


@pytest.mark.parametrize(("algorithm", "grid", "expected"), MIXED)
def test_a_combination_has_the_default_of_what_it_does_not_read_and_is_run_once(
    algorithm, grid, expected
):
    found = members(algorithm, grid)
    assert [tuple(member.combination.values()) for member in found] == expected
    assert [tuple(getattr(member.config, name) for name in grid) for member in found] == expected
    assert len({member.number for member in found}) == len(found)


@pytest.mark.parametrize(("algorithm", "grid", "expected"), MIXED)
def test_what_no_combination_reads_is_refused(algorithm, grid, expected):
    """The grid without the kind that reads it; of a plug-in that is not named nothing is known."""
    (kind, _), (name, values) = grid.items()
    reading = [one[0] for one in expected]
    (without,) = (one[0] for one in expected if reading.count(one[0]) == 1)
    with pytest.raises(InvalidInput) as caught:
        members(algorithm, {kind: [without], name: values})
    message = str(caught.value)
    unknown = message.startswith(f"--grid: got '{name}'; did you mean")
    assert unknown == (name in ("tolerance", "latency_high"))
    assert unknown or message.startswith(f"--{name.replace('_', '-')}: got ")
    assert unknown or "which no combination has; else" in message


def test_a_setting_that_is_not_swept_is_read_by_those_that_can():
    found = members(
        "fedppo", {"duals": ["gradient", "pid"]}, dual_step_size=0.5, derivative_gain=2.0
    )
    have = [(one.config.dual_step_size, one.config.derivative_gain) for one in found]
    assert have == [(0.5, 0.0), (0.1, 2.0)]
    with pytest.raises(InvalidInput, match="only with --duals crpo, which no combination has"):
        members("fedppo", {"duals": ["gradient", "pid"]}, tolerance=1.0)


def test_settings_that_several_runs_share_check_their_values_alone():
    kind = settings_of(family_of("fedppo"), "fedppo")
    base = base_of(kind)(duals="gradient", derivative_gain=2.0)
    assert base.derivative_gain == 2.0 and whole_of(type(base)) is kind is whole_of(kind)
    assert configured("fedppo", base, {}).config == kind(duals="gradient")
    with pytest.raises(InvalidInput, match="--derivative-gain: got -1"):
        base_of(kind)(derivative_gain=-1.0)
    with pytest.raises(InvalidInput, match="--derivative-gain: got 2"):
        kind(duals="gradient", derivative_gain=2.0)


def test_a_mixed_sweep_to_its_end(tmp_path, capsys, monkeypatch):
    """Rows, what is said of it, going on, the best of it, and the same as a comparison."""
    monkeypatch.chdir(tmp_path)
    save_problem(tmp_path / "a.npz", support.random_problem(0))
    flags = ["fednpg", "--problem", "a.npz", "--rounds", "4"]
    flags += ["--grid", "learner=npg,crpo", "--grid", "tolerance=0,9"]
    assert main(["sweep", *flags, "--out", "sweep"]) == 0
    assert "1 combination" in capsys.readouterr().out
    with open("sweep/sweep.csv") as file:
        rows = list(csv.DictReader(file))
    executed = [(row["configuration"], row["learner"], row["tolerance"]) for row in rows]
    assert executed == [("0", "npg", "0.0"), ("2", "crpo", "0.0"), ("3", "crpo", "9.0")]
    assert main(["resume", "sweep"]) == 0
    capsys.readouterr()
    assert main(["best", "sweep"]) == 0
    best = yaml.safe_load(capsys.readouterr().out)
    assert ("tolerance" in best) == (best["learner"] == "crpo")
    assert main(["compare", *flags, "--out", "compare"]) == 0
    left_out = yaml.safe_load((tmp_path / "compare" / "config.yaml").read_text())["left_out"]
    assert left_out == {"npg, tolerance 9.0": "the same as npg, tolerance 0.0"}
    assert main(["report", "compare", "--out", "page.html"]) == 0
