"""Exact evaluation of a federation on a finite problem, by the laboratory; no agent sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_rl.algorithm import Algorithm, Array, Pytree, Report
from fedjax_rl.errors import InvalidInput
from fedjax_rl.federation.isolated import AGENT_AXES, as_federation_of_one
from fedjax_rl.federation.round import FederationSettings, FederationState

Counts = Callable[[Array, Array, Pytree], Array]


class ObservedSettings(NamedTuple):
    """A federation's settings and the costs that its agents hold apart.

    Attributes:
        federation: agents and learner settings; the learner's hold the ``model``.
        costs: [M, S, A], all constraints.
        budgets: [M].
    """

    federation: FederationSettings
    costs: Array
    budgets: Array


class ObservedState(NamedTuple):
    """A federation's state and the sum of its policies' occupancies.

    Attributes:
        federation: state of the federation.
        occupancy_sum: [S, A], over the merged policies of rounds 1 … t.
    """

    federation: FederationState
    occupancy_sum: jax.Array


class Observation(NamedTuple):
    """The row of one round: the merged policy, evaluated exactly.

    Attributes:
        value: V_r(ρ).
        costs: [M], V_cj(ρ).
        multipliers: [N, K], λ_ij in each agent's own order.
        environment_steps: transitions all agents drew in this round.
        counted: 1 where the policy counts in averages, else 0.
    """

    value: Array
    costs: Array
    multipliers: Array
    environment_steps: Array
    counted: Array


def observed(federation: Algorithm, *, counts: Counts | None = None) -> Algorithm:
    """Evaluates the merged policy after every round and sums up its occupancies.

    A time average of values is attained by the stationary policy of the averaged occupancy
    (not of averaged logits or probabilities), hence the sum.

    Args:
        federation: what is observed; its report has a `TabularPolicy` and multipliers [N, K].
        counts: which policies count in averages, as of a `Learner`; all where it is None.

    Raises:
        InvalidInput: the learner is not for float64, in which a policy is held to an optimum.
    """
    if not federation.float64:
        raise InvalidInput("float64", "False", "True, of a learner on finite problems")

    def observation(
        state: FederationState, hparams: ObservedSettings, environment_steps: jax.Array
    ) -> tuple[Observation, jax.Array]:
        model = hparams.federation.learner.model
        report = federation.report(state)
        visits = report.policy.occupancy
        scale = 1.0 / (1.0 - model.discount)
        costs = scale * jnp.einsum("sa,msa->m", visits, hparams.costs)
        counted = jnp.ones(())
        if counts is not None:
            counts_now = counts(costs, hparams.budgets, hparams.federation.learner)
            counted = jnp.asarray(counts_now).astype(counted.dtype)
        row = Observation(
            value=scale * jnp.vdot(visits, model.reward),
            costs=costs,
            multipliers=report.multipliers,
            environment_steps=environment_steps,
            counted=counted,
        )
        return row, visits

    def init(key: jax.Array, hparams: ObservedSettings) -> ObservedState:
        inner = federation.init(key, hparams.federation)
        return ObservedState(inner, jnp.zeros_like(hparams.federation.learner.model.reward))

    def observe(state: ObservedState, hparams: ObservedSettings) -> Observation:
        return observation(state.federation, hparams, jnp.zeros((), jnp.int64))[0]

    def step(
        key: jax.Array, round: jax.Array, state: ObservedState, hparams: ObservedSettings
    ) -> tuple[ObservedState, Observation]:
        inner, info = federation.step(key, round, state.federation, hparams.federation)
        row, visits = observation(inner, hparams, info.environment_steps.sum())
        return ObservedState(inner, state.occupancy_sum + row.counted * visits), row

    def agent_axes(state: ObservedState) -> ObservedState:
        assert federation.agent_axes is not None
        return ObservedState(federation.agent_axes(state.federation), None)  # type: ignore[arg-type]

    def report(state: ObservedState) -> Report:
        return federation.report(state.federation)

    return Algorithm(init, step, observe, agent_axes, report, float64=True)


def alone_settings(hparams: ObservedSettings) -> ObservedSettings:
    """Settings of one agent, as those of a federation of one."""
    return hparams._replace(federation=as_federation_of_one(hparams.federation))


OBSERVED_AXES = ObservedSettings(AGENT_AXES, costs=None, budgets=None)
