"""What ends a return and what does not, worked out by hand for each kind of budget."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_rl.learners.deep.advantages import Values, estimate, estimate_costs
from fedjax_rl.learners.deep.rollout import begin, collect
from tests.learners.deep.harness import agent_at, agents_of, designed, settings, strip

pytestmark = pytest.mark.timeout(120)

LIMIT, STEPS = 4, 6
"""Walker 0 rests and is cut after 4 steps; walker 1 strides to the goal in 3 steps, twice."""
KINDS = ("episode", "step", "discounted")
NOW, LAST, FINAL = 3.0, 6.0, 8.0
"""What every critic says, of every observation before a step, after the last, and at a limit."""
WHOLE = {"gae_decay": 1.0, "cost_gae_decay": 1.0}


def act(observations, noise):
    return jnp.zeros((2, 2)), jnp.array([0, 1], jnp.int32)


def seen(watched, steps=STEPS):
    """A rollout of both walkers, values, and an agent with one budget of each watched kind."""
    # Costs 0, 2, 4 are positions, as the even ones are.
    task = strip("episode", "episode", "step", "episode", "discounted", max_steps_in_episode=LIMIT)
    access = np.zeros((1, 5))
    access[0, [2 * KINDS.index(kind) for kind in watched]] = 1
    agent = agent_at(agents_of(task, access), 0)
    design = designed(task, len(watched), envs=2, rollout=steps, minibatches=1)
    environments = begin(jax.random.key(0), task.params, design)
    rollout, _ = collect(jax.random.key(0), act, environments, task.params, design)
    signals = 1 + len(watched)
    cuts = rollout.final.shape[0]
    values = Values(
        jnp.full((steps, 2, signals), NOW),
        jnp.full((2, signals), LAST),
        jnp.full((cuts, 2, signals), FINAL),
    )
    return rollout, values, agent, design


def backwards(step_values, discount, after):
    """Discounted sums from each step on; ``after`` is what follows the last."""
    sums = []
    for value in reversed(step_values):
        after = value + discount * after
        sums.append(after)
    return sums[::-1]


def test_targets_of_whole_returns_by_hand():
    """λ = 1: a target is the sum to the end of the episode, plus what the kind lets follow."""
    rollout, values, agent, _ = seen(KINDS)
    targets = np.asarray(estimate(rollout, values, agent, settings(**WHOLE)).targets)
    reward, episode, step, discounted = np.moveaxis(targets, -1, 0)
    # Walker 0 rests at place 0: reward 1 and cost 1 a step, cut after step 3, goes on after step 5.
    np.testing.assert_allclose(
        reward[:, 0], backwards([1] * 4, 0.9, FINAL) + backwards([1] * 2, 0.9, LAST), rtol=1e-6
    )
    np.testing.assert_allclose(episode[:, 0], [4, 3, 2, 1, 2 + LAST, 1 + LAST], rtol=1e-6)
    # A cost per step is scaled by 1 − γ = 1/2: a value of 8 at the limit stands for a mean of 8.
    np.testing.assert_allclose(
        step[:, 0], backwards([0.5] * 4, 0.5, FINAL) + backwards([0.5] * 2, 0.5, LAST), rtol=1e-6
    )
    np.testing.assert_allclose(discounted[:, 0], [2.375, 2.75, 3.5, 5.0, 3.0, 4.0], rtol=1e-6)
    # Walker 1: rewards 2, 3, 4 and costs 1, 2, 3, then the goal, behind which nothing follows.
    np.testing.assert_allclose(reward[:, 1], 2 * backwards([2, 3, 4], 0.9, 0), rtol=1e-6)
    np.testing.assert_allclose(episode[:, 1], [6, 5, 3] * 2, rtol=1e-6)
    np.testing.assert_allclose(step[:, 1], [1.375, 1.75, 1.5] * 2, rtol=1e-6)
    np.testing.assert_allclose(discounted[:, 1], [2.75, 3.5, 3.0] * 2, rtol=1e-6)


def test_single_step_targets_by_hand():
    """λ = 0: a target is one signal and the value of what follows."""
    rollout, values, agent, _ = seen(KINDS)
    once = settings(gae_decay=0.0, cost_gae_decay=0.0)
    estimates = estimate(rollout, values, agent, once)
    targets = np.asarray(estimates.targets)
    np.testing.assert_allclose(targets - np.asarray(estimates.advantages), NOW, rtol=1e-6)
    reward, episode, step, discounted = np.moveaxis(targets, -1, 0)
    ahead = np.array([NOW, NOW, NOW, FINAL, NOW, LAST])
    np.testing.assert_allclose(reward[:, 0], 1 + 0.9 * ahead, rtol=1e-6)
    np.testing.assert_allclose(episode[:, 0], 1 + np.where(ahead == FINAL, 0, ahead), rtol=1e-6)
    np.testing.assert_allclose(step[:, 0], 0.5 + 0.5 * ahead, rtol=1e-6)
    np.testing.assert_allclose(discounted[:, 0], 1 + 0.5 * ahead, rtol=1e-6)
    ahead = np.array([NOW, NOW, 0] * 2)
    np.testing.assert_allclose(reward[:, 1], np.array([2, 3, 4] * 2) + 0.9 * ahead, rtol=1e-6)
    np.testing.assert_allclose(step[:, 1], np.array([0.5, 1, 1.5] * 2) + 0.5 * ahead, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_decays_of_reward_and_costs_are_their_own(kind):
    rollout, values, agent, _ = seen((kind,))
    whole = estimate(rollout, values, agent, settings(**WHOLE)).targets
    reward_only = estimate(
        rollout, values, agent, settings(gae_decay=1.0, cost_gae_decay=0.0)
    ).targets
    np.testing.assert_array_equal(reward_only[..., 0], whole[..., 0])
    assert not np.allclose(reward_only[..., 1], whole[..., 1])


def test_two_cuts_have_a_final_value_each():
    rollout, _, agent, _ = seen(("discounted",), steps=8)
    final = jnp.array([[[10.0, 10.0]] * 2, [[20.0, 20.0]] * 2])
    values = Values(jnp.zeros((8, 2, 2)), jnp.zeros((2, 2)), final)
    targets = np.asarray(estimate(rollout, values, agent, settings(**WHOLE)).targets)[..., 0]
    np.testing.assert_allclose(
        targets[:, 0], backwards([1] * 4, 0.9, 10.0) + backwards([1] * 4, 0.9, 20.0), rtol=1e-6
    )


def test_measured_costs_by_hand():
    rollout, values, agent, design = seen(KINDS)
    cost_estimate = estimate_costs(rollout, values, agent, design)
    assert rollout.episodes == 3 and cost_estimate.known.all()
    cut = 1 + 0.5 + 0.25 + 0.125 + 0.5**LIMIT * FINAL
    reached = 1 + 0.5 * 2 + 0.25 * 3
    expected = [(4 + 6 + 6) / 3, (6 * 1 + 2 * 6) / 12, (cut + 2 * reached) / 3]
    np.testing.assert_allclose(cost_estimate.value, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("watched", "known"), [(KINDS, [False, True, False]), (("discounted",), [False])]
)
def test_before_an_episode_ends_only_a_cost_per_step_is_known(watched, known):
    rollout, values, agent, design = seen(watched, steps=2)
    cost_estimate = estimate_costs(rollout, values, agent, design)
    assert rollout.episodes == 0
    assert cost_estimate.known.tolist() == known
    assert np.isfinite(cost_estimate.value).all()


def test_an_episode_cut_in_the_second_rollout_is_measured_whole():
    """Its first steps were counted in the rollout before."""
    rollout, values, agent, design = seen(("episode", "discounted"), steps=3)
    environments = begin(jax.random.key(0), design.task.params, design)
    _, environments = collect(jax.random.key(0), act, environments, design.task.params, design)
    rollout, _ = collect(jax.random.key(1), act, environments, design.task.params, design)
    cost_estimate = estimate_costs(rollout, values, agent, design)
    assert rollout.episodes == 2
    cut = 1 + 0.5 + 0.25 + 0.125 + 0.5**LIMIT * FINAL
    np.testing.assert_allclose(cost_estimate.value, [(4 + 6) / 2, (cut + 2.75) / 2], rtol=1e-6)
