"""Every setting that can be swept, through a sweep to its end and against runs alone."""

import dataclasses
import math
import pathlib
import re

import jax
import numpy as np
import pytest

from fedjax_rl.families.networks import assembly as deep_assembly
from fedjax_rl.families.networks import training as deep_training
from fedjax_rl.families.registry import family_of
from fedjax_rl.families.stale import assembly as stale_assembly
from fedjax_rl.families.stale import training as stale_training
from fedjax_rl.families.tabular import assembly
from fedjax_rl.families.tabular import training as finite
from fedjax_rl.hetero.schedule import depth
from fedjax_rl.settings.fields import TRACED, names
from fedjax_rl.sweeps.plan import members_of
from fedjax_rl.sweeps.space import OF_RUNS, OWN, listed, space_of
from fedjax_rl.training.members import grouped
from fedjax_rl.training.rows import flat
from tests import support
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps import axes
from tests.sweeps.harness import ran

pytestmark = pytest.mark.timeout(400)

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "sweeps.md"
TABLES = {"fednpg": axes.FINITE, "fedppo": axes.NETWORKS, "gepo": axes.STALE}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What axes name is in the working directory."""
    axes.make_files(tmp_path)
    monkeypatch.chdir(tmp_path)


def documented():
    """Settings that the documentation says are data, by the first algorithm of each row."""
    section = PAGE.read_text().split("## Groups and chunks")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return {re.findall("`(.+?)`", names)[0]: re.findall("`(.+?)`", data) for names, data in rows}


@pytest.mark.parametrize("algorithm", TABLES)
def test_every_setting_has_values_to_sweep(algorithm):
    """What is new here as a setting, or on the page as data, is not forgotten below."""
    table = TABLES[algorithm]
    shapes = {name: value for variant in table.variants for name, value in variant.items()}
    known = {field.name for field in dataclasses.fields(table.base)}
    of_runs = known.intersection(OF_RUNS)
    assert known == {*table.data, *shapes, *OWN, *of_runs} and "log_every" in of_runs
    assert all(getattr(table.base, name) != value for name, value in shapes.items())
    assert sorted(documented()[algorithm]) == sorted(table.data)
    traced = {*names(type(table.base), TRACED)}
    assert "seed" in traced and traced <= {*table.data, "seed"}
    assert algorithm != "gepo" or traced == {*table.data, "seed"}, "whose other settings are static"


def test_every_row_of_the_page_is_tested():
    assert list(documented()) == list(TABLES)


def swept_members(table, algorithm):
    """Both members of every axis of an algorithm, and a variant of which there is no axis."""
    kind = family_of(algorithm).assembler(algorithm)
    variants = ({}, *table.variants)
    # What algorithms of a table share is swept with the first of them; the others, what is theirs.
    shared = (table.algorithms[0],)
    own = {n: axis for n, axis in table.data.items() if algorithm in (axis.only or shared)}
    request = [
        {**variants[axis.variant], **axis.common} | {name: listed(name, axis.values)}
        for name, axis in own.items()
    ]
    with_axes = {axis.variant for axis in table.data.values()}
    alone = [variant for number, variant in enumerate(variants) if number not in with_axes]
    request += alone
    members = []
    for settings in request:
        grid = {name: one if isinstance(one, list) else [one] for name, one in settings.items()}
        members += members_of(kind, table.base, space_of(type(table.base), grid, {}, None))
    numbered = (member._replace(number=number) for number, member in enumerate(members))
    groups = grouped(numbered, None)
    programs = len({axis.variant for axis in own.values()}) + len(alone)
    assert len(groups) == programs, "members along what is data share a program"
    return kind, groups


@pytest.mark.slow
def test_axes_of_fednpg(files):
    kind, groups = swept_members(axes.FINITE, "fednpg")
    found = ran(kind, groups)
    for member, done, outcome in found:
        alone = finite.run(assembly.prepare(member.config))
        policy = support.softmax(outcome.federation.shared.logits)
        assert_equal(member, done, policy, alone.outcome.last_policy, alone.summary, 1e-12)
    assert_axes_matter(axes.FINITE, found)


def program(prepared):
    """What the step of a run alone traces to, and the numbers that are part of it."""
    algorithm, hparams, key = prepared.algorithm, prepared.hparams, jax.random.key(0)
    state = jax.eval_shape(algorithm.init, key, hparams)
    step = jax.make_jaxpr(algorithm.step)(key, np.int32(1), state, hparams)
    return str(step), *(np.asarray(constant).tobytes() for constant in step.consts)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", axes.NETWORKS.algorithms)
def test_axes_of_networks(files, algorithm):
    table = axes.table_of(algorithm)
    kind, groups = swept_members(table, algorithm)
    # Alone they have one program, too, and it is compiled once. That real-valued settings change
    # nothing else is tested where they are listed; here it is shown of the others together.
    base = {name: getattr(table.base, name) for name in table.data}
    others = {
        name: listed(name, axis.values)[1:]
        for name, axis in table.data.items()
        if name not in names(type(table.base), TRACED)
    }
    (changed,) = members_of(kind, table.base, space_of(type(table.base), others, {}, None))
    # Without candidates, which a run holds by its budgets, and a member does not.
    prepared = [
        deep_assembly.prepare(algorithm, dataclasses.replace(config, confirm_episodes="none"))
        for config in (table.base, changed.config)
    ]
    assert program(prepared[0]) == program(prepared[1])
    found, compiled, known = ran(kind, groups), {}, {}
    for member, done, outcome in found:
        if member.config not in known:
            prepared = deep_assembly.prepare(algorithm, member.config)
            own = dataclasses.replace(member.config, **base)
            single = compiled.setdefault(own, prepared.algorithm)
            result = deep_training.run(prepared._replace(algorithm=single))
            known[member.config] = result.policy, result.summary
        assert_equal(member, done, outcome, *known[member.config], 1e-5)
    assert_axes_matter(table, found)


@pytest.mark.slow
def test_axes_of_stale_data(files):
    (algorithm,) = axes.STALE.algorithms
    kind, groups = swept_members(axes.STALE, algorithm)
    found, known = ran(kind, groups), {}
    # Past parameters that nobody asks for change nothing; the deepest ring serves all runs alone.
    main, *others = sorted(groups, key=lambda group: -len(group.members))
    deepest = max(main.members, key=lambda member: depth(member.assembled.prepared.schedules))
    single = stale_assembly.prepare(algorithm, deepest.config).algorithm
    shaped = {member.number for group in others for member in group.members}
    for member, done, outcome in found:
        if member.number in shaped:
            assert done.row["status"] == "finished" and math.isfinite(done.row["last"])
            continue
        if member.config not in known:
            prepared = stale_assembly.prepare(algorithm, member.config)
            result = stale_training.run(prepared._replace(algorithm=single))
            known[member.config] = result.cells[0].parameters, result.summary
        assert_equal(member, done, outcome, *known[member.config], 1e-5)
    assert_axes_matter(axes.STALE, found)


def assert_equal(member, done, policy, alone, summary, tolerance):
    """A member is the run alone: its policy, and every figure of its row."""
    assert done.row["status"] == "finished"
    for mine, other in zip(jax.tree.leaves(policy), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(
            np.ravel(mine), np.ravel(other), tolerance, tolerance, err_msg=str(member.combination)
        )
    figures = {name: value for name, value in flat(summary).items() if name in done.row}
    assert len(figures) > 15
    for name, value in figures.items():
        if name not in member.combination:
            if isinstance(value, float):
                value = pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True)
            assert done.row[name] == value, (name, member.combination)


def assert_axes_matter(table, found):
    """The two policies of an axis differ: a setting without an effect is none to sweep."""
    policies = {}
    for member, _, outcome in found:
        name = list(member.combination)[-1]
        flattened = np.concatenate([*map(np.ravel, jax.tree.leaves(outcome))])
        policies.setdefault(name, []).append(flattened)
    alike = {
        name
        for name, pair in policies.items()
        if name in table.data and np.array_equal(pair[0], pair[1])
    }
    assert alike == {name for name in policies if name in table.data and table.data[name].alike}
