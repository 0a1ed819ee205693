"""What multiplicative multipliers are told: the range of rewards, and what all costs take."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.learners.deep import reward_range
from fedjax_rl.learners.deep.multipliers import PENALTY, own_penalty
from fedjax_rl.learners.deep.pace import PACES, adapted, rates_of
from fedjax_rl.ops.duals import no_multipliers
from tests.learners.deep.harness import (
    LEARNERS,
    TIME,
    WORLDS,
    agent_at,
    agents_of,
    designed,
    mixed_agents,
    run,
    settings,
)
from tests.learners.deep.harness import federation as federated

pytestmark = pytest.mark.timeout(240)


DISCOUNT = jnp.float32(0.5)


def rollout(episodes, total, rewards=((0.0,),), ended=((False,),)):
    """What a rollout says of the reward: how many episodes ended, the sum of their returns, and
    rewards and ends [T, B] of its steps."""
    return SimpleNamespace(
        episodes=jnp.int32(episodes),
        episode_sums=jnp.array([total, 0.0]),
        signals=jnp.array(rewards)[..., None],
        terminated=jnp.array(ended),
        truncated=jnp.zeros_like(jnp.array(ended)),
    )


def seen(*rollouts):
    """The range after rollouts of (episodes, sum of returns, return of a step, deviation).

    A reward of half a return that goes on for ever is worth it at γ = ½.
    """
    rewards = reward_range.no_rewards()
    for episodes, total, mean, deviation in rollouts:
        targets = jnp.array([[mean - deviation, mean + deviation]])
        one = rollout(episodes, total, ((mean / 2.0,),))
        rewards = reward_range.updated(rewards, one, targets, DISCOUNT)
    return rewards


def test_what_was_gained_lately_is_a_share_of_the_range():
    """Returns 0, 100, 100, …: smoothed 50, 75, …; a tenth of the way at a time behind it."""
    rewards = seen((1, 0.0, 0.0, 0.1), (1, 100.0, 0.0, 0.1))
    np.testing.assert_allclose(reward_range.climb(rewards), [(50.0 - 5.0) / 50.0, 0.0], rtol=1e-6)
    rewards = seen(*[(1, 0.0, 0.0, 0.1), *[(1, 100.0, 0.0, 0.1)] * 60])
    assert float(reward_range.climb(rewards)[0]) < 0.01


def test_a_return_counts_rewards_seen_and_goes_on_at_their_mean():
    """Of two environments: 1, 2 | 4 with an end after the second step, and 0, 8, 0.

    What the rollout cuts goes on at 15/6 a step, worth 15/6 / (1 − ½) = 5.
    """
    rewards, ended = (
        ((1.0, 0.0), (2.0, 8.0), (4.0, 0.0)),
        ((False,) * 2, (True, False), (False,) * 2),
    )
    one = rollout(1, 3.0, rewards, ended)
    got = reward_range.updated(reward_range.no_rewards(), one, jnp.full((3, 2), 1e6), DISCOUNT)
    # 1 + 2/2, 2, 4 + 5/2; 0 + 9.25/2, 8 + 2.5/2, 0 + 5/2: whatever critics expect.
    returns = (2.0, 2.0, 6.5, 4.625, 9.25, 2.5)
    np.testing.assert_allclose(got.smoothed[1], np.mean(returns), rtol=1e-6)
    none = reward_range.updated(
        reward_range.no_rewards(), one, jnp.zeros((3, 2)), DISCOUNT, discounted=False
    )
    assert none.smoothed.tolist() == [3.0, 0.0], "no cost compares to it, and none is counted"


def test_returns_are_smoothed_and_their_least_and_best_are_kept():
    rewards = seen((2, 20.0, 1.0, 0.5), (0, 0.0, 3.0, 0.5), (1, 50.0, 2.0, 0.25))
    np.testing.assert_allclose(rewards.smoothed, [30.0, 2.0])  # (10 + 50)/2; ((1 + 3)/2 + 2)/2
    np.testing.assert_allclose(rewards.least, [10.0, 1.0])
    np.testing.assert_allclose(rewards.best, [30.0, 2.0])
    np.testing.assert_allclose(rewards.spread, 0.25)


def test_without_an_episode_there_is_no_return_of_one():
    rewards = seen((0, 0.0, 1.0, 0.5))
    assert rewards.seen.tolist() == [False, True]
    first = reward_range.updated(rewards, rollout(1, -7.0), jnp.zeros((1, 2)), DISCOUNT)
    assert float(first.least[0]) == float(first.best[0]) == -7.0


def test_costs_per_episode_compare_to_returns_of_episodes_and_others_to_those_of_steps():
    """World "three" has a budget per episode, one per step and a discounted one: 4, 0.2 and 2."""
    agent = agent_at(agents_of(WORLDS["three"], [[1, 1, 1]]), 0)
    rewards = seen((1, 10.0, 1.0, 0.1), (1, 50.0, 5.0, 0.1), (1, 30.0, 3.0, 0.1))
    worth = reward_range.worth_of(rewards, agent, jnp.float32(0.25))
    np.testing.assert_allclose(worth.unit, [20 / 4, 2 / 0.2, 2 / 2], rtol=1e-6)
    np.testing.assert_allclose(worth.reward_range, [20.0, 2.0, 2.0])
    np.testing.assert_allclose(worth.weights, 1.0)
    assert float(worth.others) == 0.25


def test_the_least_multiplier_falls_with_the_reward_and_the_range_stays():
    agent = agent_at(agents_of(WORLDS["three"], [[1, 1, 1]]), 0)
    one_lost_it = seen((1, 0.0, 0.0, 0.1), (1, 64.0, 0.0, 0.1), *[(1, 0.0, 0.0, 0.1)] * 5)
    worth = reward_range.worth_of(one_lost_it, agent, jnp.float32(0.0))
    assert float(worth.reward_range[0]) == 32.0
    np.testing.assert_allclose(worth.unit[0], 1.0 / 4.0)  # 32 · 0.5⁵ of a budget of 4


def test_at_least_what_one_rollout_tells_apart_was_gained():
    agent = agent_at(agents_of(WORLDS["three"], [[1, 1, 1]]), 0)
    worth = reward_range.worth_of(seen((1, 10.0, 1.0, 3.0)), agent, jnp.float32(0.0))
    np.testing.assert_allclose(worth.reward_range, 3.0)
    np.testing.assert_allclose(worth.unit * np.array([4, 0.2, 2]), 0.3, rtol=1e-5)


def penalised():
    """Two agents of world "two", with multipliers and costs as if they had acted."""
    agents = mixed_agents()
    learner = LEARNERS["ppo"](designed(WORLDS["two"], 2, duals="multiplicative"))
    locals_ = []
    for index, multipliers in enumerate(([0.5, 2.0], [1.0, 0.0])):
        _, local = learner.init(jax.random.key(index), agent_at(agents, index), settings())
        duals = no_multipliers(2)._replace(
            multipliers=jnp.array(multipliers), smoothed=jnp.array([3.0, 0.4])
        )
        rewards = seen((1, 0.0, 0.0, 0.1), (1, 40.0, 4.0, 0.1))
        locals_.append(local._replace(duals=duals, rewards=rewards))
    return agents, locals_


def test_each_agent_says_what_its_costs_take_and_learns_the_sum():
    agents, locals_ = penalised()
    own, sent = [], []
    for index, local in enumerate(locals_):
        agent = agent_at(agents, index)
        value, kept = PENALTY.send(jax.random.key(0), TIME, None, local, agent, settings())
        assert value.shape == ()
        sent.append(float(value))
        own.append(float(own_penalty(local, agent)))
        assert float(kept) == own[-1] > 0
    total = np.mean(sent)  # a plain mean is what merges them
    np.testing.assert_allclose(total, sum(own), rtol=1e-6)
    for index, local in enumerate(locals_):
        others = PENALTY.receive(local, jnp.float32(own[index]), jnp.float32(total)).others
        np.testing.assert_allclose(others, sum(own) - own[index], rtol=1e-5)


def test_the_penalty_is_that_of_watched_costs_in_gained_reward():
    """Agent 0: ½ · ½ · 3 / 20 + w · 2 · 0.4 / 2, with the weights of both constraints."""
    agents, (local, _) = penalised()
    agent = agent_at(agents, 0)
    weights = np.where(agent.watches, agent.weights, 0)
    expected = weights[0] * 0.5 * 3.0 / 20.0 + weights[1] * 2.0 * 0.4 / 2.0
    np.testing.assert_allclose(own_penalty(local, agent), expected, rtol=1e-6)
    unseen = agent._replace(watches=np.zeros_like(agent.watches))
    assert float(own_penalty(local, unseen)) == 0


@pytest.mark.parametrize("learner", ["ppo", "natural"])
def test_a_round_tells_every_agent_what_the_others_paid_before_it(learner):
    """As much as their states say: nothing else of multipliers or costs crosses."""
    algorithm = federated("two", learner, 2, 2, duals="multiplicative", epochs=1)[2]
    agents = mixed_agents()
    _, before, _ = run(algorithm, agents, 2)
    _, after, _ = run(algorithm, agents, 3)
    paid = [
        float(
            own_penalty(jax.tree.map(lambda leaf, i=i: leaf[i], before.local), agent_at(agents, i))
        )
        for i in range(2)
    ]
    assert min(paid) > 0
    np.testing.assert_allclose(after.local.others, paid[::-1], rtol=1e-4)


@pytest.mark.parametrize(
    ("pace", "kl", "expected"),
    [
        (1.0, 0.01, 1.0),
        (1.0, 0.0144, 1 / 1.2),
        (1.0, 0.0064, 1.25),
        (1.0, 0.0, 1.5),
        (1.0, 9.0, 1 / 1.5),
        (PACES[1], 0.0, PACES[1]),
        (PACES[0], 9.0, PACES[0]),
    ],
)
def test_the_pace_follows_the_root_of_the_divergence(pace, kl, expected):
    hparams = settings(kl_target=0.01)
    np.testing.assert_allclose(adapted(jnp.float32(pace), jnp.float32(kl), hparams), expected, 1e-5)


def test_the_pace_is_the_policys_alone():
    local = SimpleNamespace(updates=jnp.int32(5), pace=jnp.float32(0.5))
    rates = rates_of(local, settings(learning_rate=1e-2, learning_rate_decay=0.5))
    np.testing.assert_allclose(rates.critics, 1e-2 * (1 - 0.5 * 5 / 20), rtol=1e-6)
    np.testing.assert_allclose(rates.policy, 0.5 * rates.critics, rtol=1e-6)
    fixed = rates_of(SimpleNamespace(updates=jnp.int32(0), pace=None), settings())
    assert float(fixed.policy) == float(fixed.critics)


@pytest.mark.parametrize(("learner", "adapts"), [("ppo", True), ("natural", False)])
def test_the_pace_moves_where_a_radius_does_not_say_how_far_a_step_goes(learner, adapts):
    algorithm = federated("two", learner, 2, 2, epochs=1, adapts_pace=True)[2]
    _, state, info = run(algorithm, mixed_agents(), 2, kl_target=1e-6)
    if not adapts:
        assert state.local.pace is None
        return
    kls = np.asarray(info.improvement.kl)[:, :, 0]
    assert (kls > 0).all()
    factors = np.clip(np.sqrt(1e-6 / kls), 1 / 1.5, 1.5)
    np.testing.assert_allclose(state.local.pace, factors.prod(0), rtol=1e-4)
