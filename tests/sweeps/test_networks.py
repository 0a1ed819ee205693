"""Members of sweeps of networks and of stale data, at the smallest size."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from fedjax_rl.errors import InvalidInput
from fedjax_rl.families.networks.assembly import prepare
from fedjax_rl.families.networks.config import DeepConfig
from fedjax_rl.families.networks.family import Networks
from fedjax_rl.families.networks.training import run
from fedjax_rl.families.stale.assembly import prepare as prepare_stale
from fedjax_rl.families.stale.config import HeteroConfig
from fedjax_rl.families.stale.family import Stale
from fedjax_rl.families.stale.training import run as run_stale
from fedjax_rl.settings.fields import TRACED, names
from fedjax_rl.settings.own import extended
from fedjax_rl.training import members as side_by_side
from tests.quick import quick_compilation  # noqa: F401
from tests.sweeps.axes import EVERY_LOSS
from tests.sweeps.harness import groups_of, swept

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TINY = DeepConfig(
    problem="fedjax_rl.envs.known:chain",
    agents=2,
    envs=4,
    rollout=8,
    hidden=(4,),
    rounds=3,
    episodes=100,
    epochs=1,
    minibatches=2,
    evaluate_every=1,
)
STALE = extended(HeteroConfig, EVERY_LOSS)(
    task_args=("length=3", "modulus=3"),
    steps=3,
    prompts=2,
    group_size=3,
    held_out=16,
    on_policy=2,
    evaluate_every=1,
    warm_start=0.0,
)
OTHER = {
    **{"learning_rate": 0.01, "learning_rate_decay": 0.5, "clip": 0.3, "discount": 0.8},
    **{
        "gae": 0.8,
        "cost_gae": 0.7,
        "entropy": 0.1,
        "gradient_norm": 2.0,
        "kl_limit": 0.2,
        "kl_target": 0.05,
    },
    **{"dual_step_size": 0.3, "proportional_gain": 0.5, "integral_gain": 0.35},
    **{"derivative_gain": 0.1, "dual_smoothing": 0.7, "multiplier_cap": 3.0, "tolerance": 0.1},
    **{"budget_margin": 0.2, "penalty_share": 0.5, "insistence": 0.3, "multiplier_floor": 0.1},
    **{"radius": 0.05, "damping": 0.2, "seed": 9},
}


def counted(monkeypatch, traces):
    """Programs that are built; all together may be traced so many times."""
    made, swept_by = [], side_by_side.sweep

    def counting(*arguments):
        together = swept_by(*arguments)
        made.append(together)
        return together._replace(step=chex.assert_max_traces(together.step, n=traces))

    monkeypatch.setattr(side_by_side, "sweep", counting)
    chex.clear_trace_counter()
    return made


def assert_trees_close(actual, expected):
    for left, right in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "reference"), [("fedppo", "fed"), ("fednatural", "no-communication")]
)
def test_every_member_equals_the_run_alone(algorithm, reference, monkeypatch):
    made = counted(monkeypatch, traces=1)
    own = {"clip": [0.1, 0.3]} if algorithm == "fedppo" else {"radius": [0.01, 0.1]}
    grid = {"learning_rate": [1e-3, 1e-2], **own}
    base = dataclasses.replace(TINY, seeds=2, seed=5, reference=reference)
    members = swept(Networks(algorithm), base, grid, chunk=4)
    assert len(members) == 8 and len(made) == 1, "two chunks of one program"
    member, done, outcome = members[7]
    alone = run(prepare(algorithm, member.config))
    shared = jax.tree.map(lambda leaf: leaf.reshape(alone_shape(leaf, reference)), outcome)
    assert_trees_close(shared, alone.policy)
    assert done.row["status"] == "finished"
    for name in ("reward", "last_reward", "mode_reward", "bytes_exchanged"):
        assert done.row[name] == pytest.approx(alone.summary[name], rel=1e-5, abs=1e-6)
    assert done.row["costs/steps"] == pytest.approx(alone.summary["costs"]["steps"], rel=1e-5)
    assert done.curves["round"].tolist() == [0, 1, 2, 3]
    rewards = alone.evaluations.reward.mean((1, 2))
    np.testing.assert_allclose(done.curves["reward"], rewards, rtol=1e-5)
    leaves = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(k)]) for _, _, k in members]
    assert (leaves[0] != leaves[1]).any() and (leaves[0] != leaves[7]).any()


def alone_shape(leaf, reference):
    """Leading axes [K, P] of a run's policies."""
    return (1, *leaf.shape) if reference == "no-communication" else (1, 1, *leaf.shape)


def test_counts_and_names_are_groups_of_networks():
    grid = {
        **{"epochs": [1, 2], "clip": [0.1, 0.2], "budgets": [(1.0,), (2.0,)]},
        "kl_limit": ["none", 0.1, 0.2],
    }
    groups = groups_of(Networks("fedppo"), TINY, grid)
    assert [len(group.members) for group in groups] == [4, 8, 4, 8]
    assert [group.members[0].combination["epochs"] for group in groups] == [1, 1, 2, 2]
    assert [group.members[0].combination["kl_limit"] == "none" for group in groups] == [
        True,
        False,
    ] * 2
    axes = groups[0].axes.federation
    assert axes.agents.budgets == 0 and axes.learner.clip == 0
    assert axes.learner.learning_rate is None and axes.agents.weights is None
    # A round number that were mapped over would turn the evaluation's branch into both.
    assert len(groups_of(Networks("fedppo"), TINY, {"evaluate_every": [1, 2]})) == 2
    assert groups[0].axes.every is None and groups[0].axes.last is None


def step_of(algorithm, hparams):
    key = jax.random.key(0)
    state = jax.eval_shape(algorithm.init, key, hparams)
    return str(jax.make_jaxpr(algorithm.step)(key, np.int32(1), state, hparams))


GAINS = ("proportional_gain", "integral_gain", "dual_smoothing")
READ_BY = {
    **{"fedppo": {"clip", "kl_target", "kl_limit"}, "fednatural": {"radius", "damping"}},
    "pid": {*GAINS, "derivative_gain", "budget_margin"},
    "multiplicative": {*GAINS, "budget_margin", "penalty_share", "insistence", "multiplier_floor"},
    **{"gradient": {"dual_step_size", "budget_margin"}, "crpo": {"tolerance"}},
}
"""Traced settings that an algorithm or a rule of the multipliers has for itself."""


def test_every_traced_setting_of_networks_is_tried():
    assert set(OTHER) == set(names(DeepConfig, TRACED))
    assert set().union(*READ_BY.values()) < set(OTHER)


@pytest.mark.parametrize("duals", ["multiplicative", "pid", "gradient", "crpo"])
@pytest.mark.parametrize("algorithm", ["fedppo", "fednatural"])
def test_settings_that_are_called_real_change_traced_settings_alone(algorithm, duals):
    family = Networks(algorithm)
    limit = {"kl_limit": 0.1} if algorithm == "fedppo" else {}
    base = dataclasses.replace(TINY, duals=duals, **limit)
    first = family.assemble(base)
    unread = set().union(*READ_BY.values()) - READ_BY[algorithm] - READ_BY[duals]
    unread |= {"multiplier_cap"} if duals == "crpo" else set()
    other = {name: value for name, value in OTHER.items() if name not in unread}
    config = dataclasses.replace(base, **other, budgets=(2.0,))
    # A run holds candidates by its budgets, which are constants there; a member holds none.
    alone = prepare(algorithm, dataclasses.replace(config, confirm_episodes="none"))
    member = family.assemble(config)
    assert member.program == first.program
    chex.assert_trees_all_equal(member.hparams, alone.hparams)
    changed = sum(
        bool((np.asarray(left) != np.asarray(right)).any())
        for left, right in zip(
            jax.tree.leaves(first.hparams), jax.tree.leaves(member.hparams), strict=True
        )
    )
    caps = "multiplier_cap" in other  # there are two of them
    assert changed == len(other) - 1 + 2 + caps, "all but the seed; a budget and its scale"
    assert step_of(alone.algorithm, alone.hparams) == step_of(first.algorithm, first.hparams)


def test_a_merge_at_the_end_has_no_place_in_a_sweep():
    with pytest.raises(InvalidInput, match="--reference: got 'one-shot'"):
        groups_of(Networks("fedppo"), TINY, {"reference": ["fed", "one-shot"]})


def test_members_of_networks_that_diverge_are_marked():
    grid = {"learning_rate": [1e-3, 3e38]}
    (_, whole, _), (_, broken, _) = swept(Networks("fedppo"), TINY, grid)
    assert whole.row["status"] == "finished" and np.isfinite(whole.row["reward"])
    assert broken.row["status"] == "diverged" and broken.row["failed_round"] >= 1
    assert broken.row["rounds"] == broken.row["failed_round"] - 1


def test_every_member_on_stale_data_equals_the_run_alone(monkeypatch):
    loss = "gepo"
    made = counted(monkeypatch, traces=1)
    base = dataclasses.replace(STALE, seeds=2, seed=2)
    grid = {"learning_rate": [0.1, 0.5], "window": [0, 2], "label_noise": [0.0, 0.4]}
    members = swept(Stale(loss), base, grid)
    assert len(members) == 16 and len(made) == 1, "windows and schedules are data"
    member, done, outcome = members[7]
    assert member.combination == {"learning_rate": 0.1, "window": 2, "label_noise": 0.4}
    alone = run_stale(prepare_stale(loss, member.config))
    own = jax.tree.map(lambda leaf: leaf[None], outcome)
    assert_trees_close(own, alone.cells[0].parameters)
    for name in ("best", "last", "weight_variance_median", "virtual_seconds"):
        assert done.row[name] == pytest.approx(alone.summary[name], rel=1e-5, abs=1e-6)
    assert done.curves["round"].tolist() == [0, 1, 2, 3]


def test_group_sizes_are_groups_of_stale_data():
    groups = groups_of(Stale("gepo"), STALE, {"group_size": [2, 3], "clip_low": [0.1, 0.2]})
    assert [len(group.members) for group in groups] == [2, 2]
    assert groups[0].axes.loss.clip_low == 0 and groups[0].axes.start is None


def test_a_member_on_stale_data_that_diverges_is_marked():
    # Half of the rewards are flipped: hardly a batch without a gradient, and two overflow.
    common = {"kl": "code", "kl_weight": 1e3, "label_noise": 0.5, "steps": 12}
    base = dataclasses.replace(STALE, window=0, evaluate_every=6, **common)
    whole, broken = (
        done.row for _, done, _ in swept(Stale("grpo"), base, {"learning_rate": [0.1, 3e38]})
    )
    assert whole["status"] == "finished" and np.isfinite(whole["last"])
    assert broken["status"] == "diverged" and np.isnan(broken["last"])
