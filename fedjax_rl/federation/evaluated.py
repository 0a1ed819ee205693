"""Evaluation of a federation of networks, by the laboratory; no agent sees any of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Algorithm, Array, Pytree
from fedjax_rl.federation.isolated import AGENT_AXES, as_federation_of_one
from fedjax_rl.federation.round import FederationSettings, FederationState
from fedjax_rl.learners.deep.evaluation import Evaluation
from fedjax_rl.learners.deep.state import DeepInfo, DeepShared, Improvement

Evaluate = Callable[[Any, DeepShared, Pytree], Evaluation]
"""(key, merged policy, the agents' dynamics [N, …]) -> `Evaluation`."""


class EvaluatedSettings(NamedTuple):
    """A federation's settings, and when its policy is evaluated.

    Attributes:
        federation: agents and learner settings.
        every: rounds between two evaluations.
        last: the last round, which is evaluated too.
    """

    federation: FederationSettings
    every: Array
    last: Array


class Row(NamedTuple):
    """The metrics of one round; undefined means are NaN.

    Attributes:
        evaluation: of the merged policy after the round; NaN in rounds without one.
        evaluated: whether there was one.
        reward: mean over the episodes that ended in the agents' own rollouts.
        costs: [M], likewise; mean per step where the budget is per step.
        agent_costs: [N, M], the same of every agent's own rollouts; NaN where none of its episodes
            ended.
        episodes: how many ended.
        multipliers: [N, K], λ_ij in each agent's own order.
        at_cap: how many of them are at their cap.
        environment_steps: of all agents in this round.
        improvement: means over agents and local steps.
    """

    evaluation: Evaluation
    evaluated: Array
    reward: Array
    costs: Array
    agent_costs: Array
    episodes: Array
    multipliers: Array
    at_cap: Array
    environment_steps: Array
    improvement: Improvement


def evaluated(federation: Algorithm, evaluate: Evaluate, per_step: tuple[bool, ...]) -> Algorithm:
    """Records every round and plays episodes with the merged policy in some of them.

    Args:
        federation: of deep learners; its report has a `DeepShared` and multipliers [N, K].
        evaluate: plays the episodes.
        per_step: for each of the M constraints, whether its budget is per step.
    """
    rated = jnp.array(per_step, bool)

    def play(key: jax.Array, state: FederationState, hparams: EvaluatedSettings) -> Evaluation:
        return evaluate(key, federation.report(state).policy, hparams.federation.agents.params)

    def init(key: jax.Array, hparams: EvaluatedSettings) -> FederationState:
        state: FederationState = federation.init(key, hparams.federation)
        return state

    def observe(state: FederationState, hparams: EvaluatedSettings) -> Row:
        undefined = jnp.full((), jnp.nan)
        multipliers = federation.report(state).multipliers
        return Row(
            # A state at rest comes without a key: all seeds meet the same first episodes.
            evaluation=play(jax.random.key(0), state, hparams),
            evaluated=jnp.ones((), bool),
            reward=undefined,
            costs=jnp.full(len(per_step), jnp.nan),
            agent_costs=jnp.full((len(multipliers), len(per_step)), jnp.nan),
            episodes=jnp.zeros((), jnp.int32),
            multipliers=multipliers,
            at_cap=jnp.zeros((), jnp.int32),
            environment_steps=jnp.zeros((), jnp.int32),
            improvement=Improvement(*[undefined] * len(Improvement._fields)),
        )

    def step(
        key: jax.Array, round: jax.Array, state: FederationState, hparams: EvaluatedSettings
    ) -> tuple[FederationState, Row]:
        # Split whether it is evaluated or not: doing so more often changes no bit of the training.
        key_round, key_evaluation = jax.random.split(key)
        state, info = federation.step(key_round, round, state, hparams.federation)
        due = (round % hparams.every == 0) | (round == hparams.last)
        # Both branches must be of one shape and type; NaN says that nothing was played.
        shapes = jax.eval_shape(lambda: play(key_evaluation, state, hparams))
        blank = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)
        evaluation = jax.lax.cond(due, lambda: play(key_evaluation, state, hparams), lambda: blank)
        return state, recorded(info, evaluation, due)

    def recorded(info: DeepInfo, evaluation: Evaluation, due: jax.Array) -> Row:
        """The row of a round from every agent's local steps, leading axes [N, E]."""
        episodes = info.episodes.sum()
        means = jnp.where(episodes > 0, info.episode_sums.sum((0, 1)) / episodes, jnp.nan)
        ended = info.episodes.sum(1)[:, None]
        own = jnp.where(ended > 0, info.episode_sums.sum(1) / ended, jnp.nan)
        return Row(
            evaluation=evaluation,
            evaluated=due,
            reward=means[0],
            costs=jnp.where(rated, info.step_costs.mean((0, 1)), means[1:]),
            agent_costs=jnp.where(rated, info.step_costs.mean(1), own[:, 1:]),
            episodes=episodes,
            # Of the last local step: rows tell the state after the round.
            multipliers=info.multipliers[:, -1],
            at_cap=info.at_cap[:, -1].sum(),
            environment_steps=info.environment_steps.sum(),
            improvement=jax.tree.map(lambda leaf: leaf.mean((0, 1)), info.improvement),
        )

    return Algorithm(init, step, observe, federation.agent_axes, federation.report)


def alone_settings(hparams: EvaluatedSettings) -> EvaluatedSettings:
    """Settings of one agent, as those of a federation of one."""
    return hparams._replace(federation=as_federation_of_one(hparams.federation))


EVALUATED_AXES = EvaluatedSettings(AGENT_AXES, every=None, last=None)
