"""Members of a sweep of FedNPG: each equals its run alone; programs are as many as groups."""

import dataclasses
import math

import chex
import jax
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.tabular.assembly import prepare
from fedjax_rl.families.tabular.config import FedNPGConfig
from fedjax_rl.families.tabular.family import CURVES, Tabular
from fedjax_rl.families.tabular.programs import settings_type
from fedjax_rl.families.tabular.training import run
from fedjax_rl.precision import precision
from fedjax_rl.settings.fields import TRACED, names
from fedjax_rl.sources.problems import save_problem
from fedjax_rl.sweeps.estimate import Estimate, estimate
from fedjax_rl.sweeps.execution import run_chunk
from fedjax_rl.training import members as side_by_side
from fedjax_rl.training.protocol import POINTS, thinned
from tests import support
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps.harness import groups_of, swept

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

OTHER = {
    **{"step_size": 0.3, "dual_step_size": 0.2, "multiplier_cap": 3.0, "regularization": 0.1},
    **{"tolerance": 0.2, "seed": 7},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    save_problem(path, support.random_problem(0))
    return str(path)


def assert_figures_agree(member, row, summary):
    """Every number of a row that was not swept is that of the run alone, to 1e-12."""
    compared = 0
    for name, value in row.items():
        outer, _, inner = name.partition("/")
        if outer in summary and name not in member.combination and isinstance(value, float):
            known = summary[outer][inner] if inner else summary[outer]
            assert value == pytest.approx(known, rel=1e-12, abs=1e-12), name
            compared += 1
    assert compared > 15


@pytest.mark.parametrize(
    ("common", "grid"),
    [
        ({}, {"step_size": ["auto", 0.05, 0.4], "local_steps": [1, 2], "dual_step_size": [0.1]}),
        ({"evaluation": "sampled", "rollouts": 2}, {"step_size": [0.05, 0.4]}),
        ({"reference": "no-communication"}, {"step_size": [0.05, 0.4], "multiplier_cap": [1.0]}),
        ({"learner": "crpo"}, {"tolerance": [0.0, 0.5], "discount": [0.9, 0.8]}),
    ],
)
def test_every_member_equals_the_run_alone(small, common, grid):
    base = settings_type(common)(problem=small, rounds=20, seeds=2, seed=3, **common)
    members = swept(Tabular(), base, grid, chunk=4)
    assert len(members) == 2 * math.prod(map(len, grid.values()))
    for member, done, outcome in members:
        alone = run(prepare(member.config))
        assert member.config.seeds == 1 and member.config.seed in (3, 4)
        policy = support.softmax(outcome.federation.shared.logits)
        np.testing.assert_allclose(policy, alone.outcome.last_policy, atol=1e-12)
        assert done.row["status"] == "finished" and done.row["failed_round"] is None
        assert_figures_agree(member, done.row, alone.summary)
        for name in CURVES:
            np.testing.assert_allclose(
                done.curves[name], alone.history[name], rtol=1e-12, atol=1e-12
            )


def test_rows_are_tidy(small):
    grid = {"local_steps": [1, 2], "step_size": [0.1]}
    members = swept(Tabular(), FedNPGConfig(problem=small, rounds=5, seeds=2), grid)
    rows = [done.row for _, done, _ in members]
    assert [row["member"] for row in rows] == [0, 1, 2, 3]
    assert [row["configuration"] for row in rows] == [0, 0, 1, 1]
    assert [row["seed"] for row in rows] == [0, 1, 0, 1]
    assert [row["local_steps"] for row in rows] == [1, 1, 2, 2]
    assert list(rows[0])[:7] == [
        *("member", "configuration", "local_steps", "step_size", "seed", "status"),
        "failed_round",
    ]
    assert all(
        value is None or isinstance(value, str | bool | int | float) for value in rows[0].values()
    )


def test_there_are_as_many_compilations_as_groups(small, monkeypatch):
    """Real values and seeds are data; counts and names are programs. Chunks share theirs."""
    made = []

    def counting(*arguments):
        together = swept_by(*arguments)
        made.append(together)
        return together._replace(
            step=chex.assert_max_traces(together.step, n=4),  # of all programs together
            init=chex.assert_max_traces(together.init, n=4),
        )

    swept_by = side_by_side.sweep
    monkeypatch.setattr(side_by_side, "sweep", counting)
    chex.clear_trace_counter()
    grid = {
        **{"step_size": [0.05, 0.1, 0.2], "local_steps": [1, 2], "discount": [0.9, 0.8]},
        "learner": ["npg", "crpo"],
    }
    base = FedNPGConfig(problem=small, rounds=12, seeds=2)
    groups = groups_of(Tabular(), base, grid, chunk=5)
    members = swept(Tabular(), base, grid, chunk=5)
    assert len(members) == 48 and len(groups) == 4
    assert [len(group.chunks()) for group in groups] == [3] * 4, "each program runs three chunks"
    assert len(made) == 4


def test_a_sweep_that_is_timed_first_compiles_no_more(small):
    base = FedNPGConfig(problem=small, rounds=40)
    (group,) = groups_of(Tabular(), base, {"step_size": [0.05, 0.1, 0.2]}, chunk=2)
    program = group.program(Tabular())
    program = program._replace(step=chex.assert_max_traces(program.step, n=1))
    chex.clear_trace_counter()
    estimated = estimate(group, program)
    assert estimated.compiling > 0 < estimated.running
    for members in group.chunks():
        timed = run_chunk(Tabular(), group, program, members)
        alone = run_chunk(Tabular(), group, group.program(Tabular()), members)
        assert [one.row for one in timed] == [one.row for one in alone]


def test_the_time_of_a_sweep_is_that_of_what_is_left(small):
    """Two groups of three members, two side by side, ten rounds: 0.5 s for a member's round."""
    base = FedNPGConfig(problem=small, rounds=10)
    grid = {"step_size": [0.05, 0.1, 0.2], "local_steps": [1, 2]}
    groups = groups_of(Tabular(), base, grid, chunk=2)
    estimated = Estimate(compiling=7.0, running=0.5)
    assert estimated.total(groups) == 2 * 7.0 + 2 * 2 * 2 * 10 * 0.5
    first = {member.number for member in groups[0].members}
    assert estimated.total(groups, first) == 7.0 + 2 * 2 * 10 * 0.5


def test_members_of_a_group_have_one_program_alone_too(small):
    """Two configurations are put together only if what they trace to is the same."""
    base = FedNPGConfig(problem=small, rounds=5)
    grid = {"budgets": [(8.0,) * 4, (9.0,) * 4], "discount": [0.9, 0.8], "step_size": ["auto", 0.1]}
    (group,) = groups_of(Tabular(), base, grid)
    assert len(group.members) == 8
    assert len({program(member.assembled) for member in group.members}) == 1
    other = groups_of(Tabular(), base, {"local_steps": [1, 2], "evaluation": ["exact", "sampled"]})
    assert len(other) == len({program(one.members[0].assembled) for one in other}) == 4


def program(assembled):
    with precision(True):
        key = jax.random.key(0)
        state = jax.eval_shape(assembled.algorithm.init, key, assembled.hparams)
        step = jax.make_jaxpr(assembled.algorithm.step)(key, np.int32(1), state, assembled.hparams)
    return str(step)


OWN = settings_type({"learner": ["regularized", "crpo"]})


@pytest.mark.parametrize("name", names(OWN, TRACED))
def test_settings_that_are_called_real_change_traced_settings_alone(small, name):
    family, base = Tabular(), OWN(problem=small, rounds=5, learner="regularized")
    first = family.assemble(base)
    config = dataclasses.replace(base, **{name: OTHER[name]})
    member, alone = family.assemble(config), prepare(config)
    assert member.program == first.program and member.algorithm is alone.algorithm
    chex.assert_trees_all_equal(member.hparams, alone.hparams)
    assert member.prepared.config == alone.config and member.prepared.layout[3:] == alone.layout[3:]


def test_problems_of_one_shape_are_one_group():
    grid = {"problem_args": [("states=4", f"seed={seed}") for seed in range(3)]}
    base = FedNPGConfig(problem="random-mdp", rounds=3)
    (group,) = groups_of(Tabular(), base, grid)
    model = group.axes.federation.learner.model
    assert jax.tree.leaves(model.dynamics, is_leaf=lambda axis: axis is None) == [0]
    assert model.discount is None, "what all share is held once"
    sizes = {"problem_args": [("states=4",), ("states=5",)]}
    assert len(groups_of(Tabular(), base, sizes)) == 2


def test_members_that_diverge_are_marked_and_harm_no_other(small):
    base = FedNPGConfig(problem=small, rounds=20)
    broken = swept(Tabular(), base, {"step_size": [0.05, 1e307, 0.4]})
    healthy = swept(Tabular(), base, {"step_size": [0.05, 0.1, 0.4]})
    assert [done.row["status"] for _, done, _ in broken] == ["finished", "diverged", "finished"]
    alone = run(prepare(broken[1][0].config))
    assert broken[1][1].row["failed_round"] == alone.outcome.failed_round > 0
    assert broken[1][1].row["rounds"] == alone.summary["rounds"]
    assert_figures_agree(*broken[1][:1], broken[1][1].row, alone.summary)
    for index in (0, 2):
        assert broken[index][1].row["average_gap"] == pytest.approx(
            healthy[index][1].row["average_gap"], abs=1e-12
        )


def test_a_chunk_that_is_not_full_is_filled_and_cut(small):
    family, base = Tabular(), FedNPGConfig(problem=small, rounds=4)
    (group,) = groups_of(family, base, {"step_size": [0.1, 0.2, 0.3, 0.4, 0.5]}, chunk=3)
    assert [len(chunk) for chunk in group.chunks()] == [3, 2]
    assert [len(chunk) for chunk in group.chunks({0, 1, 2})] == [2]
    done = run_chunk(family, group, group.program(family), group.chunks()[1])
    assert [one.member for one in done] == [3, 4]


def test_auto_chunks_fit_memory(small, monkeypatch):
    base = FedNPGConfig(problem=small, rounds=100)
    steps = {"step_size": np.linspace(0.1, 1, 100).tolist()}
    (group,) = groups_of(Tabular(), base, steps)
    assert group.size == 50, "two chunks of even size, of at most 64"
    monkeypatch.setattr(side_by_side, "free_bytes", lambda: 20 * group.needs.bytes)
    (group,) = groups_of(Tabular(), base, steps)
    assert group.size == 10
    monkeypatch.setattr(side_by_side, "free_bytes", lambda: 1)
    assert groups_of(Tabular(), base, steps)[0].size == 1
    longer = groups_of(Tabular(), dataclasses.replace(base, rounds=10_000), steps)[0]
    assert longer.needs.bytes > group.needs.bytes + 9_900 * 100, "rows are counted"


def test_what_cannot_be_used_names_its_combination(small):
    base = FedNPGConfig(problem=small, rounds=4)
    message = r"--local-steps: got 5; .*learner optimistic, local_steps 5"
    with pytest.raises(InvalidInput, match=message):
        groups_of(Tabular(), base, {"learner": ["npg", "optimistic"], "local_steps": [1, 5]})
    with pytest.raises(InvalidInput, match="--learner: got 'npgg'; did you mean 'npg'"):
        groups_of(Tabular(), base, {"learner": ["npg", "npgg"]})


def test_curves_are_thinned_to_their_ends():
    assert thinned(3).tolist() == [0, 1, 2]
    at = thinned(10_001)
    assert len(at) == POINTS and at[0] == 0 and at[-1] == 10_000 and set(np.diff(at)) == {50}
