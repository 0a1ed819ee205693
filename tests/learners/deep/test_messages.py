"""What an aggregator gets to see, and what it never does."""

import jax
import numpy as np
import pytest

from fedjax_rl.algorithm import Aggregator
from fedjax_rl.federation.round import FederationSettings, federate
from fedjax_rl.ops.means import weighted_mean
from tests.learners.deep.harness import (
    LEARNERS,
    WORLDS,
    agent_at,
    agents_of,
    designed,
    federation,
    mixed_agents,
    run,
    settings,
)

pytestmark = pytest.mark.timeout(240)

AGENTS = 2


def names(tree):
    """The first two names on the way to each leaf."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return {tuple(getattr(key, "name", None) for key in path[:2]) for path in paths}


@pytest.mark.parametrize("rule", ["gradient", "crpo"])
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("scales", ["small", "none"])
def test_only_actor_and_critic_and_moments_are_merged(learner, rule, shares, scales):
    choices = {"share_critic": shares, "scale_observations": scales, "duals": rule}
    design = designed(WORLDS["two"], 2, **choices)
    seen, opinions = [], []

    def merge(messages, weights, state):
        seen.append(messages)
        return weighted_mean(messages, weights), state

    def opinion(values, weights):
        opinions.append(values)
        return weighted_mean(values, weights)

    made = LEARNERS[learner](design)
    exchanges = tuple(exchange._replace(merge=opinion) for exchange in made.exchanges)
    spying = Aggregator(lambda message, settings: (), merge)
    algorithm = federate(made._replace(exchanges=exchanges), spying, num_agents=AGENTS)
    hparams = FederationSettings(mixed_agents(), settings())
    state = jax.eval_shape(algorithm.init, jax.random.key(0), hparams)
    jax.eval_shape(algorithm.step, jax.random.key(0), 1, state, hparams)
    (messages,) = seen
    expected = {("actor", None)}
    expected |= {("critic", None)} if shares else set()
    if scales != "none":
        expected |= {("observations", field) for field in ("weight", "mean", "squares")}
    assert names(messages) == expected
    sent = jax.tree.map(lambda leaf: leaf.shape, (messages.actor, messages.critic))
    merged_parts = (state.shared.actor, state.shared.critic)
    assert sent == jax.tree.map(lambda leaf: (AGENTS, *leaf.shape), merged_parts)
    assert [opinion.shape for opinion in opinions] == [(AGENTS,)] * (rule == "crpo")


def test_multipliers_stay_apart():
    _, _, algorithm = federation("two", "ppo", 2, AGENTS)
    everything = agents_of(WORLDS["two"], np.ones((AGENTS, 2)))
    _, last, _ = run(algorithm, everything, 3)
    multipliers = np.asarray(last.local.duals.multipliers)
    assert (multipliers > 0).all() and (multipliers[0] != multipliers[1]).all()
    for leaf in jax.tree.leaves((last.local.cost_critic, last.local.optimizer.mu)):
        assert (np.asarray(leaf[0]) != np.asarray(leaf[1])).any()
    assert {("actor", None), ("critic", None)} == names(last.shared)


def test_a_silenced_agent_cannot_be_heard():
    """With agent 0's message replaced by zeros, agent 1 cannot tell agent 0's budgets."""

    def merge(messages, weights, state):
        silenced = jax.tree.map(lambda leaf: leaf.at[0].set(0.0), messages)
        return weighted_mean(silenced, weights), state

    learner = LEARNERS["ppo"](designed(WORLDS["two"], 2, epochs=1))
    algorithm = federate(
        learner, Aggregator(lambda message, settings: (), merge), num_agents=AGENTS
    )
    outcomes = []
    for factor in (1.0, 0.5):
        agents = mixed_agents()
        budgets = agents.budgets.copy()
        budgets[0] *= factor
        outcomes.append(run(algorithm, agents._replace(budgets=budgets), 3)[1])
    one, other = outcomes
    assert (one.local.duals.multipliers[0] != other.local.duals.multipliers[0]).all()
    jax.tree.map(np.testing.assert_array_equal, one.shared, other.shared)
    agent_1 = agent_at(one.local, 1), agent_at(other.local, 1)
    jax.tree.map(np.testing.assert_array_equal, *agent_1)
