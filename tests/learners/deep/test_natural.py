"""The natural step is the one of an explicit Fisher matrix, within its trust region."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fedjax_rl.learners.deep.advantages import Values, estimate
from fedjax_rl.learners.deep.natural import natural
from fedjax_rl.learners.deep.rollout import collect
from fedjax_rl.learners.deep.trust_region import line_search
from fedjax_rl.ops.conjugate_gradient import conjugate_gradient
from tests.learners.deep.harness import (
    TIME,
    agent_at,
    agents_of,
    designed,
    federation,
    mixed_agents,
    settings,
    single_step,
    strip,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KEY = jax.random.key(5)


@functools.cache
def made():
    """An agent with a multiplier, a learner with enough conjugate steps, and where it starts."""
    task = strip("episode", budgets=(1.0,), max_steps_in_episode=5, spread=0.9)
    design = designed(task, 1, hidden=(4,), conjugate_steps=60, duals="gradient", epochs=1)
    agent = agent_at(agents_of(task, [[1]]), 0)
    learner = natural(design)
    shared, local = learner.init(jax.random.key(0), agent, settings())
    duals = local.duals._replace(multipliers=jnp.array([0.4]))
    return design, agent, jax.jit(learner.step), shared, local._replace(duals=duals)


@functools.cache
def policy(seed):
    """A policy far from uniform, where the Fisher matrix is not that of a first policy."""
    shared = made()[3]
    rng = np.random.default_rng(seed)
    actor = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), shared.actor)
    return shared._replace(actor=actor)


def stepped(seed, **changes):
    _, agent, step, _, local = made()
    hparams = settings(duals={"step_size": 0.0}, entropy_weight=0.0, **changes)
    return step(KEY, TIME, policy(seed), local, agent, hparams)


@functools.cache
def data(seed):
    """Features, actions and Lagrangian advantages of the very samples that the step sees."""
    design, agent, _, _, local = made()
    shared = policy(seed)
    key_rollout, _ = jax.random.split(KEY)

    def act(observations, noise):
        parameters = design.actor.apply(shared.actor, observations)
        return parameters, design.distribution.sample(parameters, noise)

    rollout, _ = collect(key_rollout, act, local.environments, agent.params, design)

    def value(observations, left):
        timed = jnp.concatenate([observations, left[..., None]], -1)
        reward = design.critic.apply(shared.critic, observations)
        return jnp.concatenate([reward, design.cost_critic.apply(local.cost_critic, timed)], -1)

    values = Values(
        value(rollout.observations, rollout.time_left[:-1]),
        value(rollout.last, rollout.time_left[-1]),
        value(rollout.final, jnp.zeros(rollout.final.shape[:2])),
    )
    advantages = np.asarray(estimate(rollout, values, agent, settings()).advantages, np.float64)
    lagrangian = (advantages[..., 0] - 0.4 * advantages[..., 1]) / 1.4
    lagrangian = (lagrangian - lagrangian.mean()) / lagrangian.std()
    features = np.asarray(rollout.observations).reshape(-1, design.features)
    return features, np.asarray(rollout.actions).ravel(), lagrangian.ravel()


def dense(seed):
    """Start, gradient and Fisher matrix: the mean over samples of Σ_a π(a) ∇log π(a) ∇log π(a)ᵀ."""
    design = made()[0]
    features, actions, advantages = data(seed)
    start, unravel = ravel_pytree(policy(seed).actor)

    def log_probs(flat):
        return jax.nn.log_softmax(design.actor.apply(unravel(flat), features))

    scores = np.asarray(jax.jacobian(log_probs)(start), np.float64)
    probabilities = np.exp(np.asarray(log_probs(start), np.float64))
    fisher = np.einsum("na,nai,naj->ij", probabilities, scores, scores) / len(features)
    taken = scores[np.arange(len(actions)), actions]
    gradient = (advantages[:, None] * taken).mean(0)
    return np.asarray(start, np.float64), gradient, fisher, log_probs


def gained(seed, log_probs, start, moved):
    """Surrogate and mean KL divergence of a step, in numbers."""
    _, actions, advantages = data(seed)
    old, new = (np.asarray(log_probs(jnp.float32(at)), np.float64) for at in (start, moved))
    rows = np.arange(len(actions))
    ratios = np.exp(new[rows, actions] - old[rows, actions])
    return (ratios * advantages).mean(), (np.exp(old) * (old - new)).sum(-1).mean()


def same_as_dense(seed, damping, radius):
    """Compares the step with the dense one; why its halvings were needed."""
    start, gradient, fisher, log_probs = dense(seed)
    damped = fisher + damping * np.eye(len(start))
    direction = np.linalg.solve(damped, gradient)
    full = np.sqrt(2 * radius / (direction @ damped @ direction)) * direction
    shared, _, info = stepped(seed, radius=radius, damping=damping)
    moved = np.asarray(ravel_pytree(shared.actor)[0], np.float64)
    step = moved - start
    halvings = round(np.log2(np.linalg.norm(full) / np.linalg.norm(step)))
    tolerance = 2e-3 * abs(step).max()
    np.testing.assert_allclose(step, full * 0.5**halvings, rtol=5e-3, atol=tolerance)
    surrogate, divergence = gained(seed, log_probs, start, moved)
    before, _ = gained(seed, log_probs, start, start)
    assert 0 < divergence <= radius * (1 + 1e-3)
    np.testing.assert_allclose(info.improvement.kl, divergence, rtol=1e-3, atol=1e-6)
    assert surrogate > before
    refused = [gained(seed, log_probs, start, start + full * 0.5**k) for k in range(halvings)]
    assert all(far > radius or better <= before for better, far in refused), "none good is refused"
    np.testing.assert_allclose(info.improvement.gradient_norm, np.linalg.norm(gradient), rtol=1e-3)
    return {"too far" if far > radius else "no better" for _, far in refused}


def test_a_small_step_is_that_of_a_dense_solve():
    for seed in range(3):
        assert same_as_dense(seed, damping=0.1, radius=1e-4) == set()


def test_a_large_step_is_halved_until_it_is_near_and_better():
    reasons = [
        same_as_dense(seed, damping=0.01, radius=radius)
        for radius in (0.5, 2.0)
        for seed in range(10)
    ]
    assert set().union(*reasons) == {"too far", "no better"}, "both must have happened"
    assert set() in reasons, "and neither"


def test_the_step_is_no_plain_gradient_step():
    """Without this, a Fisher matrix near a multiple of the identity would prove nothing."""
    _, gradient, fisher, _ = dense(5)
    direction = np.linalg.solve(fisher + 0.1 * np.eye(len(gradient)), gradient)
    cosine = direction @ gradient / np.linalg.norm(direction) / np.linalg.norm(gradient)
    assert cosine < 0.97


def test_conjugate_gradients_solve_what_they_are_given_and_stop_at_rounding():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, target = root @ root.T + np.eye(6), rng.normal(size=6)
    for steps in (6, 60):
        solved = conjugate_gradient(lambda v: jnp.asarray(matrix, jnp.float32) @ v, target, steps)
        np.testing.assert_allclose(solved, np.linalg.solve(matrix, target), rtol=1e-3, atol=1e-4)
    nothing = conjugate_gradient(lambda v: v, jnp.zeros(6), 5)
    np.testing.assert_array_equal(nothing, np.zeros(6))


def test_no_step_is_taken_where_none_is_good():
    """No step of radius zero improves the surrogate within it."""
    after, local, info = stepped(5, radius=0.0)
    jax.tree.map(np.testing.assert_array_equal, after.actor, policy(5).actor)
    assert info.improvement.kl == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, local.cost_critic)))


def test_a_line_search_takes_the_longest_step_that_is_good():
    """Steps 4, 2, 1, 0.5 are 16, 4, 1 and 0.25 away; from 1 on they are good."""

    def far(point):
        return jnp.square(point).sum()

    def near(point, distance):
        return distance <= 1.5

    start, full = jnp.zeros(1), jnp.full(1, 4.0)
    moved, distance = line_search(far, near, start, full, 4)
    assert (float(moved[0]), float(distance)) == (1.0, 1.0)
    stayed, distance = line_search(far, near, start, full, 2)
    assert (float(stayed[0]), float(distance)) == (0.0, 0.0)


@pytest.mark.parametrize("damping", [0.1, 0.0])
def test_a_zero_gradient_leaves_the_actor_alone_and_finite(damping):
    """That of an agent whose own costs are within budget where CRPO finds others violated."""
    _, learner, _ = federation("two", "natural", 2, 2, duals="crpo")
    agent = agent_at(mixed_agents(), 0)
    agent = agent._replace(budgets=np.full(2, 1e6, np.float32))
    shared, local = learner.init(jax.random.key(0), agent, settings())
    local = local._replace(all_satisfied=jnp.zeros((), bool))
    hparams = settings(entropy_weight=0.0, damping=damping)
    step = single_step("natural", duals="crpo")
    after, local, info = step(KEY, TIME, shared, local, agent, hparams)
    jax.tree.map(np.testing.assert_array_equal, after.actor, shared.actor)
    assert info.improvement.gradient_norm == 0 and info.improvement.kl == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, info, local.optimizer)))
