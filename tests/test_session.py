"""Same settings and seed, same bits: whatever JAX is set to by the session."""

from __future__ import annotations

import contextlib
import shutil
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench import survival
from fedjax_rl import backend
from fedjax_rl.cli import main
from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.evaluation import film_of, play_all
from fedjax_rl.families.networks.training import fednatural, fedppo
from fedjax_rl.families.protocol import EvaluationRequest
from fedjax_rl.families.stale import assembly
from fedjax_rl.families.stale.starts import FOLDER, TEACHING
from fedjax_rl.families.stale.training import hetero_rl
from fedjax_rl.families.tabular.training import fednpg
from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.hetero.warm_start import Teaching
from fedjax_rl.precision import precision
from fedjax_rl.records import provenance
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.slow

SETTINGS = {
    "jax_enable_x64": True,
    "jax_default_matmul_precision": "bfloat16",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_debug_nans": True,
    "jax_debug_infs": True,
    "jax_disable_jit": True,
    "jax_transfer_guard": "disallow",
    "jax_check_tracer_leaks": True,
    "jax_debug_key_reuse": True,
    "jax_enable_checks": True,
    "jax_enable_custom_prng": True,
    "jax_legacy_prng_key": "error",
}
"""What a session may have set, each to what it is not by default."""

SIZES = {"rounds": 2, "envs": 4, "rollout": 8, "hidden": (4,), "epochs": 1, "minibatches": 1}


@contextlib.contextmanager
def session(**settings):
    """JAX set for the whole process, and put back; nothing remembered from another session."""
    before = {name: jax.config.values[name] for name in settings}
    for remembered in (split, assembly._task):
        remembered.cache_clear()
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def finite(cache):
    run = fednpg("windy-cliff", rounds=3, seeds=2)
    return run.history, run.outcome.last_policy, run.outcome.multipliers


def sampled(cache):
    run = fednpg("windy-cliff", rounds=2, evaluation="sampled", rollouts=1, learner="crpo")
    return run.history, run.outcome.last_policy


def networks(cache):
    run = fedppo("cartpole-pos2", **SIZES)
    played = play_all(run.policy, run.prepared, EvaluationRequest(episodes=100))
    film = film_of(run.prepared, run.policy, EvaluationRequest())
    return run.history, run.policy, played, film.states, film.signals


def one_shot(cache):
    """Exact figures of a finite problem, and a merge at the end."""
    run = fednatural("windy-cliff", **SIZES, reference="one-shot", conjugate_steps=2)
    return run.history, run.policy, run.evaluations, run.summary["gap_by_policy"]


def stale(cache):
    """From a warm start that is taught anew, and the key that it is cached under."""
    shutil.rmtree(cache / FOLDER, ignore_errors=True)
    sizes = {"prompts": 2, "group_size": 2, "held_out": 8, "on_policy": 2, "evaluate_every": 2}
    network = {"policy": "transformer", "layers": 1, "width": 4, "heads": 1}
    task = {"task_args": ("length=3", "modulus=3")}
    with mock.patch.dict(TEACHING, transformer=Teaching(prompts=8, chunk=2, measured=64)):
        run = hetero_rl("gepo", **network, **sizes, **task, steps=3, window=2, warm_start=0.1)
    (cell,), (entry,) = run.cells, (cache / FOLDER).iterdir()
    return cell.values, cell.parameters, run.prepared.start, list(entry.stem.encode())


FAMILIES = {run.__name__: run for run in (finite, sampled, networks, one_shot, stale)}


@pytest.fixture(scope="module")
def results(user_cache):
    """What each family computes in a session that has set nothing; computed once."""
    known = {}

    def of(name):
        if name not in known:
            with session():
                known[name] = FAMILIES[name](user_cache)
        return known[name]

    return of


def assert_same_bits(found, expected):
    found, expected = (jax.tree_util.tree_leaves_with_path(tree) for tree in (found, expected))
    assert [path for path, _ in found] == [path for path, _ in expected]
    for (path, ours), (_, theirs) in zip(found, expected, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.dtype == theirs.dtype, jax.tree_util.keystr(path)
        np.testing.assert_array_equal(ours, theirs, jax.tree_util.keystr(path))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_session_changes_no_bit(results, user_cache, setting):
    with session(**{setting: SETTINGS[setting]}):
        found = finite(user_cache)
    assert_same_bits(found, results("finite"))


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_them_at_once_change_no_bit_of_any_family(results, user_cache, family):
    with session(**SETTINGS):
        found = FAMILIES[family](user_cache)
    assert_same_bits(found, results(family))


SWEEP = ["sweep", "fednpg", "--grid", "step_size=0.1,0.2", "--rounds", "3", "--out"]
RUN = ["run", "fednpg", "--rounds", "4", "--checkpoint-every", "2", "--out"]


@pytest.mark.parametrize("arguments", [RUN, SWEEP], ids=["run", "sweep"])
def test_commands_write_the_same_files(tmp_path, arguments, capsys):
    with session():
        assert main([*arguments, str(tmp_path / "as-ever")]) == 0
    with session(**SETTINGS):
        assert main([*arguments, str(tmp_path / "set")]) == 0
    assert survival.compare(tmp_path / "as-ever", tmp_path / "set") == []


def test_a_run_is_resumed_in_another_session(tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    with session():
        assert main([*RUN, str(whole)]) == 0
    shutil.copytree(whole, out)
    (out / "summary.json").unlink()
    shutil.rmtree(sorted((out / "checkpoints").iterdir())[-1])  # the one behind the last round
    with session(**SETTINGS):
        assert main(["resume", str(out)]) == 0
    output = capsys.readouterr()
    assert "Going on from" in output.out and "may differ" not in output.err
    assert survival.compare(whole, out) == []


def test_what_the_session_has_set_holds_again_behind_a_call():
    with session(**SETTINGS):
        fednpg("windy-cliff", rounds=1)
        assert {name: getattr(jax.config, name) for name in SETTINGS} == SETTINGS
    with session(jax_enable_x64=True):
        with precision(False):
            assert jnp.ones(3).dtype == np.float32
            with precision(True):
                assert jnp.ones(3).dtype == np.float64
        assert jnp.ones(3).dtype == np.float64


@pytest.mark.parametrize(
    ("name", "value"), [("jax_random_seed_offset", 3), ("jax_high_dynamic_range_gumbel", True)]
)
def test_settings_that_no_context_undoes_are_refused(name, value, capsys):
    with session(**{name: value}):
        with pytest.raises(InvalidInput, match=f"{name.upper()}: got {value}; "):
            fednpg("windy-cliff", rounds=1)
        assert main(["run", "fednpg", "--rounds", "1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("fedjax-rl: ") for line in errors) == 1


def test_the_chosen_device_counts_and_is_on_record(run_python):
    """Of two devices of a processor: the bits are those of the first, and so is the record."""
    completed = run_python(CHOSEN, devices=2, compiled_quickly=True)
    assert completed.stdout.split() == ["True", "cpu,", "cpu", "cpu"], completed.stderr


CHOSEN = """
import jax, numpy
from fedjax_rl.families.tabular.training import fednpg
from fedjax_rl.records.provenance import devices
run = lambda: fednpg("windy-cliff", rounds=2).history["value"]
usual, both = run(), devices()
with jax.default_device(jax.devices()[1]):
    print(numpy.array_equal(run(), usual), both, devices())
"""


def test_what_the_compiler_is_told_is_on_record_and_part_of_keys(monkeypatch):
    ours = f"{backend.FLAG}=false {backend.DEVICES}=8"
    with session(jax_disable_most_optimizations=False):
        monkeypatch.setenv("XLA_FLAGS", ours)
        assert backend.compiler() == "" and "compiler" not in provenance.surroundings()
        monkeypatch.setenv("XLA_FLAGS", f"{ours} --xla_cpu_enable_fast_math=true")
        known = provenance.surroundings()
        assert known["compiler"] == "--xla_cpu_enable_fast_math=true"
        assert {"jax", "jaxlib", "devices"} < known.keys()
        jax.config.update("jax_disable_most_optimizations", True)
        assert "jax_disable_most_optimizations=True" in backend.compiler()


PLATFORMS = {"JAX_PLATFORMS": ("cuda", "nonsense"), "JAX_ENABLE_X64": ("nonsense",)}
ABSENT = [(name, value) for name, values in PLATFORMS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), ABSENT)
def test_a_session_that_jax_does_not_take_is_told_in_one_line(monkeypatch, run_python, name, value):
    if value == "cuda" and any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("there is one")
    monkeypatch.setenv(name, value)
    completed = run_python(EVERY_COMMAND)
    lines = completed.stderr.splitlines()
    assert completed.returncode == 0 and len(lines) == completed.stdout.count("2") == 4, (
        completed.stderr
    )
    assert all(line.startswith("fedjax-rl: JAX_") and value in line for line in lines)


EVERY_COMMAND = """
import contextlib, io, os
from fedjax_rl.cli import main
for words in ("run fednpg --out a", "run gepo", "sweep fedppo --rounds 2 --out b", "list tasks"):
    with contextlib.redirect_stdout(io.StringIO()):
        status = main(words.split())
    print(status)
assert os.listdir() == []
"""


def test_the_api_says_so_too(monkeypatch, run_python):
    monkeypatch.setenv("JAX_PLATFORMS", "nonsense")
    for call in (
        "fedjax_rl.families.tabular.training import fednpg as run",
        "fedjax_rl.families.stale.training import hetero_rl as run",
        "fedjax_rl.families.networks.training import fedppo as run",
    ):
        completed = run_python(f"from {call}\nrun(*['windy-cliff'][: run.__name__ == 'fednpg'])")
        last = completed.stderr.splitlines()[-1]
        assert last.startswith("fedjax_rl.errors.InvalidInput: JAX_PLATFORMS: got 'nonsense'")
