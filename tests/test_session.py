"""Same settings and seed, same bits: whatever JAX is set to by the session."""

from __future__ import annotations

import contextlib
import json
import shutil

import jax
import numpy as np
import pytest

from fedjax_rl.hetero.tasks.split import split
from fedjax_rl.runs.deep.evaluation import Asked, film_of, play_all
from fedjax_rl.runs.deep.training import fednatural, fedppo
from fedjax_rl.runs.finite import fednpg
from fedjax_rl.runs.hetero import assembly
from fedjax_rl.runs.hetero.starts import FOLDER
from fedjax_rl.runs.hetero.training import hetero_rl
from tests.quick import quick_compilation  # noqa: F401

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
    before = {name: getattr(jax.config, name) for name in settings}
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
    played = play_all(run.policy, run.prepared, Asked(episodes=100))
    film = film_of(run.prepared, run.policy, Asked())
    return run.history, run.policy, played, film.states, film.signals


def one_shot(cache):
    """Exact figures of a finite problem, a merge at the end and several seeds."""
    run = fednatural("windy-cliff", **SIZES, reference="one-shot", seeds=2)
    return run.history, run.policy, run.evaluations, run.summary["gap_by_policy"]


def stale(cache):
    """From a warm start that is taught anew, and the key that it is cached under."""
    shutil.rmtree(cache / FOLDER, ignore_errors=True)
    sizes = {"prompts": 2, "group_size": 2, "held_out": 8, "on_policy": 2, "evaluate_every": 2}
    network = {"policy": "transformer", "layers": 1, "width": 8, "heads": 2}
    run = hetero_rl("gepo", **network, **sizes, steps=3, window=2, warm_start=0.02)
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


def written(out):
    """What a command left behind, but for what says how long it took and where."""
    tables = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    arrays = {path.name: dict(np.load(path)) for path in out.glob("*.npz")}
    figures = {path.name: json.loads(path.read_text()) for path in out.glob("*.json")}
    return tables, arrays, figures
