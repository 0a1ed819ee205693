"""Every bench runs, at its quick size, and says what it ran on."""

import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import pytest
from jax import lax

from bench import (
    compare,
    counting,
    measured,
    mutations,
    report,
    report_speed,
    roofline,
    sweep,
    sweep_parts,
    traffic,
)
from bench.__main__ import NAMES
from bench.harness import ratio
from tests.conftest import fresh_environment

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "accelerator"])
def test_bench_runs(name, tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", name, "--quick", "--out", str(out)]
    environment = fresh_environment(compiled_quickly=True)
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
    )
    assert finished.returncode == 0, finished.stderr
    figures = json.loads(out.read_text())
    assert figures["quick"] is True
    assert figures["machine"]["versions"]["jax"]


def test_every_bench_file_is_listed():
    files = {path.stem for path in (ROOT / "bench").glob("*.py")}
    helpers = {"__init__", "__main__", "harness", "named_problems", "report", "report_deep"}
    helpers |= {"report_speed", "report_stale", "report_sweep", "report_workers"}
    helpers |= {"sweep_devices", "sweep_parts"}
    helpers |= {"counting", "diagrams", "figures", "compare", "measured", "reference"}
    helpers |= {"attainable_search", "attainable_tasks", "controllers", "planning"}
    helpers |= {
        "report_attainable",
        "report_defaults",
        "peers",
        "peer_rejax",
        "peer_scheduler",
        "peer_sb3",
        "peer_worker",
    }
    helpers |= {"lean_ppo", "products", "report_accelerator"}
    helpers |= {name for name in files if name.startswith("accelerator_")}
    benches = {name for name in files - helpers if not name.endswith("_peers")}
    assert benches == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("study", sweep.studies(quick=False), ids=lambda study: study.algorithm)
def test_the_sweeps_of_the_bench_are_one_program_each(study):
    """At the sizes that are measured, of which the quick ones leave out the networks."""
    assert sweep.shorter(study).members < study.members
    planned = sweep_parts.Planned(study)
    assert len(planned.group.members) == study.members


def test_ratio_is_taken_within_turns():
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 6.0, 12.0]}
    assert ratio(seconds, {"ours": 10, "theirs": 5}, "ours", "theirs") == 6.0


def test_the_page_of_results_is_that_of_the_figures():
    assert report.PAGE.read_text(encoding="utf-8") == report.page()


def test_what_is_said_of_speed_is_that_of_the_figures():
    assert report_speed.PAGE.read_text(encoding="utf-8") == report_speed.page()
    assert report_speed.README.read_text(encoding="utf-8") == report_speed.readme()


def test_the_page_on_scaling_has_the_figures_of_the_bench():
    figures = json.loads((measured.RESULTS / "traffic.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert traffic.table(figures) in page


def test_collectives_are_read_with_the_bytes_of_their_result():
    program = """
  %r = f32[1,64]{1,0} all-reduce(f32[1,64]{1,0} %x), channel_id=1
  %t = (f64[3]{0}, u8[]) all-gather-start(f64[1]{0} %y, u8[] %z), dimensions={0}
  ROOT %s = f32[2]{0} add(f32[2]{0} %all-reduce.1, f32[2]{0} %b)
"""
    assert traffic.collectives(program) == [("all-reduce", 256), ("all-gather", 25)]


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.place)
def test_every_mutation_has_one_place_and_a_test(mutation):
    source = (ROOT / "fedjax_rl" / mutation.file).read_text(encoding="utf-8")
    assert mutations.mutated(source, mutation) != source
    file, name = mutation.test.split("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_loops_are_counted_as_often_as_they_run():
    """Against a count by hand: 3 · 5 products of 8 × 8 matrices, and tangents between them."""

    def nested(matrix):
        def inner(matrix, _):
            return jnp.tanh(matrix @ matrix), None

        def outer(matrix, _):
            return lax.scan(inner, matrix, length=5)[0], None

        return lax.scan(outer, matrix, length=3)[0]

    counted = counting.work_of(nested, jnp.ones((8, 8)))
    assert counted.transcendentals == 15 * 64
    assert counted.flops == pytest.approx(15 * 2 * 8**3, rel=0.05)


def test_factorisations_are_counted():
    def solved(matrices, sides):
        return jnp.linalg.solve(matrices, sides)

    counted = counting.work_of(solved, jnp.stack([jnp.eye(200)] * 4), jnp.ones((4, 200, 1)))
    by_hand = 4 * (2 / 3 * 200**3 + 2 * 200**2)
    assert counted.flops == pytest.approx(by_hand, rel=0.05)


def test_the_limit_is_a_lower_bound():
    limits = {
        "per_second": {"float32": 1e9, "tanh float32": 1e8},
        "bandwidth": {"1000": 1e10, "8000": 1e9},
    }
    work = counting.Work(flops=100.0, transcendentals=10.0, bytes=1000.0)
    needed = roofline.least_seconds(work, "float32", limits)
    assert needed == {"arithmetic": pytest.approx(2e-7), "bytes": pytest.approx(1e-7)}


def test_every_mutation_was_caught():
    figures = json.loads((measured.RESULTS / "mutations.json").read_text(encoding="utf-8"))
    assert not figures["quick"]
    caught = {flipped["before"]: flipped["caught"] for flipped in figures["mutations"]}
    assert caught == {mutation.before: True for mutation in mutations.MUTATIONS}


def figures_of(path, bench="fednpg", quick=False, **figures):
    document = {"bench": bench, "quick": quick, "machine": {"processor": path.stem}, **figures}
    path.write_text(json.dumps(document))
    return path


def test_two_files_of_figures_are_compared(tmp_path, capsys):
    rate = {"median": 100.0, "least": 95.0, "most": 105.0}
    old = figures_of(tmp_path / "old.json", speed={"ours": rate}, seconds=2.0, same=3, gone=1)
    faster = {"median": 109.0, "least": 108.0, "most": 110.0}
    new = figures_of(tmp_path / "new.json", speed={"ours": faster}, seconds=3.0, same=3)
    found = {
        change.name: change for change in compare.changes(compare.read(old), compare.read(new))
    }
    assert list(found) == ["speed/ours", "seconds", "same"]
    assert found["speed/ours"].ratio == 1.09 and not found["speed/ours"].stands_out
    assert found["seconds"].ratio == 1.5 and found["seconds"].stands_out
    assert compare.compare(old, new) == 0
    printed = capsys.readouterr().out
    assert "another machine: processor was old, is new" in printed
    assert "3 figures in both; * 1 changed by more than their spread" in printed


def test_what_cannot_be_compared(tmp_path, capsys):
    one = figures_of(tmp_path / "one.json")
    other = figures_of(tmp_path / "other.json", bench="hetero")
    (tmp_path / "list.json").write_text("[1]")
    for second, message in (
        (other, "fednpg and hetero measure different things"),
        (figures_of(tmp_path / "quick.json", quick=True), "fednpg and fednpg --quick measure"),
        (tmp_path / "nowhere.json", "nowhere.json is no file of figures"),
        (tmp_path / "list.json", "list.json was not written by python -m bench"),
    ):
        assert compare.compare(one, second) == 2
        assert message in capsys.readouterr().err
