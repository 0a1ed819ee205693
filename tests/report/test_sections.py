"""What the page says of each kind of directory."""

import json
import math
import shutil

import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.figures.description import HeatMap
from fedjax_rl.report import page_of
from fedjax_rl.report.page import read_section
from fedjax_rl.sweeps.figures import cells_of
from tests.report import made

pytestmark = pytest.mark.timeout(60)


def read(kind, path, **more):
    return read_section(made.KINDS[kind](path / kind, **more), kind)


def state_texts(section):
    return [state.text for state in section.states]


def figure(section, title):
    (found,) = (one for one in section.figures if one.title == title)
    return found


def table(section, title):
    (found,) = (one for one in section.tables if one.title == title)
    return found


@pytest.mark.parametrize("kind", made.KINDS)
def test_every_kind_has_a_configuration_an_environment_and_a_glance(kind, tmp_path):
    section = read(kind, tmp_path)
    assert state_texts(section)[0] == "finished"
    assert section.environment["devices"] == "1 × cpu"
    assert section.environment["commit"] == "not recorded"
    assert section.environment["problem, SHA-256"] == "ab12"
    assert "made_with" not in section.configuration and section.configuration
    assert section.glance["judged by"] and section.verdict and section.key_figures


def test_a_finite_run(tmp_path):
    section = read("finite", tmp_path)
    averaged, last = section.satisfaction
    assert [one.verdict for one in averaged.bars] == ["kept", "broken"]
    assert averaged.bars[1].verdict_text == "exceeded by 25 %"
    assert [one.verdict for one in last.bars] == ["kept", "tolerated"]
    assert last.whose == "The last policy (recommended)"
    assert section.verdict[0] == (
        "The averaged policy earns 7.5, 25 % below the optimum of 10; budgets: 1 of 2 kept, "
        "right exceeded by 25 %."
    )
    policies = table(section, "Policies")
    assert policies.rows[0][:5] == ("averaged", 7.5, 2.5, 1.0, False)
    (costs,) = figure(section, "Costs and budgets").views
    assert [(s.name, s.reference) for s in costs.series] == [("left", 2.0), ("right", 4.0)]
    (value,) = figure(section, "Value").views
    assert value.x_labels == ("round", "bytes exchanged") and value.series[0].reference == 10.0
    (distance,) = figure(section, "Distance from the optimum").views
    np.testing.assert_allclose(distance.series[0].y, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_seeds_of_a_finite_run_have_intervals_and_shares(tmp_path):
    path = made.finite(tmp_path / "run")
    summary = made.finite_summary() | {"seeds": 3}
    for prefix in ("occupancy", "last"):
        summary |= {f"{prefix}_costs_by_seed": [[1.0, 3.0], [1.0, 5.0], [3.0, 7.0]]}
        summary |= {f"{prefix}_gap_by_seed": [2.0, 2.0, 2.0]}
        summary |= {f"{prefix}_violation_by_seed": [1.0, 1.0, 1.0]}
    made.document(path / "summary.json", summary)
    section = read_section(path, "run")
    shares = [one.share for one in section.satisfaction[0].bars]
    assert shares == ["kept by 2 of 3 seeds", "kept by 1 of 3 seeds"]
    assert table(section, "Policies").rows[0][5] == "2 [2, 2]"


def test_a_run_that_was_stopped_is_shown_as_far_as_it_went(tmp_path):
    section = read("finite", tmp_path, rounds=10, finished=False)
    assert state_texts(section) == ["unfinished: round 5 of 10"]
    assert len(figure(section, "Value").views[0].series[0].y) == 6
    assert section.satisfaction == () and section.verdict == ()


def test_a_run_that_has_hardly_begun(tmp_path):
    path = made.finite(tmp_path / "run", finished=False)
    (path / "metrics.csv").unlink()
    section = read_section(path, "run")
    assert state_texts(section) == ["unfinished: round 0 of 4"] and section.figures == ()


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = made.finite(tmp_path / "run", finished=False)
    with (path / "metrics.csv").open("a") as file:
        file.write("3,0.5")
    assert len(figure(read_section(path, "run"), "Value").views[0].series[0].y) == 3


def test_divergence_is_said(tmp_path):
    section = read("finite", tmp_path, failed=3)
    assert state_texts(section) == ["finished", "diverged"]
    assert section.diverged == ("diverged in round 3; rows before it are kept",)
    deep = read("networks", tmp_path, failed_seeds=[{"seed": 4, "round": 2}])
    assert "diverged" in state_texts(deep)
    assert deep.diverged[0].startswith("seed 4 diverged in round 2")


def test_networks_average_over_seeds(tmp_path):
    """At round 2 rewards are 20 to 23 and 120: the middle three have the mean 22."""
    section = read("networks", tmp_path)
    average, every, *_ = figure(section, "Reward").views
    assert average.series[0].y.tolist() == [2.0, 22.0]
    assert (average.series[0].band.low <= average.series[0].y).all()
    assert average.series[0].band.meaning.endswith("over 5 seeds")
    assert [x.tolist() for x in average.series[0].x] == [[0.0, 200.0], [0.0, 2.0]]
    assert len(every.series) == 5 and every.series[4].y.tolist() == [100.0, 120.0]
    (found,) = section.satisfaction
    assert [one.share for one in found.bars] == ["kept by 3 of 5 seeds", "kept by 4 of 5 seeds"]


def test_references_are_parts_beside_one_another(tmp_path):
    section = read("networks", tmp_path, compare=True)
    assert [part.name for part in section.parts] == ["omniscient"]
    overlay = figure(section, "Beside its references: reward").views[0]
    assert [one.name for one in overlay.series] == ["fed", "omniscient"]
    rows = table(section, "Beside its references").rows
    assert [row[:3] for row in rows] == [("fed", 41.2, "3 of 2"), ("omniscient", 41.2, "3 of 2")]
    (tmp_path / "networks" / "comparison.csv").unlink()
    assert state_texts(read_section(tmp_path / "networks", ""))[0] == "comparison unfinished"


def test_what_eval_played_is_shown(tmp_path):
    path = made.networks(tmp_path / "run")
    played = {"reward": 5.0, "reward_interval": [4.0, 6.0], "costs": {"left": 1.0}, "episodes": 100}
    played |= {"cost_intervals": {"left": [0.5, 1.5]}, "budgets": {"left": 2.0}, "eval_seed": 0}
    made.document(path / "evaluation.json", played)
    rows = table(read_section(path, ""), "Played by fedjax-rl eval").rows
    assert rows[0] == ("reward", None, "5 [4, 6]", "– –")
    assert rows[1][:3] == ("cost left", 2.0, "1 [0.5, 1.5]")


def test_a_sweep_is_ordered_by_its_headline(tmp_path):
    """average_gap = step size × local steps + seed, so 0.1 × 1 is the smallest mean, 1.1."""
    section = read("sweep", tmp_path)
    assert "step_size 0.1, local_steps 1, with 1.1." in section.verdict[0]
    rows = table(section, "Configurations").rows
    assert [row[:3] for row in rows] == [(0, 0.1, 1), (1, 0.1, 5), (2, 1.0, 1), (3, 1.0, 5)]
    members = table(section, "Members, best first").rows
    gaps = [row[5] for row in members]
    assert gaps == sorted(gaps) and gaps[0] == 0.1 and len(members) == 12
    heat = figure(section, "What two settings do").views[0]
    assert isinstance(heat, HeatMap) and (heat.columns, heat.rows) == (("0.1", "1"), ("1", "5"))
    np.testing.assert_allclose(heat.values, [[1.1, 2.0], [1.5, 6.0]])
    best = figure(section, "The best configurations").views[0].series
    assert best[0].name == "step_size 0.1, local_steps 1" and best[0].y.tolist() == [2.0] * 3
    (found,) = section.satisfaction
    assert (found.bars[0].cost, found.bars[0].share) == (2.0, "kept by 2 of 3 seeds")


def test_a_sweep_of_one_setting_has_a_strip(tmp_path):
    section = read("sweep", tmp_path, local=(1,))
    grid = {"step_size": [0.1, 1.0]}
    path = tmp_path / "sweep"
    made.config(path, algorithm="sweep fednpg", grid=grid, random={}, settings={"seeds": 3})
    section = read_section(path, "")
    heat = figure(section, "What step_size does").views[0]
    assert heat.values.shape == (1, 2) and heat.y_label == ""


def test_members_that_diverged_or_are_missing_are_said(tmp_path):
    section = read("sweep", tmp_path, diverged=(0,), planned_seeds=4)
    assert state_texts(section) == ["unfinished: 12 of 16 members", "1 of 12 members diverged"]
    assert section.diverged == (
        "member 0 (step_size 0.1, local_steps 1, seed 0) diverged in round 7",
    )
    assert math.isnan(figure(section, "What two settings do").views[0].values[0, 0])
    assert table(section, "Members, best first").rows[-1][0] == 0, "the last of all"
    assert table(section, "Configurations").rows[-1][0] == 0


def test_a_sweep_without_any_member(tmp_path):
    path = made.sweep(tmp_path / "sweep")
    (path / "sweep.csv").unlink()
    section = read_section(path, "")
    assert state_texts(section) == ["unfinished: 0 of 12 members"]
    assert section.tables == () and section.figures == ()


def test_many_values_are_cut_into_stretches():
    at, labels = cells_of([float(n) for n in range(16)])
    assert labels[0] == "0 … 1" and labels[-1] == "14 … 15" and len(labels) == 8
    assert at.tolist() == [n // 2 for n in range(16)]
    at, labels = cells_of(["b", [64, 64], "b"])
    assert at.tolist() == [0, 1, 0] and labels == ("b", "[64, 64]")


def test_a_run_on_stale_data(tmp_path):
    section = read("stale", tmp_path)
    average = figure(section, "Held-out accuracy").views[0]
    assert average.x_labels == ("learner step", "virtual hours")
    assert average.series[0].y.tolist() == [0.25, 0.75]
    assert average.series[0].x[1].tolist() == [0.0, 1.5], "the mean over seeds of 1 h and 2 h"
    assert {view.name for view in figure(section, "What stale data does").views} == {
        "KL(q‖p) per token",
        "staleness, learner steps",
    }


def test_a_solution(tmp_path):
    section = read("solution", tmp_path)
    (found,) = section.satisfaction
    assert found.bars[0].verdict_text == "satisfied, at its budget"
    assert table(section, "Optimum").rows == (("left", 2.0, 2.0, 0.5), ("right", 1.0, 4.0, 0.0))


def test_several_directories_are_compared(tmp_path):
    one, other = made.finite(tmp_path / "one"), made.finite(tmp_path / "other", rounds=8)
    page = page_of([one, other, made.networks(tmp_path / "deep")])
    glance, settings = page.tables
    assert [row[0] for row in glance.rows] == ["one", "other", "deep"]
    differing = {row[0]: row[1:] for row in settings.rows}
    assert differing["rounds"] == ("4", "8", "2") and "reference" not in differing
    assert {figure.title for figure in page.figures} >= {"Value", "Strong violation"}
    assert all(len(figure.views[0].series) == 2 for figure in page.figures)
    assert all("same problem" in figure.note for figure in page.figures)
    assert not any(figure.note for figure in page_of([one, other]).figures)


def test_names_that_are_the_same_are_told_apart(tmp_path):
    paths = [made.finite(tmp_path / parent / "run") for parent in ("a", "b")]
    assert [one.name for one in page_of(paths).sections] == [str(path) for path in paths]


def broken(path, name, text):
    (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "algorithm: magic", "directory: got .*config.yaml; that of a directory"),
        ("config.yaml", "- 1", "directory: got .*config.yaml; that of a directory"),
        ("config.yaml", "a: [", "valid YAML"),
        ("summary.json", "{", "summary.json; a readable JSON document"),
        ("summary.json", "[]", "summary.json; a readable JSON document"),
        ("metrics.csv", "", "metrics.csv; a readable CSV file"),
        ("metrics.csv", "round\n0\n", "files as fedjax-rl writes them"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, text, message):
    path = broken(made.finite(tmp_path / "run"), name, text)
    with pytest.raises(InvalidInput, match=message) as raised:
        read_section(path, "")
    assert "\n" not in str(raised.value)


def test_arrays_that_cannot_be_read_are_named(tmp_path):
    path = made.sweep(tmp_path / "curves")
    np.savez(path / "curves.npz", round=np.zeros((1, 2)))
    path = broken(path, "curves.npz", "no archive")
    with pytest.raises(InvalidInput, match=r"curves\.npz; a readable npz file"):
        read_section(path, "")
    path = broken(made.sweep(tmp_path / "sweep"), "sweep.csv", "a,b\n1,2\n")
    with pytest.raises(InvalidInput, match=r"sweep\.csv; the table of a sweep"):
        read_section(path, "")


def test_directories_that_are_none_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="there is no such directory"):
        read_section(tmp_path / "missing", "")
    with pytest.raises(InvalidInput, match=r"with its config\.yaml"):
        read_section(tmp_path, "")


def test_devices_of_a_checkpoint_fill_a_gap(tmp_path):
    from fedjax_rl.records.checkpoint_files import write_files

    path = made.finite(tmp_path / "run")
    text = (path / "config.yaml").read_text().replace("  devices: cpu\n", "")
    (path / "config.yaml").write_text(text)
    assert read_section(path, "").environment["devices"] == "not recorded"
    about = {"format": 1, "made_with": {"devices": "H100, H100"}}
    write_files(path / "checkpoints" / "round-000000003", {"state": {"a": np.zeros(1)}}, about)
    assert read_section(path, "").environment["devices"] == "2 × H100"
    shutil.copytree(
        path / "checkpoints" / "round-000000003", path / "checkpoints" / "round-000000009"
    )
    manifest = path / "checkpoints" / "round-000000009" / "manifest.json"
    manifest.write_text(json.dumps({"made_with": {"devices": "invented"}}))
    assert read_section(path, "").environment["devices"] == "2 × H100", "a damaged one says nothing"
