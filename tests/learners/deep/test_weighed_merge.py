"""Agents that count in the merge by the normaliser of their objectives."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.federation.aggregate import parameter_mean
from fedjax_rl.learners.deep.advantages import Estimates
from fedjax_rl.learners.deep.merging import adopt, step_lengths
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


@pytest.mark.parametrize("scales", ["small", "all", "none"])
def test_the_merged_policy_is_the_mean_weighed_by_objective_scale(scales):
    design = designed(WORLDS["two"], 2, weigh_merge=True, scale_observations=scales)
    learner, hparams = LEARNERS["ppo"](design), settings()
    shared, local = learner.init(jax.random.key(0), agent_at(mixed_agents(), 0), hparams)
    other = shared._replace(actor=jax.tree.map(lambda leaf: leaf + 1.0, shared.actor))
    # S = 2 and s = 2: as long as a mean is.
    shared, other = (
        state._replace(lengths=jnp.array([2.0 / own, 0.5 / own, 0.5]))
        for state, own in ((shared, 0.5), (other, 1.5))
    )
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
    assert (merged.observations is not None) == (scales != "none")


def test_objective_scale_is_the_reward_weight_and_the_weighed_multipliers():
    """Where advantages are not standardised, that is all they are divided by."""
    design = designed(WORLDS["two"], 2, weigh_merge=True, duals="gradient", standardize=False)
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


def test_lengths_add_up_to_the_deviation_of_the_whole_lagrangian():
    """Three agents with the same reward advantages and independent costs of their own.

    s is that of A_r − Σ_i λ_i A_ci, formed from all of them, and S the sum of their own; the costs
    of different agents are uncorrelated in so many samples but for their sampling error.
    """
    rng = np.random.default_rng(1)
    reward = rng.normal(size=(100, 200))
    costs = [0.5 * reward + rng.normal(size=reward.shape) for _ in range(3)]
    multipliers = (0.4, 1.0, 2.0)
    sent, scales = [], []
    for cost, multiplier in zip(costs, multipliers, strict=True):
        weights = np.float32([1 / 3, multiplier])
        advantages = jnp.asarray(np.stack([reward, cost], -1), jnp.float32)
        scale = jnp.float32((reward / 3 - multiplier * cost).std())
        agent = SimpleNamespace(reward_weight=jnp.float32(1 / 3))
        sent.append(step_lengths(Estimates(advantages, None), weights, scale, agent))
        scales.append(float(scale))
    total, inverse, share = np.average(np.stack(sent), axis=0, weights=scales)
    np.testing.assert_allclose(1 / inverse, sum(scales), rtol=1e-5)
    np.testing.assert_allclose(share, 1 / 3, rtol=1e-6)
    costs_together = sum(m * cost for m, cost in zip(multipliers, costs, strict=True))
    # Costs correlate through the reward, and nobody knows: that much of the variance is missing.
    missing = (
        sum(
            (0.5 * first) * (0.5 * second)
            for index, first in enumerate(multipliers)
            for other, second in enumerate(multipliers)
            if index != other
        )
        * reward.var()
    )
    np.testing.assert_allclose(
        total / inverse, (reward - costs_together).var() - missing, rtol=0.02
    )


@pytest.mark.parametrize("square, factor", [(1.0, 3.0), (9.0, 1.0), (36.0, 1.0), (-1.0, 5.0)])
def test_a_merged_step_is_made_as_long_as_one_on_the_whole_lagrangian(square, factor):
    """S = 3 of five agents: longer by S/s, never shorter than the mean, and at most N times."""
    design = designed(WORLDS["two"], 2, weigh_merge=True)
    shared, _ = LEARNERS["ppo"](design).init(
        jax.random.key(0), agent_at(mixed_agents(), 0), settings()
    )
    moved = jax.tree.map(lambda leaf: leaf + 1.0, shared)
    merged = moved._replace(lengths=jnp.array([square / 3.0, 1.0 / 3.0, 0.2]))
    adopted = adopt(shared, merged, settings())
    for name, expected in (("actor", factor), ("critic", 1.0)):
        before, after = getattr(shared, name), getattr(adopted, name)
        steps = jax.tree.map(lambda old, new: np.asarray(new - old), before, after)
        for step in jax.tree.leaves(steps):
            np.testing.assert_allclose(step, expected, rtol=1e-4)
    np.testing.assert_array_equal(adopted.lengths, 0)


@pytest.mark.parametrize("choices", [{"weigh_merge": False}, {"standardize": False}])
def test_no_length_is_sent_where_steps_have_none(choices):
    design = designed(WORLDS["two"], 2, **{"weigh_merge": True} | choices)
    shared, _ = LEARNERS["ppo"](design).init(
        jax.random.key(0), agent_at(mixed_agents(), 0), settings()
    )
    assert shared.lengths is None
