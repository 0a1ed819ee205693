"""From a rollout to what critics say of it, and to what a policy step learns from."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Pytree
from fedjax_rl.learners.deep.advantages import Estimates, Values
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.rollout import Rollout
from fedjax_rl.learners.deep.state import Batch, DeepLocal, DeepShared
from fedjax_rl.ops import moments as running
from fedjax_rl.ops.moments import Moments

SCALES = {"small": running.enlarged, "all": running.normalized}
"""Of observations, by their running moments."""


def features_of(design: Design, shared: DeepShared, observations: jax.Array) -> jax.Array:
    """Observations [..., D] as networks see them.

    Args:
        design: says what is scaled.
        shared: their moments; None where nothing is.
        observations: [..., D].
    """
    if shared.observations is None:
        return observations
    return SCALES[design.choices.scale_observations](shared.observations, observations)


def policy_of(
    design: Design, shared: DeepShared
) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(observations [B, D], noise) -> parameters [B, P] of the distribution, and actions [B, …]."""

    def act(observations: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        parameters = design.actor.apply(shared.actor, features_of(design, shared, observations))
        return parameters, design.distribution.sample(parameters, noise)

    return act


def critic_of(shared: DeepShared, local: DeepLocal) -> Pytree:
    """Parameters of the reward critic, which is merged or the agent's own."""
    return local.critic if shared.critic is None else shared.critic


def values_of(design: Design, shared: DeepShared, local: DeepLocal, rollout: Rollout) -> Values:
    """One pass of each critic over all observations whose value is needed, in the signals' units.

    Args:
        design: networks.
        shared: the reward critic, unless it is the agent's own.
        local: the cost critic, and the size of returns in which critics predict.
        rollout: T steps of B environments.
    """
    steps = design.choices.rollout
    observations = jnp.concatenate([rollout.observations, rollout.last[None], rollout.final])
    features = features_of(design, shared, observations)
    values = design.critic.apply(critic_of(shared, local), features)
    if design.slots:
        # Final observations are those at a time limit, where no time is left.
        left = jnp.pad(rollout.time_left, ((0, len(rollout.final)), (0, 0)))
        timed = jnp.concatenate([features, left[..., None]], axis=-1)
        costs = design.cost_critic.apply(local.cost_critic, timed)
        values = jnp.concatenate([values, costs], axis=-1)
    if local.returns is not None:
        values = values * running.root_mean_square(local.returns)
    return Values(values[:steps], values[steps], values[steps + 1 :])


def rescaled(returns: Moments | None, targets: jax.Array) -> tuple[Moments | None, jax.Array]:
    """The running size of the targets, and the size [1 + K] by which the critics are divided.

    Args:
        returns: of the targets before; None where critics predict raw returns.
        targets: [T, B, 1 + K].
    """
    chex.assert_rank(targets, 3)
    if returns is None:
        return None, jnp.ones(targets.shape[-1])
    # With these targets: critics are fitted in the units in which they will speak next. In those
    # in which they spoke, every rise of the size would raise what they say, hence the targets
    # that are bootstrapped from it, hence the size.
    returns = running.updated(returns, targets)
    return returns, running.root_mean_square(returns)


def batch_of(
    design: Design,
    shared: DeepShared,
    rollout: Rollout,
    estimates: Estimates,
    weights: jax.Array,
    scale: jax.Array,
) -> tuple[Batch, jax.Array]:
    """The batch of a policy step: advantages of the Lagrangian in their parts, and targets.

    Args:
        design: distribution of actions, and which part is clipped.
        shared: how observations are normalised.
        rollout: T steps of B environments.
        estimates: advantages and targets [T, B, 1 + K].
        weights: [1 + K], of A_r and −A_c, summing to one but for CRPO.
        scale: [1 + K], units of the critics.

    Returns:
        The batch, and the deviation by which the Lagrangian's advantage was divided, a scalar: 1
        where it is not standardised.
    """
    chex.assert_rank([estimates.advantages, weights, scale], [3, 1, 1])
    chex.assert_equal_shape([weights, scale])
    signs = jnp.append(1.0, -jnp.ones(design.slots))
    parts = estimates.advantages * weights * signs
    deviation = jnp.ones(())
    if design.choices.standardize:
        # Together and never apart: a small cost must not weigh as much as a large reward.
        deviation = parts.sum(-1).std() + 1e-8
        parts = (parts - parts.mean((0, 1))) / deviation
    reward_part, cost_part = parts[..., 0], -parts[..., 1:].sum(-1)
    if design.choices.cost_surrogate == "clipped":
        reward_part, cost_part = reward_part - cost_part, jnp.zeros_like(cost_part)
    batch = Batch(
        features=features_of(design, shared, rollout.observations),
        time_left=rollout.time_left[:-1],
        actions=rollout.actions,
        log_prob=design.distribution.log_prob(rollout.parameters, rollout.actions),
        parameters=rollout.parameters,
        reward_part=reward_part,
        cost_part=cost_part,
        targets=estimates.targets / scale,
    )
    return batch, deviation


def observed(shared: DeepShared, rollout: Rollout) -> Moments | None:
    """Moments of the observations with those of the rollout; None where they are not kept."""
    if shared.observations is None:
        return None
    return running.updated(shared.observations, rollout.observations)
