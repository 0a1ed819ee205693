"""Every member of a sweep equals the same run alone; members that diverge harm no other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.cmdp.sample import evaluate_by_sampling
from fedjax_rl.execution.sweep import sweep
from fedjax_rl.execution.train import start, to_host, train
from fedjax_rl.federation.observed import ObservedSettings
from fedjax_rl.federation.round import FederationSettings
from fedjax_rl.learners.tabular.agent import TabularSettings
from tests import support
from tests.federation.harness import build, run
from tests.quick import quick_compilation  # noqa: F401

pytestmark = pytest.mark.timeout(120)

LEARNER = TabularSettings(0, 0, multiplier_cap=None, model=None, own=None)
AXES = ObservedSettings(
    FederationSettings(agents=None, learner=LEARNER, merge_weights=None), costs=None, budgets=None
)
STEPS, DUAL_STEPS = np.array([0.05, 0.2, 0.4]), np.array([0.01, 0.02, 0.05])


def members_of(hparams, steps=STEPS, dual_steps=DUAL_STEPS):
    learner = hparams.federation.learner._replace(step_size=steps, dual_step_size=dual_steps)
    return hparams._replace(federation=hparams.federation._replace(learner=learner))


def swept(algorithm, hparams, rounds, members=3, span_rounds=7):
    keys = jax.vmap(jax.random.key)(jnp.arange(members))
    together = sweep(algorithm, AXES, members)
    state, _ = start(together, keys, hparams)
    spans = list(train(together, keys, state, hparams, rounds=rounds, span_rounds=span_rounds))
    info = jax.tree.map(lambda *parts: np.concatenate(parts), *(span.info for span in spans))
    return to_host(spans[-1].state), info, spans[-1].failed_members


@pytest.mark.parametrize("sampled", [False, True])
def test_every_member_equals_the_run_alone(sampled):
    options = {"evaluation": evaluate_by_sampling(2)} if sampled else {}
    problem, access = support.random_problem(0), np.eye(4, dtype=bool)
    algorithm, hparams = build(problem, access, step=0.1, dual_step=0.1, local_steps=2, **options)
    state, info, failed = swept(algorithm, members_of(hparams), 20)
    assert failed.tolist() == [-1, -1, -1]
    for member, (step, dual_step) in enumerate(zip(STEPS, DUAL_STEPS, strict=True)):
        algorithm, own = build(
            problem, access, step=step, dual_step=dual_step, local_steps=2, **options
        )
        alone = run(algorithm, own, 20, seed=member)
        logits = state.federation.shared.logits[member]
        np.testing.assert_allclose(support.softmax(logits), alone.policy, atol=1e-12)
        np.testing.assert_allclose(info.value[:, member], alone.info.value, atol=1e-11)


def test_members_that_diverge_are_marked_and_harm_no_other():
    problem, access = support.random_problem(0), np.eye(4, dtype=bool)
    algorithm, hparams = build(problem, access, step=0.1, dual_step=0.1)
    broken = members_of(hparams, steps=np.array([0.05, 1e307, 0.4]))
    state, info, failed = swept(algorithm, broken, 20)
    healthy, healthy_info, _ = swept(algorithm, members_of(hparams), 20)
    assert failed[1] > 0 and failed[0] == failed[2] == -1
    for member in (0, 2):
        np.testing.assert_allclose(info.value[:, member], healthy_info.value[:, member], atol=1e-12)
        logits = healthy.federation.shared.logits[member]
        np.testing.assert_allclose(state.federation.shared.logits[member], logits, atol=1e-10)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_sweep_ends_when_every_member_has_failed():
    problem, access = support.random_problem(0), np.eye(4, dtype=bool)
    algorithm, hparams = build(problem, access, step=0.1, dual_step=0.1)
    broken = members_of(hparams, steps=np.full(3, 1e307))
    _, info, failed = swept(algorithm, broken, 500)
    assert (failed > 0).all() and len(info.value) < 100
