"""The local step that deep learners share: act, measure, raise the multipliers, improve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedjax_rl.algorithm import Exchange, Learner, Pytree, Time
from fedjax_rl.learners.deep.advantages import (
    Estimates,
    Measured,
    Values,
    estimate,
    excess,
    measure,
)
from fedjax_rl.learners.deep.agent import DeepAgent, DeepSettings
from fedjax_rl.learners.deep.design import Design
from fedjax_rl.learners.deep.rollout import Rollout, begin, collect
from fedjax_rl.learners.deep.state import (
    Batch,
    DeepInfo,
    DeepLocal,
    DeepShared,
    Improvement,
    Parameters,
)
from fedjax_rl.ops import moments as running
from fedjax_rl.ops.duals import DualState, caps, no_multipliers, pid, projected_gradient
from fedjax_rl.ops.moments import Moments

Improve = Callable[
    [Any, Parameters, Pytree, Batch, Any, DeepSettings],
    tuple[Parameters, Pytree, Improvement],
]
"""(key, parameters, optimizer, batch, learning_rate, hparams) -> improved."""

DUAL_RULES = {"gradient": projected_gradient, "pid": pid}


def deep_learner(design: Design, improve: Improve) -> Learner:
    """A learner of rollouts: everything but how networks are improved from a batch.

    One local step of agent i acts with its policy, measures its own costs, raises its
    multipliers and then improves its policy on its own Lagrangian (arXiv 2405.03236).

    Args:
        design: task and networks.
        improve: the policy and critic step.

    Returns:
        A learner that shares its actor (and reward critic, and moments of observations), sends
        ``parameters`` and keeps its multipliers, cost critic and optimiser.
    """
    choices = design.choices

    def init(
        key: jax.Array, agent: DeepAgent, hparams: DeepSettings
    ) -> tuple[DeepShared, DeepLocal]:
        key_actor, key_critic, key_costs, key_environments = jax.random.split(key, 4)
        critic = design.critic.init(key_critic)
        cost_critic = design.cost_critic.init(key_costs) if design.slots else None
        parameters = Parameters(design.actor.init(key_actor), critic, cost_critic)
        moments = running.no_moments(design.features)
        normalizes, shares = choices.normalize_observations, choices.share_critic
        shared = DeepShared(
            actor=parameters.actor,
            critic=critic if shares else None,
            observations=moments if normalizes else None,
            origin=moments.mean if normalizes else None,
        )
        local = DeepLocal(
            critic=None if shares else critic,
            cost_critic=cost_critic,
            optimizer=optax.scale_by_adam(eps=1e-5).init(parameters),
            duals=no_multipliers(design.slots),
            pressure=jnp.ones(()),
            satisfied=jnp.ones((), bool),
            feasible=jnp.ones((), bool),
            returns=running.no_moments(1 + design.slots) if choices.scale_returns else None,
            reward_size=jnp.zeros(()),
            environments=begin(key_environments, agent.params, design),
            updates=jnp.zeros((), jnp.int32),
        )
        return shared, local

    def step(
        key: jax.Array,
        time: Time,
        shared: DeepShared,
        local: DeepLocal,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> tuple[DeepShared, DeepLocal, DeepInfo]:
        key_rollout, key_improve = jax.random.split(key)
        rollout, environments = collect(
            key_rollout, acting(shared), local.environments, agent.params, design
        )
        values = evaluate(shared, local, rollout)
        measured = measure(rollout, values, agent, design)
        estimates = estimate(rollout, values, agent, hparams)
        # A bound that shrank would let go of a budget that is broken: R never falls.
        size = jnp.maximum(local.reward_size, jnp.sqrt((estimates.targets[..., 0] ** 2).mean()))
        most = caps(hparams.duals, size, agent.budgets)
        duals = raised(local.duals, measured, most, agent, hparams)
        weights = lagrangian_weights(duals, measured, local.feasible, agent, hparams)
        pressure = weights.sum() if choices.dual_rule != "crpo" else jnp.ones(())
        returns, scale = rescaled(local.returns, estimates.targets)
        batch = batch_of(shared, rollout, estimates, weights / pressure, scale)
        done = local.updates / hparams.total_updates
        learning_rate = hparams.learning_rate * (1.0 - hparams.learning_rate_decay * done)
        parameters, optimizer, improvement = improve(
            key_improve,
            Parameters(shared.actor, critic_of(shared, local), local.cost_critic),
            local.optimizer,
            batch,
            learning_rate,
            hparams,
        )
        info = DeepInfo(
            episodes=rollout.episodes,
            totals=rollout.totals,
            rates=rollout.signals[..., 1:].mean((0, 1)),
            multipliers=duals.multipliers,
            at_cap=(duals.multipliers >= most).sum(),
            environment_steps=jnp.int32(choices.rollout * choices.envs),
            improvement=improvement,
        )
        shared = shared._replace(actor=parameters.actor, observations=observed(shared, rollout))
        local = local._replace(
            cost_critic=parameters.cost_critic,
            optimizer=optimizer,
            duals=duals,
            pressure=pressure,
            satisfied=jnp.where(
                measured.known.any(),
                ~jnp.any(excess(measured, agent, hparams) > 0),
                local.satisfied,
            ),
            returns=returns,
            reward_size=size,
            environments=environments,
            updates=local.updates + 1,
        )
        if choices.share_critic:
            return shared._replace(critic=parameters.critic), local, info
        return shared, local._replace(critic=parameters.critic), info

    def features_of(shared: DeepShared, observations: jax.Array) -> jax.Array:
        if shared.observations is None:
            return observations
        return running.normalized(shared.observations, observations)

    def acting(shared: DeepShared) -> Any:
        def act(observations: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
            parameters = design.actor.apply(shared.actor, features_of(shared, observations))
            return parameters, design.distribution.sample(parameters, noise)

        return act

    def critic_of(shared: DeepShared, local: DeepLocal) -> Pytree:
        return shared.critic if choices.share_critic else local.critic

    def evaluate(shared: DeepShared, local: DeepLocal, rollout: Rollout) -> Values:
        """One pass of each critic over all observations whose value is needed."""
        steps = choices.rollout
        observations = jnp.concatenate([rollout.observations, rollout.last[None], rollout.final])
        features = features_of(shared, observations)
        values = design.critic.apply(critic_of(shared, local), features)
        if design.slots:
            left = jnp.pad(rollout.time_left, ((0, len(rollout.final)), (0, 0)))
            timed = jnp.concatenate([features, left[..., None]], axis=-1)
            costs = design.cost_critic.apply(local.cost_critic, timed)
            values = jnp.concatenate([values, costs], axis=-1)
        if local.returns is not None:
            values = values * running.root_mean_square(local.returns)
        return Values(values[:steps], values[steps], values[steps + 1 :])

    def raised(
        duals: DualState,
        measured: Measured,
        most: jax.Array,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> DualState:
        """The dual step up to λ_max [K], where costs are known; padding stays 0."""
        if choices.dual_rule == "crpo":
            return duals
        settings = hparams.duals._replace(cap=most)
        proposed = DUAL_RULES[choices.dual_rule](
            duals, measured.costs, agent.budgets, agent.dual_scale, settings
        )
        return jax.tree.map(partial(jnp.where, measured.known), proposed, duals)

    def lagrangian_weights(
        duals: DualState,
        measured: Measured,
        feasible: jax.Array,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> jax.Array:
        """[1 + K], weights of A_r and of −A_c; they are divided by their sum (arXiv 2405.03236).

        CRPO (arXiv 2011.05869) puts all weight on the reward while everybody is satisfied, else
        on the worst violated cost of the agent's own.
        """
        if choices.dual_rule == "crpo":
            own = excess(measured, agent, hparams)
            worst = jax.nn.one_hot(jnp.argmax(own), design.slots) * (own.max() > 0)
            return jnp.append(feasible, (~feasible) * worst).astype(jnp.float32)
        return jnp.append(agent.reward_weight, agent.weights * duals.multipliers)

    def rescaled(returns: Moments | None, targets: jax.Array) -> tuple[Moments | None, jax.Array]:
        """The running size of the targets, and the size by which the critics are divided."""
        if returns is None:
            return None, jnp.ones(1 + design.slots)
        return running.updated(returns, targets), running.root_mean_square(returns)

    def batch_of(
        shared: DeepShared,
        rollout: Rollout,
        estimates: Estimates,
        weights: jax.Array,
        scale: jax.Array,
    ) -> Batch:
        signs = jnp.append(1.0, -jnp.ones(design.slots))
        parts = estimates.advantages * weights * signs
        combined = parts.sum(-1)
        if choices.standardize:
            # Together and never apart: a small cost must not weigh as much as a large reward.
            parts = (parts - parts.mean((0, 1))) / (combined.std() + 1e-8)
        reward_part, cost_part = parts[..., 0], -parts[..., 1:].sum(-1)
        if choices.cost_surrogate == "clipped":
            reward_part, cost_part = reward_part - cost_part, jnp.zeros_like(cost_part)
        return Batch(
            features=features_of(shared, rollout.observations),
            time_left=rollout.time_left[:-1],
            actions=rollout.actions,
            log_prob=design.distribution.log_prob(rollout.parameters, rollout.actions),
            parameters=rollout.parameters,
            reward_part=reward_part,
            cost_part=cost_part,
            targets=estimates.targets / scale,
        )

    def observed(shared: DeepShared, rollout: Rollout) -> Moments | None:
        if shared.observations is None:
            return None
        return running.updated(shared.observations, rollout.observations)

    def message(shared: DeepShared, local: DeepLocal) -> Pytree:
        if shared.observations is None or shared.origin is None:
            return shared
        sums = running.about(shared.origin, shared.observations)
        return shared._replace(observations=sums, origin=None)

    def weight(shared: DeepShared, local: DeepLocal) -> jax.Array:
        return local.pressure

    def adopt(
        shared: DeepShared, local: DeepLocal, merged: Pytree, hparams: DeepSettings
    ) -> tuple[DeepShared, DeepLocal]:
        if merged.observations is None or shared.origin is None:
            return merged, local
        moments = running.from_sums(shared.origin, merged.observations)
        return merged._replace(observations=moments, origin=moments.mean), local

    def send(
        key: jax.Array,
        time: Time,
        shared: DeepShared,
        local: DeepLocal,
        agent: DeepAgent,
        hparams: DeepSettings,
    ) -> tuple[jax.Array, tuple[()]]:
        return 1.0 - local.satisfied, ()

    def receive(local: DeepLocal, kept: tuple[()], unsatisfied: jax.Array) -> DeepLocal:
        return local._replace(feasible=unsatisfied == 0)

    return Learner(
        init,
        step,
        message,
        adopt,
        message_kind="parameters",
        exchanges=(Exchange(send, receive),) if choices.dual_rule == "crpo" else (),
        weight=weight if choices.weigh_merge else None,
    )
