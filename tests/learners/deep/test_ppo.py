"""FedPPO of one agent is PPO-Lagrangian, and without multipliers it is PPO."""

import numpy as np
import pytest

from tests.learners.deep.by_hand import train_by_hand
from tests.learners.deep.harness import (
    STRIDES,
    WORLDS,
    agent_at,
    agents_of,
    close,
    federation,
    mixed_agents,
    moved,
    run,
    settings,
    step_key,
)

pytestmark = pytest.mark.timeout(240)

ROUNDS = 3
VARIANTS = {
    "unclipped-gradient": {"duals": "gradient", "cost_surrogate": "unclipped"},
    "clipped-pid": {"duals": "pid", "cost_surrogate": "clipped", "scale_returns": False},
    "unclipped-pid": {
        "duals": "pid",
        "cost_surrogate": "unclipped",
        "kl_stop": True,
        "epochs": 3,
        "world": "slope",
    },
    "multiplicative": {
        "duals": "multiplicative",
        "cost_surrogate": "unclipped",
        "adapts_pace": True,
        "scale_observations": "small",
    },
    "clipped-gradient": {
        "duals": "gradient",
        "cost_surrogate": "clipped",
        "standardize": False,
        "scale_observations": "all",
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_agent_with_every_constraint_is_ppo_lagrangian_by_hand(variant):
    choices = dict(VARIANTS[variant])
    world = choices.pop("world", "three")
    design, _, algorithm = federation(world, "ppo", 3, 1, **choices)
    agents = agents_of(WORLDS[world], np.ones((1, 3)))
    first, last, info = run(algorithm, agents, ROUNDS)
    keys = [step_key(0, round, agent=0) for round in range(1, ROUNDS + 1)]
    mine = agent_at(first.local, 0)
    expected = train_by_hand(
        design, settings(), first.shared, mine, agent_at(agents.params, 0), keys
    )
    actor, critic, cost_critic = expected.networks
    close(last.shared.actor, actor)
    close(last.shared.critic, critic)
    close(agent_at(last.local.cost_critic, 0), cost_critic)
    np.testing.assert_allclose(info.multipliers[:, 0, 0], expected.history, rtol=1e-5, atol=1e-6)
    assert (expected.history[-1] > 0).all(), "every constraint must have mattered"
    assert moved(first.shared.actor, last.shared.actor) > 0.02
    assert (expected.stopped > 0) == design.choices.kl_stop, "the stop must have been met"


@pytest.mark.slow
def test_without_multipliers_it_is_ppo_without_constraints():
    _, _, watching = federation("two", "ppo", 2, 2)
    _, _, plain = federation("two", "ppo", 0, 2)
    blind = agents_of(WORLDS["two"], np.zeros((2, 2)), STRIDES)
    first, one, _ = run(watching, mixed_agents(), ROUNDS, duals={"step_size": 0.0})
    _, other, _ = run(plain, blind, ROUNDS)
    assert other.local.cost_critic is None and other.local.duals.multipliers.shape == (2, 0)
    close(one.shared, other.shared)
    assert moved(first.shared.actor, one.shared.actor) > 0.01
    _, raised, _ = run(watching, mixed_agents(), ROUNDS)
    assert moved(raised.shared.actor, one.shared.actor) > 0.001, "multipliers must matter"
