"""Agents that count in the merge by the normaliser of their objectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.ops.means import weighted_sum
from tests.learners.deep.harness import (
    LEARNERS,
    TIME,
    WORLDS,
    agent_at,
    designed,
    mixed_agents,
    settings,
)

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("normalizes", [True, False])
def test_the_merged_policy_is_the_mean_weighed_by_objective_scale(normalizes):
    design = designed(WORLDS["two"], 2, weigh_merge=True, normalize_observations=normalizes)
    learner, hparams = LEARNERS["ppo"](design), settings()
    shared, local = learner.init(jax.random.key(0), agent_at(mixed_agents(), 0), hparams)
    other = shared._replace(actor=jax.tree.map(lambda leaf: leaf + 1.0, shared.actor))
    agents = [
        local._replace(objective_scale=jnp.float32(objective_scale))
        for objective_scale in (0.5, 1.5)
    ]
    pairs = list(zip((shared, other), agents, strict=True))
    weights = jnp.stack([learner.weight(*pair) for pair in pairs])
    messages = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *[learner.message(one) for one, _ in pairs]
    )
    mean, _ = parameter_mean().merge(*weighted_sum(messages, weights), ())
    merged = learner.adopt(shared, mean, hparams)
    expected = jax.tree.map(lambda leaf: leaf + 0.75, shared.actor)
    for got, wanted in zip(jax.tree.leaves(merged.actor), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert (merged.observations is not None) == normalizes


def test_objective_scale_is_the_reward_weight_and_the_weighed_multipliers():
    design = designed(WORLDS["two"], 2, weigh_merge=True, duals="gradient")
    learner, hparams, agent = LEARNERS["ppo"](design), settings(), agent_at(mixed_agents(), 0)
    shared, local = learner.init(jax.random.key(0), agent, hparams)
    raised = local.duals._replace(multipliers=jnp.array([2.0, 3.0]))
    still = hparams._replace(duals=hparams.duals._replace(step_size=jnp.float32(0.0)))
    _, after, _ = learner.step(
        jax.random.key(1), TIME, shared, local._replace(duals=raised), agent, still
    )
    expected = agent.reward_weight + np.sum(agent.weights * after.duals.multipliers)
    np.testing.assert_allclose(after.objective_scale, expected, rtol=1e-6)
    assert after.objective_scale > 2.0
