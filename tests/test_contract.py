"""What every registered learner and merge must keep, whoever wrote it."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.algorithm import aggregators, learners
from fedjax_rl.cmdp.evaluate import evaluate_exactly
from fedjax_rl.cmdp.sample import evaluate_by_sampling
from fedjax_rl.federation import aggregate  # noqa: F401  registers
from fedjax_rl.federation.correction import control_variate
from fedjax_rl.federation.isolated import isolated
from fedjax_rl.federation.observed import OBSERVED_AXES, alone_settings, observed
from fedjax_rl.federation.round import federate
from fedjax_rl.learners import tabular  # noqa: F401  registers
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.precision import precision
from tests import support
from tests.federation.harness import build, run
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(240)

learners.register("corrected", lambda evaluation: control_variate(npg(evaluation)))

ACCESS = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]], bool)
EVALUATIONS = {"exact": evaluate_exactly, "sampled": evaluate_by_sampling(2)}


@functools.cache
def algorithm_and_hparams(learner, merge, evaluation, local_steps, alone):
    made = learners.make(learner, EVALUATIONS[evaluation])
    own = made.settings(*[np.float64(0.05)] * len(made.settings._fields))
    _, hparams = build(support.random_problem(0), ACCESS, step=0.2, dual_step=0.05, own=own)
    federation = federate(
        made,
        aggregators.make(merge),
        num_agents=1 if alone else 3,
        local_steps=local_steps,
    )
    algorithm = observed(federation, counts=made.counts)
    return (isolated(algorithm, 3, OBSERVED_AXES, alone_settings) if alone else algorithm), hparams


def fits(learner, merge, local_steps):
    made = learners.make(learner, evaluate_exactly)
    accepts = aggregators.make(merge).accepts
    return made.message_kind in accepts and (local_steps == 1 or not made.merges_every_step)


EVERY = [("exact", 1, False), ("exact", 3, False), ("exact", 1, True), ("sampled", 2, False)]
CASES = [
    (learner, merge, evaluation, local_steps, alone)
    for learner in learners
    for merge in aggregators
    for evaluation, local_steps, alone in EVERY
    if fits(learner, merge, local_steps) and (merge != "probabilities" or learner == "npg")
]
contract = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


@contract
def test_step_keeps_shapes_and_types(case):
    algorithm, hparams = algorithm_and_hparams(*case)
    with precision(algorithm.float64):
        state = jax.eval_shape(algorithm.init, jax.random.key(0), hparams)
        stepped, info = jax.eval_shape(algorithm.step, jax.random.key(0), 1, state, hparams)
        observed_info = jax.eval_shape(algorithm.observe, state, hparams)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, stepped)
    chex.assert_trees_all_equal_shapes_and_dtypes(info, observed_info)
    floats = [leaf.dtype for leaf in jax.tree.leaves(state) if leaf.dtype.kind == "f"]
    assert set(floats) == {np.dtype("float64")}


@pytest.mark.slow
@contract
def test_same_seed_gives_the_same_bits_and_the_seed_matters_only_when_sampling(case):
    algorithm, hparams = algorithm_and_hparams(*case)
    first, second, other = (run(algorithm, hparams, 5, seed=seed) for seed in (1, 1, 2))
    chex.assert_trees_all_equal(first.state, second.state)
    assert (first.policy == other.policy).all() == (case[2] == "exact")


@pytest.mark.slow
@contract
def test_jit_changes_nothing(case):
    algorithm, hparams = algorithm_and_hparams(*case)
    with precision(algorithm.float64):
        hparams = jax.tree.map(jnp.asarray, hparams)
        key = jax.random.key(0)
        state = jax.jit(algorithm.init)(key, hparams)
        compiled, _ = jax.jit(algorithm.step)(key, jnp.asarray(1), state, hparams)
        plain, _ = algorithm.step(key, jnp.asarray(1), state, hparams)
        chex.assert_trees_all_close(jax.device_get(compiled), jax.device_get(plain), atol=1e-12)


@contract
def test_agent_axes_name_the_axis_of_agents(case):
    algorithm, hparams = algorithm_and_hparams(*case)
    with precision(algorithm.float64):
        state = jax.eval_shape(algorithm.init, jax.random.key(0), hparams)
    axes = algorithm.agent_axes(state)
    leaves = jax.tree.leaves(axes, is_leaf=lambda axis: axis is None)
    for leaf, axis in zip(jax.tree.leaves(state), leaves, strict=True):
        assert axis is None or leaf.shape[axis] == 3


@contract
def test_what_is_reported_is_a_policy_and_multipliers_and_what_rows_show(case):
    algorithm, hparams = algorithm_and_hparams(*case)
    trained = run(algorithm, hparams, 3)
    with precision(algorithm.float64):
        report = jax.device_get(algorithm.report(trained.state))
    copies = (3,) if case[-1] else ()
    assert report.policy.logits.shape == (*copies, 5, 4)
    assert report.policy.visits.shape == (*copies, 5)
    np.testing.assert_array_equal(report.multipliers, trained.info.multipliers[-1])
    assert report.multipliers.size == 3 * 2


EIGHT_DEVICES = """
import re, sys; sys.path.insert(0, {root!r})
import jax, numpy as np
from fedjax_rl.federation.participation import sampled
from fedjax_rl.learners.tabular.npg import npg
from fedjax_rl.precision import precision
from tests import support
from tests.federation.harness import build, run

assert len(jax.devices()) == 8
page = open({root!r} + "/docs/how-to/own-aggregator.md", encoding="utf-8").read()
robust = {{}}
exec(re.search('title="robust.py"\\n(.*?)```', page, re.S)[1], robust)
cases = [(1, None, None), (3, None, None), (2, robust["trimmed"](), sampled(5))]
for local_steps, aggregator, present in cases:
    algorithm, hparams = build(
        support.random_problem(0, constraints=8), np.eye(8, dtype=bool),
        step=0.2, dual_step=0.05, local_steps=local_steps, aggregator=aggregator,
        participation=present,
    )
    alone = run(algorithm, hparams, 20)
    automatic = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((8,), ("agents",), axis_types=automatic)
    with precision(True):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("agents"))
        agents = jax.device_put(hparams.federation.agents, sharding)
        spread = hparams._replace(federation=hparams.federation._replace(agents=agents))
    together = run(algorithm, spread, 20)
    np.testing.assert_allclose(together.policy, alone.policy, atol=1e-12)
    np.testing.assert_allclose(together.multipliers, alone.multipliers, atol=1e-12)
print("equal")
"""


@pytest.mark.slow
def test_eight_devices_equal_one(run_python):
    root = __file__.rsplit("/tests/", 1)[0]
    source = EIGHT_DEVICES.format(root=root)
    finished = run_python(source, devices=8, timeout=230, compiled_quickly=True)
    assert finished.stdout.strip() == "equal", finished.stderr
