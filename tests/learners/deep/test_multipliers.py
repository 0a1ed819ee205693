"""When multipliers move, how far, and which never do."""

import jax
import numpy as np
import pytest

from fedjax_rl.learners.deep.reward_range import sizes
from tests.learners.deep.by_hand import Duals
from tests.learners.deep.harness import WORLDS, agents_of, federation, run, settings

pytestmark = pytest.mark.timeout(240)

ROUNDS, FIRST_ENDED = 5, 3
"""The limit of 50 steps is first met in the fourth rollout of 16 steps."""
ACCESS = [[1, 1, 0], [0, 0, 1]]
EPISODE, STEP, DISCOUNTED = (0, 0), (0, 1), (1, 0)
PADDING = (1, 1)


def history(rule, **duals):
    _, _, algorithm = federation("endless", "ppo", 2, 2, duals=rule, epochs=1)
    agents = agents_of(WORLDS["endless"], ACCESS)
    _, state, info = run(algorithm, agents, ROUNDS, duals=duals)
    np.testing.assert_array_equal(state.local.duals.multipliers, info.multipliers[-1, :, 0])
    assert state.local.satisfied is None and state.local.all_satisfied is None
    return state, info, info.multipliers[:, :, 0]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["gradient", "pid"])
def test_a_cost_per_episode_waits_for_an_episode_and_a_cost_per_step_does_not(rule):
    _, info, multipliers = history(rule)
    ended = info.episodes[:, 0, 0]
    assert (ended[:FIRST_ENDED] == 0).all() and ended[FIRST_ENDED] > 0
    for owner, slot in (EPISODE, DISCOUNTED):
        assert (multipliers[:FIRST_ENDED, owner, slot] == 0).all()
        assert multipliers[FIRST_ENDED, owner, slot] > 0
    assert multipliers[0, *STEP] > 0


@pytest.mark.parametrize("rule", ["gradient", "pid"])
def test_a_round_without_episodes_leaves_the_multiplier_and_its_controller(rule):
    state, info, multipliers = history(rule)
    assert info.episodes[FIRST_ENDED + 1, 0, 0] == 0
    for owner, slot in (EPISODE, DISCOUNTED):
        assert multipliers[FIRST_ENDED + 1, owner, slot] == multipliers[FIRST_ENDED, owner, slot]
    controller = Duals(rule, 2, settings().duals)
    budgets = WORLDS["endless"].budgets[:2]
    for round in range(ROUNDS):
        episodes = info.episodes[round, 0, 0]
        per_episode = info.episode_sums[round, 0, 0, 1] / max(episodes, 1)
        costs = [per_episode, info.step_costs[round, 0, 0, 1]]
        controller.step(costs, [episodes > 0, True], budgets, settings().margin)
        np.testing.assert_allclose(multipliers[round, 0], controller.multipliers, rtol=1e-5)
    if rule == "pid":
        np.testing.assert_allclose(state.local.duals.integral[0], controller.integral, rtol=1e-5)


@pytest.mark.parametrize("rule", ["gradient", "pid"])
def test_the_cap_holds_and_padding_stays_zero(rule):
    cap = 0.25
    _, _, multipliers = history(rule, cap=cap)
    assert multipliers.max() == cap and multipliers.min() == 0
    assert multipliers[-1, *STEP] == multipliers[-1, *EPISODE] == cap
    assert (multipliers[(slice(None), *PADDING)] == 0).all()
    _, _, free = history(rule)
    assert free.max() > cap and (free[(slice(None), *PADDING)] == 0).all()


@pytest.mark.parametrize("rule", ["gradient", "pid"])
def test_an_automatic_cap_grows_with_the_reward(rule):
    """The same floor binds where returns are small and does not where they are large."""
    floor, scale = 0.25, 0.5
    state, info, multipliers = history(rule, cap=floor, cap_in_returns=scale)
    reached = jax.vmap(sizes)(state.local.rewards, agents_of(WORLDS["endless"], ACCESS))
    assert reached.min() > 0.1
    budgets = {EPISODE: 400.0, STEP: 0.2, DISCOUNTED: 1.5}
    for (agent, slot), budget in budgets.items():
        largest = max(floor, scale * float(reached[agent, slot]) / budget)
        assert multipliers[-1, agent, slot] <= np.float32(largest) * (1 + 1e-6)
    assert multipliers[-1, *EPISODE] == floor, "400 of budget against returns of a few"
    assert multipliers[-1, *STEP] > floor
    assert info.at_cap[-1, 0, 0] >= 1
