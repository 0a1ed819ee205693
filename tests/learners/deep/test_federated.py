"""Agents mapped together are agents one after the other, and equal ones are one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.learners.deep.rollout import collect
from tests.learners.deep.harness import (
    TIME,
    WORLDS,
    agent_at,
    agents_of,
    close,
    federation,
    mixed_agents,
    moved,
    run,
    settings,
    single_step,
    step_key,
)

pytestmark = pytest.mark.timeout(240)

ROUNDS, AGENTS = 3, 2
NORMALIZED = {"scale_observations": "all", "share_critic": False}
CASES = [
    ("ppo", 1, {}),
    ("ppo", 2, NORMALIZED),
    ("natural", 1, {}),
    ("natural", 1, NORMALIZED),
]


def averaged(messages):
    """The plain mean of a list of messages."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.mean(leaves, axis=0)), *messages)


@pytest.mark.parametrize(("learner", "local_steps", "choices"), CASES)
def test_vmapped_agents_equal_a_python_loop(learner, local_steps, choices):
    design, made, algorithm = federation("two", learner, 2, AGENTS, local_steps, **choices)
    step = single_step(learner, local_steps, **choices)
    agents = mixed_agents()
    first, last, info = run(algorithm, agents, ROUNDS)
    shared, locals_ = first.shared, [agent_at(first.local, agent) for agent in range(AGENTS)]
    seen = []
    for round in range(1, ROUNDS + 1):
        messages = []
        for agent in range(AGENTS):
            mine, own = shared, agent_at(agents, agent)
            for local_step in range(local_steps):
                key = step_key(0, round, agent, local_step, local_steps)
                if choices:
                    seen.append(observed(design, key, mine, locals_[agent], own))
                mine, locals_[agent], own_info = step(
                    key, TIME, mine, locals_[agent], own, settings()
                )
                close(agent_at(info, (round - 1, agent, local_step)), own_info, 1e-5, 1e-5)
            messages.append(made.message(mine))
        merged = averaged(messages)
        shared = made.adopt(shared, merged, settings())
    close(last.shared, shared)
    for agent in range(AGENTS):
        close(agent_at(last.local, agent), locals_[agent])
    assert moved(first.shared.actor, last.shared.actor) > 0.01
    assert (info.multipliers[-1, :, -1, 0] > 0).all() and (info.multipliers[:, 1, :, 1] == 0).all()
    if choices:
        pooled_by_hand(last.shared.observations, seen)


def observed(design, key, shared, local, agent):
    """The observations that the agent is about to learn from."""

    def act(observations, noise):
        centred = observations - shared.observations.mean
        spread = jnp.sqrt(shared.observations.squares / shared.observations.weight)
        parameters = design.actor.apply(shared.actor, centred / spread)
        return parameters, design.distribution.sample(parameters, noise)

    key_rollout, _ = jax.random.split(key)
    rollout, _ = collect(key_rollout, act, local.environments, agent.params, design)
    return np.asarray(rollout.observations, np.float64).reshape(-1, design.features)


def pooled_by_hand(moments, seen):
    """Merged moments are those of everybody's rollouts, and of a pseudo sample for each agent."""
    everything = np.concatenate([np.zeros((AGENTS, 2)), *seen])
    mean = everything.mean(0)
    squares = AGENTS + ((everything - mean) ** 2).sum(0)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(moments.squares / moments.weight, squares / len(everything), 1e-5)
    assert moments.weight == pytest.approx(len(everything) / AGENTS)


@pytest.mark.slow
def test_equal_agents_with_equal_keys_stay_one_agent():
    _, made, _ = federation("two", "ppo", 2, AGENTS)
    copies = 3
    agents = agents_of(WORLDS["two"], np.ones((copies, 2)))
    np.testing.assert_allclose(agents.weights, 1 / 3, rtol=1e-6)
    alone = agent_at(agents_of(WORLDS["two"], np.ones((1, 2))), 0)
    together = jax.jit(jax.vmap(made.step, in_axes=(None, None, None, 0, 0, None)))
    step = single_step("ppo")
    shared, local = made.init(jax.random.key(0), alone, settings())
    start, merged = shared, shared
    several = jax.tree.map(lambda leaf: jnp.stack([leaf] * copies), local)
    for round in range(ROUNDS):
        key = jax.random.key(round)
        shares, several, _ = together(key, TIME, merged, several, agents, settings())
        merged = averaged([made.message(agent_at(shares, agent)) for agent in range(copies)])
        for agent in range(1, copies):
            jax.tree.map(
                lambda leaf, agent=agent: np.testing.assert_array_equal(leaf[agent], leaf[0]),
                (shares.actor, shares.critic, several.duals, several.cost_critic),
            )
        shared, local, _ = step(key, TIME, shared, local, alone, settings())
        close(merged, made.message(shared))
        close(agent_at(several.duals, 0), local.duals)
    assert moved(start.actor, shared.actor) > 0.01
    assert (local.duals.multipliers > 0).all(), "the weights of the multipliers must matter"
