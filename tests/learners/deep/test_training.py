"""Federations of networks under the loop over rounds, in sweeps, and without a compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.envs.known import constant_reward
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import start, train
from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.ops.moments import root_mean_square
from tests.learners.deep.harness import (
    LEARNERS,
    WORLDS,
    agent_at,
    agents_of,
    close,
    designed,
    federation,
    mixed_agents,
    moved,
    run,
    settings,
)

pytestmark = pytest.mark.timeout(240)

CASES = {
    "ppo": ("ppo", {}),
    "natural": ("natural", {}),
    "crpo": ("ppo", {"duals": "crpo"}),
}
cases = pytest.mark.parametrize("case", CASES)


@pytest.mark.slow
@cases
def test_jit_changes_nothing(case):
    learner, choices = CASES[case]
    _, _, algorithm = federation("two", learner, 2, 2, **choices)
    hparams = jax.tree.map(jnp.asarray, FederationSettings(mixed_agents(), settings()))
    first, compiled, info = run(algorithm, mixed_agents(), 1)
    with jax.disable_jit():
        key = jax.random.fold_in(jax.random.key(0), 1)
        plain, plain_info = algorithm.step(key, jnp.int32(1), first, hparams)
    close(compiled, plain)
    close(agent_at(info, 0), plain_info, 1e-4, 1e-5)
    assert moved(first.shared, plain.shared) > 1e-3


@cases
def test_rounds_and_settings_share_one_program(case):
    """The harness refuses a second trace; see `traced_once`."""
    learner, choices = CASES[case]
    _, _, algorithm = federation("two", learner, 2, 2, **choices)
    ends = []
    for rate in (0.0, 0.01, 0.02):
        other = {"learning_rate": rate, "radius": rate, "clip": 0.1 + rate, "discount": 0.9 + rate}
        changes = {**other, "duals": {"step_size": rate}, "tolerance": rate}
        agents = mixed_agents(relative=rate > 0)
        ends.append(run(algorithm, agents, 5, seed=int(100 * rate), **changes)[1])
    assert moved(ends[0].shared, ends[1].shared) > 1e-3
    assert moved(ends[1].shared, ends[2].shared) > 1e-3


@cases
def test_the_seed_is_all_that_is_random(case):
    learner, choices = CASES[case]
    _, _, algorithm = federation("two", learner, 2, 2, **choices)
    one, same, other = (run(algorithm, mixed_agents(), 3, seed=seed)[1] for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert moved(one.shared, other.shared) > 1e-3


@pytest.mark.slow
def test_a_sweep_over_seeds_is_the_single_runs():
    members, rounds = 3, 2
    design = designed(WORLDS["two"], 2)
    algorithm = federate(LEARNERS["ppo"](design), parameter_mean(), num_agents=2)
    hparams = FederationSettings(mixed_agents(), settings())
    keys = jax.vmap(jax.random.key)(jnp.arange(members))
    together = sweep(algorithm, None, members)
    state, _ = start(together, keys, hparams)
    spans = list(train(together, keys, state, hparams, rounds=rounds, span_rounds=rounds))
    assert spans[-1].failed_members.tolist() == [-1] * members
    _, _, single = federation("two", "ppo", 2, 2)
    ends = [run(single, mixed_agents(), rounds, seed=member)[1] for member in range(members)]
    for member, end in enumerate(ends):
        close(agent_at(spans[-1].state, member), end)
    assert moved(ends[0].shared, ends[1].shared) > 0.01


def test_values_that_are_bootstrapped_do_not_outgrow_the_truth():
    """A reward of 1 for ever is worth 1/(1 − γ) = 100, and a critic starts below it."""
    design = designed(constant_reward(), 1, envs=8, rollout=20)
    algorithm = federate(LEARNERS["ppo"](design), parameter_mean(), num_agents=1)
    sizes = []
    for rounds in (5, 15, 40):
        _, last, _ = run(algorithm, agents_of(design.task, [[1]]), rounds, discount=0.99)
        sizes.append(float(root_mean_square(agent_at(last.local.returns, 0))[0]))
    assert sizes == sorted(sizes) and sizes[-1] > 20, "it learns"
    assert sizes[-1] < 100
